"""Requests as Parquet on MLflow's `/invocations`: as any other form of the same rows, and never the server's end."""

from __future__ import annotations

import gzip
import io
import random
from typing import Any

import polars as pl
import pytest

from headway.engines.tables.requests import MOST_CELLS, request_body
from headway.errors import Invalid, TooLarge
from tests.engines.damage import damaged, deadly_table
from tests.serving.processes import Server
from tests.serving.test_mlflow import invoke

PARQUET = "application/vnd.apache.parquet"
ROWS = {"temp": [20.0, 70.0], "carrier": ["AA", "UA"]}


def written(columns: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns, **options).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("media", [PARQUET, "application/parquet", "Application/X-Parquet; charset=utf-8"])
def test_a_table_is_as_the_same_rows_in_json(server: Server, media: str) -> None:
    frame = pl.DataFrame({**ROWS, "other": [1, 2], "when": [None, None]}).with_columns(
        pl.col("temp").cast(pl.Float32), pl.col("carrier").cast(pl.Categorical), when=pl.datetime(2026, 1, 1)
    )
    assert invoke(server, written(frame), media) == invoke(server, {"inputs": ROWS})
    packed = gzip.compress(written(frame))
    answer = server.call("POST", "/invocations", packed, {"Content-Type": media, "Content-Encoding": "gzip"})
    assert answer == invoke(server, {"inputs": ROWS})


def test_what_is_missing_or_no_number_stays_missing(server: Server) -> None:
    table = written({"temp": [None, float("nan")], "carrier": ["AA", "UA"]})
    assert invoke(server, table, PARQUET) == invoke(server, {"inputs": {**ROWS, "temp": [None, None]}})


WRONG: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "no Parquet"),
    "a word": (b"PAR1", 400, "no Parquet"),
    "rubbish": (b"PAR1" + bytes(range(256)) + b"PAR1", 400, "cannot be read"),
    "no rows": (
        written({"temp": [], "carrier": []}, schema={"temp": pl.Float32, "carrier": pl.String}),
        400,
        "no rows",
    ),
    "a feature is missing": (written({"carrier": ["AA"]}), 400, "temp"),
    "not of its kind": (written({"temp": ["warm"], "carrier": ["AA"]}), 400, "temp"),
    "an infinity": (written({"temp": [float("inf")], "carrier": ["AA"]}), 400, "infinity"),
    "broken contract": (written({"temp": [999.0], "carrier": ["AA"]}), 422, "temp"),
    "more cells than are read": (written({"temp": pl.repeat(1.0, MOST_CELLS + 1, eager=True)}), 413, "cells"),
    "long when it is unpacked": (written({"temp": [1.0] * 9, "carrier": ["A" * 2**20] * 9}), 413, "bytes of JSON"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables_are_refused_in_the_shape_of_mlflow(server: Server, case: str) -> None:
    table, status, named = WRONG[case]
    answered, answer = invoke(server, table, PARQUET)
    assert (answered, set(answer)) == (status, {"error_code", "message"})
    assert named in answer["message"]


@pytest.mark.slow
def test_a_table_that_ends_its_reader_is_refused_and_the_server_lives_on(server: Server) -> None:
    pid = server.status()["pid"]
    deadly = deadly_table()
    for table in filter(None, [deadly, deadly]):
        assert invoke(server, table, PARQUET)[0] == 400
    assert invoke(server, written(ROWS), PARQUET)[0] == 200
    assert server.status()["pid"] == pid


def test_damaged_tables_get_an_answer_below_500(server: Server) -> None:
    statuses = {invoke(server, damaged(seed), PARQUET)[0] for seed in range(60)}
    good, dice = written(ROWS), random.Random(1)
    for _ in range(60):
        torn = bytearray(good)
        for _ in range(dice.randrange(1, 8)):
            torn[dice.randrange(len(torn))] = dice.randrange(256)
        statuses.add(invoke(server, bytes(torn[: dice.randrange(1, len(torn) + 1)]), PARQUET)[0])
    assert statuses <= {200, 400, 413, 422}


def test_lists_come_whole_and_numbers_keep_their_kind() -> None:
    frame = {"x": [[1, 2], [3, 4]], "flag": [True, None], "big": [2**60 + 1, None], "raw": [b"x", b"y"]}
    assert request_body(written(frame), 1000) == (
        b'{"inputs":{"x":[[1,2],[3,4]],"flag":[true,null],"big":[1152921504606846977,null]}}'
    )
    with pytest.raises(TooLarge):
        request_body(written(frame), 20)
    with pytest.raises(Invalid):
        request_body(b"", 20)
