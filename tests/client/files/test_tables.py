"""Tables that grow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import polars as pl
import pytest

from headway.errors import Conflict, ContractBroken, Invalid, NotFound
from headway.kernel.records import digest
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.records import AddVersion, AppendRows
from headway.lifecycle.datasets.reference import read_reference
from headway.lifecycle.datasets.schema import Kind
from tests.client.files.conftest import Place
from tests.client.files.test_adding import HERE

CONTRACT = Contract(
    columns=(
        ColumnRule(name="at", kind=Kind.TIME, use=Use.TIME),
        ColumnRule(name="x", kind=Kind.FLOAT, low=0, high=100, median=(10, 90), nulls=0.5),
    ),
    min_rows=3,
)


def rows(first: int, count: int, day: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "at": pl.datetime_range(
                pl.datetime(2026, 1, day), pl.datetime(2026, 1, day, 1), interval="1h", eager=True, time_zone="UTC"
            ).sample(count, with_replacement=True, seed=first),
            "x": [float(20 + (first + number) % 60) for number in range(count)],
        }
    )


def test_rows_behind_those_that_are_there(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    tables = [rows(0, 50), rows(50, 5), rows(55, 7, day=2)]
    first = datasets.add(name, tables[0], contract=CONTRACT)
    datasets.append(name, tables[1], note="more")
    third = datasets.append(name, tables[2])
    assert (third.label, third.rows, len(third.parts), third.note) == (f"{name}@3", 62, 3, "")
    assert third.contract == first.contract
    assert third.size == sum(part.size for part in third.parts)
    assert datasets.read(name).equals(pl.concat(tables))
    assert pl.read_parquet(BytesIO(datasets.parquet(name))).equals(pl.concat(tables))
    assert datasets.read(f"{name}@2").equals(pl.concat(tables[:2]))
    assert datasets.read(f"{name}@1").equals(tables[0])
    assert first.profile is not None
    assert third.profile is not None
    profile = read_reference(place.client.blobs.get(third.profile))
    assert (profile.whole.rows, {day: each.rows for day, each in profile.days.items()}) == (
        62, {"2026-01-01": 55, "2026-01-02": 7},
    )  # fmt: skip
    assert profile.layout == read_reference(place.client.blobs.get(first.profile)).layout


def test_only_the_new_rows_are_stored(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    large = pl.DataFrame({"x": pl.Series(range(300_000)).shuffle(seed=1), "y": [0.5] * 300_000})
    datasets.add(name, large)
    before, sent = place.stored(), place.wire.sent if place.wire else 0
    added = datasets.append(name, large.head(3000))
    assert place.stored() - before <= 1.3 * added.stored
    if place.wire:
        assert place.wire.sent - sent <= 1.3 * added.stored


def test_rows_that_break_the_contract_or_have_other_columns(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    with pytest.raises(NotFound):
        datasets.append(name, rows(0, 3))
    datasets.add(name, rows(0, 5), contract=CONTRACT)
    with pytest.raises(ContractBroken, match="'x' breaks rule 'high'"):
        datasets.append(name, rows(0, 3).with_columns(x=pl.lit(101.0)))
    with pytest.raises(ContractBroken, match="median"):
        datasets.append(name, rows(0, 3).with_columns(x=pl.lit(99.0)))
    for other in (
        rows(0, 3).select("x", "at"), rows(0, 3).select("x"), rows(0, 3).with_columns(y=1),
        rows(0, 3).with_columns(pl.col("x").cast(pl.Int64)),
    ):  # fmt: skip
        with pytest.raises(Invalid, match="must have its columns"):
            datasets.append(name, other)
    assert datasets.append(name, rows(0, 1)).number == 2


def test_what_is_appended_to_must_be_the_newest(place: Place) -> None:
    name = place.name
    first = place.client.datasets.add(name, rows(0, 3))
    blob = place.client.datasets.append(name, rows(3, 1)).parts[1].blob
    late = AppendRows(dataset=name, after=first.id, blob=blob)
    with pytest.raises(Conflict, match="moved on"):
        place.client._connection.post("/v1/datasets/rows", dict[str, object], late)


@HERE
def test_of_many_that_append_at_once_none_is_lost(place: Place) -> None:
    name = place.name
    place.client.datasets.add(name, pl.DataFrame({"x": [-1]}))
    with ThreadPoolExecutor(max_workers=4) as pool:
        done = list(pool.map(lambda each: place.client.datasets.append(name, pl.DataFrame({"x": [each]})), range(4)))
    assert sorted(version.number for version in done) == [2, 3, 4, 5]
    assert sorted(place.client.datasets.read(name)["x"]) == [-1, 0, 1, 2, 3]


@HERE
def test_a_table_in_parts_comes_whole_from_elsewhere(place: Place) -> None:
    datasets = place.client.datasets
    datasets.add(place.name, rows(0, 3), contract=CONTRACT)
    grown = datasets.append(place.name, rows(3, 4))
    first, second = (part.blob for part in grown.parts)
    command = AddVersion(dataset=f"{place.name}-copy", blob=first, parts=(second,), contract=CONTRACT)
    copy = datasets.add_kept(command)
    assert (copy.blob, copy.parts, copy.rows, copy.profile) == (grown.blob, grown.parts, 7, grown.profile)
    with pytest.raises(NotFound):
        datasets.add_kept(command.but(parts=(digest(b"gone"),)))


@HERE
def test_what_differs_between_tables(place: Place) -> None:
    datasets, name = place.client.datasets, place.name
    datasets.add(name, pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "same": [1.0, 1.0]}))
    datasets.add(name, pl.DataFrame({"a": [1, 4], "c": [None, "y"], "same": [1.0, 1.0]}))
    found = datasets.diff(f"{name}@1", name)
    assert (found.same, found.rows_before, found.rows_after, found.files) == (False, 2, 2, None)
    by = {column.name: column for column in found.columns}
    assert set(by) == {"a", "b", "c"}
    assert by["a"].before is not None
    assert by["a"].after is not None
    assert (by["a"].before.mean, by["a"].after.mean, by["a"].after.high) == (1.5, 2.5, 4)
    assert (by["b"].kind_before, by["b"].kind_after, by["b"].after) == ("str", "", None)
    assert by["c"].after is not None
    assert (by["c"].after.n, by["c"].after.nulls) == (1, 1)
    with pytest.raises(NotFound):
        datasets.diff(name, "nobody")
