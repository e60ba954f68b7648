"""Batch scoring in this process: what is refused, and work that is broken off."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headway.engines.runtimes.python import Raised
from headway.errors import Conflict, Invalid, Unavailable
from headway.lifecycle.rollouts.routing import Route
from headway.serving.loaded import LoadedRoute
from headway.serving.offline.batch import score_file
from headway.serving.runtimes.inline import OnnxRuntime
from headway.serving.tensors import Feed
from tests.serving.processes import CARRIERS, CONTRACT, SIGNATURE, train


@pytest.fixture(scope="module")
def loaded() -> LoadedRoute:
    route = Route(
        release="rl_a", model="late", version=1, blob="b3:00", signature=SIGNATURE, percent=100, contract=CONTRACT
    )  # fmt: skip
    return LoadedRoute(route, OnnxRuntime(train(1), SIGNATURE))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    frame = pl.DataFrame(
        {"temp": random.normal(60, 10, 1000).round(1), "carrier": random.choice(CARRIERS, 1000), "n": 1}
    )
    frame.write_parquet(tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


class BrokenOff(Exception):
    pass


def test_it_goes_on_where_it_was(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    target, done = tmp_path / "out.parquet", list[int]()

    def stop(rows: int) -> None:
        done.append(rows)
        if len(done) == 3:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        score_file(loaded, source, target, part_rows=100, progress=stop)
    (tmp_path / "out.parquet.parts" / "000000000300.parquet.tmp").write_bytes(b"half")
    assert not target.exists()
    found = score_file(loaded, source, target, part_rows=100, progress=done.append)
    assert (found.resumed, found.rows, len(done)) == (300, 1000, 10)
    score_file(loaded, source, tmp_path / "whole.parquet")
    assert pl.read_parquet(target).equals(pl.read_parquet(tmp_path / "whole.parquet"))


def test_parts_of_another_job_are_not_taken(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"

    def stop(_: int) -> None:
        raise BrokenOff

    with pytest.raises(BrokenOff):
        score_file(loaded, source, target, part_rows=100, progress=stop)
    with pytest.raises(Conflict, match="another job"):
        score_file(loaded, source, target, part_rows=200)
    pl.read_parquet(source).head(10).write_parquet(source)
    with pytest.raises(Conflict, match="another job"):
        score_file(loaded, source, target, part_rows=100)


def test_one_process_at_a_time(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    target, refused = tmp_path / "out.parquet", list[str]()

    def again(_: int) -> None:
        with pytest.raises(Conflict) as refusal:
            score_file(loaded, source, target, part_rows=500)
        refused.append(str(refusal.value))

    assert score_file(loaded, source, target, part_rows=500, progress=again).rows == 1000
    assert len(refused) == 2
    assert "another process" in refused[0]
    assert pl.read_parquet(target).height == 1000


def test_where_there_is_no_room(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    """A limit on the size of files ends a write half way, as a full disk does."""
    target, (soft, hard) = tmp_path / "out.parquet", resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(Unavailable, match="make room"):
            score_file(loaded, source, target, part_rows=500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.rglob("*.tmp"))
    assert score_file(loaded, source, target, part_rows=500).rows == 1000
    with pytest.raises(Invalid, match="No such file or directory"):
        score_file(loaded, source, tmp_path / "nowhere" / "out.parquet")


def test_rows_that_do_not_fit(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(source).with_row_index("place")
    odd = pl.col("place").is_in([3, 500, 999])
    frame = frame.with_columns(
        temp=pl.when(odd).then(1000.0).when(pl.col("place") == 4).then(float("nan")).otherwise("temp"),
        carrier=pl.when(pl.col("place") == 77).then(pl.lit("ZZ")).otherwise("carrier"),
    )
    frame.write_parquet(source)
    found = score_file(loaded, source, tmp_path / "out.parquet")
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert found.refused == 4
    assert out.filter(pl.col("_error").is_not_null())["place"].to_list() == [3, 77, 500, 999]
    assert out["_score"].null_count() == 5  # a missing number scores NaN with this model


class Picky(OnnxRuntime):
    """Raises as a Python function in a worker does: on all of its rows, for one of them."""

    def run(self, feed: Feed) -> list[Any]:
        if (feed["temp"] == 61).any():
            raise Raised("ValueError: 61")
        return super().run(feed)


def test_a_row_that_the_model_fails_on(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    picky = LoadedRoute(loaded.route, Picky(train(1), SIGNATURE))
    pl.DataFrame({"temp": [60.0, 61.0, 62.0, 61.0], "carrier": ["UA"] * 4}).write_parquet(source)
    assert score_file(picky, source, tmp_path / "out.parquet").refused == 2
    out = pl.read_parquet(tmp_path / "out.parquet")
    failed = "the model failed on this row: ValueError: 61"
    assert out["_error"].to_list() == [None, failed, None, failed]
    assert out["_score"].is_null().to_list() == [False, True, False, True]


def test_files_that_are_refused(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    pl.read_parquet(source).drop("carrier").write_parquet(tmp_path / "narrow.parquet")
    with pytest.raises(Invalid, match="carrier"):
        score_file(loaded, tmp_path / "narrow.parquet", target)
    pl.read_parquet(source).with_columns(_score=1.0).write_parquet(tmp_path / "taken.parquet")
    with pytest.raises(Invalid, match="_score"):
        score_file(loaded, tmp_path / "taken.parquet", target)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(Invalid, match="Parquet"):
        score_file(loaded, tmp_path / "text.parquet", target)
    assert not list(tmp_path.glob("out*"))


def test_a_table_without_rows(loaded: LoadedRoute, source: Path, tmp_path: Path) -> None:
    pl.read_parquet(source).head(0).write_parquet(source)
    assert score_file(loaded, source, tmp_path / "out.parquet").rows == 0
    assert pl.read_parquet(tmp_path / "out.parquet").columns == [
        "temp",
        "carrier",
        "n",
        "_score",
        "_release",
        "_error",
        "_skewed",
    ]


def test_a_null_is_what_the_default_says(source: Path, tmp_path: Path) -> None:
    """As in a request; a column that is not there may be a mistake in its name."""
    columns = tuple(
        column.but(default="UA") if column.name == "carrier" else column for column in CONTRACT.columns
    )  # fmt: skip
    route = Route(
        release="rl_a", model="late", version=1, blob="b3:00", signature=SIGNATURE, percent=100,
        contract=CONTRACT.but(columns=columns),
    )  # fmt: skip
    filling = LoadedRoute(route, OnnxRuntime(train(1), SIGNATURE))
    rows = pl.DataFrame({"temp": [60.0, 60.0], "carrier": ["UA", None]})
    rows.write_parquet(source)
    assert score_file(filling, source, tmp_path / "out.parquet").refused == 0
    assert pl.read_parquet(tmp_path / "out.parquet")["_score"].n_unique() == 1
    rows.drop("carrier").write_parquet(source)
    with pytest.raises(Invalid, match="no column carrier"):
        score_file(filling, source, tmp_path / "other.parquet")
