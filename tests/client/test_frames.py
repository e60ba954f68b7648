"""Tables that people hand over become Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import narwhals
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from headway.client.client import Client
from headway.client.frames import LIBRARIES, frame_as, frame_of, like, parquet_of
from headway.errors import ContractBroken, Invalid
from headway.kernel.access import Role
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind
from headway.running.exporter import OnnxExporter
from headway.sdk import join_on
from tests.client.conftest import client_of
from tests.server.world import open_world

FRAME = pl.DataFrame({"name": ["a", None], "size": [1.5, 2.0]})


class Arrow:
    """A frame of a library that Headway does not know, but that speaks Arrow."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return FRAME.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("table", [FRAME, FRAME.lazy(), FRAME.to_dict(as_series=False), FRAME.to_dict(), Arrow()])
def test_all_kinds_of_frames(table: Any) -> None:
    assert frame_of(parquet_of(table)).equals(FRAME)


@pytest.mark.parametrize("library", LIBRARIES)
def test_frames_of_other_libraries_come_and_go(library: str) -> None:
    whole = FRAME.with_columns(at=pl.datetime(2026, 1, 1, time_zone="UTC"), flag=True, n=pl.Series([1, 2**60]))
    other = frame_as(whole, library)
    assert type(other).__module__.partition(".")[0].lstrip("_") == library
    back = frame_of(parquet_of(other))
    assert back.select(pl.col("at").cast(pl.Datetime("us", "UTC")), pl.all().exclude("at")).equals(
        whole.select("at", pl.all().exclude("at"))
    )
    assert type(like(other, whole)) is type(other)


def test_named_levels_of_an_index_are_columns() -> None:
    """Arrow would leave them out without a word."""
    frame = pd.DataFrame({"x": [1.5, 2.5]}, index=pd.Index(["a", "b"], name="k"))
    assert frame_of(parquet_of(frame)).rows() == [("a", 1.5), ("b", 2.5)]
    deep = frame.set_index(pd.Series([7, 8], name="n"), append=True)
    assert frame_of(parquet_of(deep)).rows() == [("a", 7, 1.5), ("b", 8, 2.5)]
    assert frame_of(parquet_of(frame.reset_index(drop=True).tail(1))).rows() == [(2.5,)]
    with pytest.raises(Invalid, match="already exists"):
        parquet_of(frame.rename_axis("x"))


def test_queries_and_wrapped_frames() -> None:
    for frame in (FRAME, FRAME.lazy(), FRAME.to_arrow(), duckdb.from_arrow(FRAME.to_arrow())):
        assert frame_of(parquet_of(narwhals.from_native(frame))).equals(FRAME)
        assert frame_of(parquet_of(frame)).equals(FRAME)
    for piece in (FRAME.to_arrow().to_batches()[0], FRAME.to_arrow().to_reader()):
        assert frame_of(parquet_of(piece)).equals(FRAME)
    assert isinstance(like(FRAME.lazy(), FRAME), pl.LazyFrame)
    with pytest.raises(Invalid, match="nowhere"):
        parquet_of(FRAME.lazy().select("nowhere"))


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a world of its own: other tests count what is in theirs."""
    world = open_world(tmp_path_factory.mktemp("frames") / ".headway")
    yield client_of(world, Role.OWNER)
    world.close()


KINDS = (*LIBRARIES, "lazy")


def made(frame: pl.DataFrame, kind: str) -> Any:
    return frame.lazy() if kind == "lazy" else frame_as(frame, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_verb_takes_every_frame_and_gives_it_back(owner: Client, kind: str) -> None:
    rows = pl.DataFrame(
        {
            "customer": [1, 2, 1], "x": [0.5, 1.5, 2.5],
            "at": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
        }
    )  # fmt: skip
    name = f"frames-{kind}"
    contract = Contract(columns=(ColumnRule(name="x", kind=Kind.FLOAT, high=9),), closed=False)
    owner.datasets.add(name, made(rows.head(2), kind), contract=contract)
    owner.datasets.append(name, made(rows.tail(1), kind))
    owner.datasets.check(made(rows, kind), contract)
    with pytest.raises(ContractBroken):
        owner.datasets.check(made(rows.with_columns(x=99.0), kind), contract)
    for library in LIBRARIES:
        found = owner.datasets.read(name, library)
        assert type(found).__module__.partition(".")[0].lstrip("_") == library
        assert pl.DataFrame(found).select(rows.columns).rows() == rows.rows()
    owner.feature_views.define(name, source=name, entity="customer", event_time="at", features=["x"])
    asked = rows.select("customer", when=pl.col("at"))
    joined = join_on(owner, made(asked, kind), [name], time="when")
    assert type(joined) is type(made(asked, kind))
    whole = joined.collect() if kind == "lazy" else pl.DataFrame(joined)
    assert whole["x"].to_list() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_exported_by_an_example_of_any_frame(owner: Client, kind: str) -> None:
    rows = pl.DataFrame({"x": [float(at) for at in range(40)], "late": [at // 20 for at in range(40)]})
    owner.datasets.add(f"learn-{kind}", rows)
    owner.datasets.add(f"later-{kind}", rows.with_columns(x=pl.col("x") + 0.5))
    model = LogisticRegression().fit(rows.select("x"), rows["late"].to_numpy())
    with owner.start_run("any", OnnxExporter(owner)) as run:
        version = run.log_model(
            f"any-{kind}", model, training=[f"learn-{kind}"], evaluation=f"later-{kind}",
            example=made(rows.select("x"), kind),
        )  # fmt: skip
    assert [tensor.name for tensor in version.signature.inputs] == ["x"]


def test_a_library_that_is_none_is_said() -> None:
    with pytest.raises(Invalid, match="did you mean 'pandas'"):
        frame_as(FRAME, "panda")


def test_the_same_frame_gives_the_same_bytes() -> None:
    assert parquet_of(FRAME) == parquet_of(FRAME.clone())


def test_files(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "t.csv")
    FRAME.write_parquet(tmp_path / "t.parquet")
    assert frame_of(parquet_of(str(tmp_path / "t.csv"))).equals(FRAME)
    assert parquet_of(tmp_path / "t.parquet") == (tmp_path / "t.parquet").read_bytes()


def test_dates_in_csv_are_dates(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("at\n2024-01-01T00:00:00Z\n")
    assert frame_of(parquet_of(tmp_path / "t.csv"))["at"].dtype == pl.Datetime("us", "UTC")


def test_a_column_that_turns_to_text_late_is_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n\n" + "1\n" * 5000 + "x\n")
    assert frame_of(parquet_of(tmp_path / "t.csv"))["n"].dtype == pl.String


@pytest.mark.parametrize("table", [3, None, [1, 2], {"a": [1, 2], "b": [1]}, "nowhere.csv", io.BytesIO(b"x")])
def test_what_is_no_table_is_said(table: Any) -> None:
    with pytest.raises(Invalid):
        parquet_of(table)


@pytest.mark.parametrize(("name", "data"), [("t.xlsx", b"PK"), ("t.csv", b""), ("t.csv", b"a,b\n1,2\n1,2,3,4\n")])
def test_files_that_cannot_be_read(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Invalid, match=r"t\.(xlsx|csv)"):
        parquet_of(tmp_path / name)
