"""Which digests a record holds, and that no field of any record is forgotten."""

from __future__ import annotations

import importlib
import pkgutil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headway.lifecycle
from headway.errors import LedgerBroken
from headway.kernel.reachability import blob_places, digests, record_types, references
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.records import Output, Run, StepResult
from headway.storage.sql.tables import METADATA
from headway.testing.memory import FrozenClock, counted_ids
from headway.testing.samples import samples

for _module in pkgutil.walk_packages(headway.lifecycle.__path__, "headway.lifecycle."):
    importlib.import_module(_module.name)

HOLDERS = {
    "dv": {"blob", "profile", "packs.blob", "parts.blob"},
    "ar": {"blob"},
    "sr": {"outputs.blob", "made_of.parts"},
    "mv": {"blob", "baselines.blob", "files.blob", "lock"},
    "sg": {"blob"},
    "rl": {"blob"},
    "ev": {"subject_blob"},
    "fm": {"snapshot"},
}
NO_BLOB = {
    ("rn", "code.digest"), ("rn", "inputs.digest"), ("pl", "code.digest"), ("lm", "metrics.dataset_digest"),
    ("dv", "digest"), ("sw", "blobs"), ("rt", "quotas.blob_bytes"),
    ("tu", "blob"), ("sr", "made_of.given.digest"),
}  # fmt: skip
"""Digests of code, of arguments, of a listing of files and of what a client read elsewhere, which name nothing in the
blob store; counts of blobs; what a word of trust is for, which a model version holds."""


def test_the_fields_that_hold_blobs() -> None:
    assert {prefix: set(places) for prefix, places in blob_places().items() if places} == HOLDERS


def test_a_field_that_is_called_like_a_blob_is_declared_as_one() -> None:
    named = {
        (kind.prefix, place)
        for kind in record_types()
        if kind.__module__.startswith("headway.")
        for place in _named_like_a_blob(kind, "")
    }
    held = {(prefix, place) for prefix, places in blob_places().items() for place in places}
    assert named - held - NO_BLOB == set()


def _named_like_a_blob(kind: type[msgspec.Struct], place: str) -> list[str]:
    found = []
    for field in msgspec.structs.fields(kind):
        path = f"{place}.{field.name}" if place else field.name
        if "blob" in field.name or "digest" in field.name:
            found.append(path)
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found += _named_like_a_blob(inner, path)
    return found


def test_tables_that_the_ledger_does_not_seal_hold_no_blob() -> None:
    """Marking reads the sealed tables: a blob that only another table knows would be collected."""
    for table in METADATA.sorted_tables:
        if "kept" not in table.info:
            assert not [column.name for column in table.columns if "blob" in column.name or "digest" in column.name]


@given(places=st.lists(st.sampled_from(["key", "value", "nested", "text"]), unique=True))
def test_a_digest_anywhere_in_a_record_is_found(places: list[str]) -> None:
    named = {place: digest(place.encode()) for place in places}
    record = Run(
        id="rn_1", created_at=FrozenClock().now(), experiment="late",
        params={named.get("key", "k"): named.get("value", "v")},
        tags={"note": f"see {named['text']} there" if "text" in named else ""},
        error=named.get("nested", ""),
    )  # fmt: skip
    assert set(digests([(record.id, encode(record))])) == set(named.values())
    assert {each.digest for each in references(record.id, encode(record))} == set(named.values())


def test_what_is_held_is_told_from_what_is_mentioned() -> None:
    clock, blob, key = FrozenClock(), digest(b"rows"), digest(b"key")
    outputs = (Output(blob=digest(b"tree"), format="tree"), Output(blob=blob, format="parquet"))
    result = StepResult(
        id=counted_ids()("sr"), created_at=clock.now(), key=key, step="load", run="rn_1", outputs=outputs
    )
    found = {each.place: each for each in references(result.id, encode(result))}
    assert {place for place, each in found.items() if each.held} == {"outputs[0].blob", "outputs[1].blob"}
    assert found["outputs[1].blob"].digest == blob
    assert found["key"].digest == key


def test_every_kind_of_record_can_be_walked() -> None:
    clock = FrozenClock()
    for record in samples(counted_ids(), clock).values():
        held = {each.place for each in references(record.id, encode(record)) if each.held}
        assert held <= {"blob", "subject_blob", "outputs[0].blob", "profile"}


def test_a_record_that_cannot_be_read_stops_the_walk() -> None:
    with pytest.raises(LedgerBroken, match="dv_1"):
        digests([("dv_1", b"")])
