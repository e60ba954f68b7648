"""Tables that are added whole and begin with the rows of the version before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import ContractBroken, Invalid
from headway.kernel.access import SYSTEM
from headway.lifecycle.datasets import service
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.records import AddVersion, DatasetVersion
from headway.lifecycle.datasets.schema import Kind
from tests.client.files.conftest import Place
from tests.client.files.test_adding import HERE

ROWS = 20_000
LARGE = pl.DataFrame({"x": np.random.default_rng(1).random(ROWS), "y": np.random.default_rng(2).random(ROWS)})
X = ColumnRule(name="x", kind=Kind.FLOAT, nulls=0.1, median=(0.3, 0.7))
CONTRACT = Contract(columns=(X, ColumnRule(name="y", kind=Kind.FLOAT)), min_rows=ROWS)


def grown(by: int, of: pl.DataFrame = LARGE) -> pl.DataFrame:
    return pl.concat([of, of.head(by) * -1.0])


def as_whole(place: Place, version: DatasetVersion) -> DatasetVersion:
    """The same table as the first version of another dataset, where there is nothing to share."""
    return place.client.datasets.add(f"{version.dataset}-alone", place.client.datasets.read(version.id))


def test_only_rows_that_are_new_are_kept(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    first = datasets.add(name, LARGE)
    second = datasets.add(name, grown(200))
    third = datasets.add(name, grown(300))
    assert second.parts[0].blob == first.blob
    assert second.parts == third.parts[:2]
    assert [(each.rows, each.new_rows, each.together) for each in (first, second, third)] == [
        (ROWS, ROWS, 1), (ROWS + 200, 200, 2), (ROWS + 300, 100, 3),
    ]  # fmt: skip
    assert (second.stored, third.stored) == (second.parts[-1].size, third.parts[-1].size)
    assert second.stored < 0.05 * first.size
    for version, table in ((first, LARGE), (second, grown(200)), (third, grown(300))):
        assert datasets.read(version.id).equals(table)
        assert pl.read_parquet(BytesIO(datasets.parquet(version.id))).equals(table)
    assert datasets.diff(f"{name}@1", f"{name}@2").rows_after == ROWS + 200


def test_schema_profile_and_rows_are_those_of_the_whole(place: Place) -> None:
    place.client.datasets.add(place.name, LARGE)
    shared = place.client.datasets.add(place.name, grown(200))
    alone = as_whole(place, shared)
    assert (shared.schema, shared.rows, shared.profile) == (alone.schema, alone.rows, alone.profile)


def test_the_same_rows_again_are_the_version_that_is_there(place: Place, tmp_path: Path) -> None:
    datasets, name = place.client.datasets, place.name
    first, second = datasets.add(name, LARGE), datasets.add(name, grown(200))
    assert datasets.add(name, grown(200)) == second
    grown(200).write_parquet(tmp_path / "other.parquet", compression="snappy", row_group_size=999)
    assert datasets.add(name, tmp_path / "other.parquet") == second
    third = datasets.add(name, grown(300))
    assert [datasets.add(name, table) for table in (grown(200), LARGE, grown(300))] == [second, first, third]
    held = datasets.add(name, grown(300), contract=CONTRACT)
    assert (held.number, held.parts, held.stored, held.new_rows) == (4, third.parts, 0, 0)


def test_a_table_that_was_appended_to_is_profiled_anew_when_it_is_added_whole(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    datasets.add(name, LARGE)
    appended = datasets.append(name, LARGE.head(200) * -1.0)
    again = datasets.add(name, grown(200))
    assert (appended.together, again.together, again.number) == (1, 2, 3)
    assert (again.parts, again.stored, again.new_rows) == (appended.parts, 0, 0)
    assert again.profile == as_whole(place, again).profile != appended.profile
    assert datasets.add(name, grown(200)) == again
    more = datasets.append(name, LARGE.head(10))
    assert (len(more.parts), more.together, more.new_rows) == (3, 2, 10)


def test_rows_that_were_changed_are_kept_whole(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    datasets.add(name, LARGE)
    for number, table in enumerate(
        (LARGE.reverse(), grown(200).with_columns(y=pl.col("y").cast(pl.Float32)), LARGE.head(ROWS - 1)), start=2
    ):
        version = datasets.add(name, table)
        assert (version.number, version.parts, version.stored) == (number, (), version.size)
        assert datasets.read(name).equals(table)


def test_small_tables_stay_as_they_came(place: Place) -> None:
    datasets, small = place.client.datasets, LARGE.head(100)
    datasets.add(place.name, small)
    version = datasets.add(place.name, grown(5, small))
    assert (version.parts, version.stored) == ((), version.size)


def test_a_table_of_many_parts_is_kept_whole_and_shared_from_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_PARTS", 3)
    versions = [place.client.datasets.add(place.name, grown(count)) for count in range(6)]
    assert [len(version.parts) for version in versions] == [0, 2, 3, 0, 2, 3]
    assert [version.rows for version in versions] == [ROWS + count for count in range(6)]


def test_the_contract_is_asked_of_the_whole(place: Place) -> None:
    """New rows that would break it alone are let in, as they were when the whole was one blob."""
    datasets, name = place.client.datasets, place.name
    datasets.add(name, LARGE, contract=CONTRACT)
    tail = pl.DataFrame({"x": [None] * 1000, "y": [0.5] * 1000}, {"x": pl.Float64, "y": pl.Float64})
    version = datasets.add(name, pl.concat([LARGE, tail]))
    assert (len(version.parts), version.contract) == (2, CONTRACT)
    with pytest.raises(ContractBroken, match="'x'"):
        datasets.add(name, pl.concat([LARGE, tail, tail, tail]))
    with pytest.raises(ContractBroken, match="'x'"):
        datasets.append(name, tail)
    assert datasets.version(name) == version
    first, second = (part.blob for part in version.parts)
    command = AddVersion(dataset=f"{name}-copy", blob=first, parts=(second,), together=2, contract=CONTRACT)
    copy = datasets.add_kept(command)
    assert (copy.blob, copy.parts, copy.profile, copy.together) == (
        version.blob, version.parts, version.profile, 2,
    )  # fmt: skip
    with pytest.raises(ContractBroken):
        datasets.add_kept(command.but(dataset=f"{name}-other", together=1))
    for together in (0, 3):
        with pytest.raises(Invalid, match="together"):
            datasets.add_kept(command.but(together=together))


def test_a_part_is_kept_while_one_version_has_it(fresh: Place) -> None:
    datasets, sweeps = fresh.client.datasets, fresh.app.platform.sweeps
    first, second = datasets.add("t", LARGE), datasets.add("t", grown(200))
    sweeps.sweep(by=SYSTEM, older_than_s=0)
    kept = fresh.stored()
    assert kept < 1.2 * second.size  # profiles too, but not the table as it was sent
    fresh.client.records.delete(first.id)
    fresh.client.records.purge(first.id, "not needed")
    sweeps.sweep(by=SYSTEM, older_than_s=0)
    assert datasets.read("t").equals(grown(200))
    fresh.client.records.delete(second.id)
    fresh.client.records.purge(second.id, "not needed")
    sweeps.sweep(by=SYSTEM, older_than_s=0)
    assert fresh.stored() < 0.1 * kept


def test_a_part_that_is_damaged_is_no_reason_to_refuse_a_table(fresh: Place) -> None:
    first = fresh.client.datasets.add("t", LARGE)
    kept = Path(fresh.app.blobs.address(first.blob))
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:-1] + b"0")
    second = fresh.client.datasets.add("t", grown(200))
    assert (second.parts, second.number) == ((), 2)
    assert fresh.client.datasets.read("t").equals(grown(200))


@HERE
def test_of_many_that_add_at_once_each_is_whole(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    datasets.add(name, LARGE)
    with ThreadPoolExecutor(max_workers=4) as pool:
        done = list(pool.map(lambda count: datasets.add(name, grown(count)), (100, 200, 300, 400)))
    assert sorted(version.number for version in done) == [2, 3, 4, 5]
    for count, version in zip((100, 200, 300, 400), done, strict=True):
        assert datasets.read(version.id).equals(grown(count))


@HERE
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["grow", "cut", "edit"]), st.integers(0, 2**32 - 1)), max_size=5))
def test_whatever_is_added_every_version_stays_what_it_was(place: Place, steps: list[tuple[str, int]]) -> None:
    datasets, name = place.client.datasets, f"{place.name}-{Random().getrandbits(60)}"
    table, known = LARGE, {datasets.add(name, LARGE).id: LARGE}
    for kind, seed in steps:
        place_in = seed % table.height
        if kind == "grow":
            table = pl.concat([table, LARGE.sample(1 + seed % 500, seed=seed)])
        elif kind == "cut":
            table = table.head(max(place_in, ROWS // 2))
        else:
            row = pl.DataFrame({"x": [float(seed)], "y": [0.0]})
            table = pl.concat([table.head(place_in), row, table.slice(place_in + 1)])
        known[datasets.add(name, table).id] = table
    for identifier, expected in known.items():
        assert datasets.read(identifier).equals(expected)
        assert pl.read_parquet(BytesIO(datasets.parquet(identifier))).equals(expected)
