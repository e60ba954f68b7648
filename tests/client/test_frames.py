"""Tables that people hand over become Parquet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headway.client.frames import LIBRARIES, frame_as, frame_of, like, parquet_of
from headway.errors import Invalid

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
