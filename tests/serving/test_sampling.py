"""A share of the requests is captured, the same for the same ids, and read so that its rates are those of the whole."""

from __future__ import annotations

import math

import polars as pl

from headway.engines.tables.frames import PolarsSegmentReader, features_of
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.lifecycle.rollouts.sampling import Sampling
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import SIGNATURE, request


def test_the_share_is_held_and_follows_from_the_id() -> None:
    sampling, count = Sampling(share=0.1), 20_000
    taken = [sampling.takes(f"r{at}") for at in range(count)]
    assert taken == [sampling.takes(f"r{at}") for at in range(count)]
    assert abs(sum(taken) - 0.1 * count) < 4 * math.sqrt(count * 0.09)
    assert all(Sampling(share=0.3).takes(f"r{at}") for at, each in enumerate(taken) if each)
    assert all(Sampling().takes(f"r{at}") for at in range(100))


def test_the_sample_does_not_follow_the_route() -> None:
    routes = tuple(
        Route(release=name, model="m", version=1, blob="", signature=SIGNATURE, percent=percent)
        for name, percent in (("rl_a", 90), ("rl_b", 10))
    )
    table, sampling = RoutingTable(deployment="d", generation=1, routes=routes), Sampling(share=0.1)
    kept = [table.choose(f"r{at}").release for at in range(20_000) if sampling.takes(f"r{at}")]
    assert abs(kept.count("rl_b") - 0.1 * len(kept)) < 4 * math.sqrt(len(kept) * 0.09)


def test_errors_are_kept_but_not_counted_twice(start_server: StartServer, table: MakeTable) -> None:
    server = start_server(table(capture=Sampling(share=0.2)))
    ids = [f"r{at}" for at in range(200)]
    for at, name in enumerate(ids):
        assert server.infer(request(-50.0 if at % 2 else 70.0, id=name))[0] == (422 if at % 2 else 200)
    rows = server.rows()
    sample = {name for name in ids if Sampling(share=0.2).takes(name)}
    assert set(rows["_request"]) == sample | set(ids[1::2])
    assert set(rows.filter("_sampled")["_request"]) == sample
    assert set(rows["_share"]) == {0.2}
    assert server.status()["releases"]["rl_a"]["unsampled"] == 200 - rows.height
    segments = [path.read_bytes() for path in server.spool.glob("*.parquet")]
    counts = [each for data in segments for each in PolarsSegmentReader().read("flights", "sg", data).counts]
    failed = rows.filter(pl.col("_sampled") & (pl.col("_status") != 200)).height
    assert sum(each.requests for each in counts) == len(sample)
    assert sum(each.errors for each in counts) == failed
    assert sum(features_of(data).height for data in segments) == len(sample)


def test_errors_may_be_sampled_too(start_server: StartServer, table: MakeTable) -> None:
    server = start_server(table(capture=Sampling(share=0.2, keep_errors=False)))
    ids = [f"r{at}" for at in range(60)]
    for name in ids:
        server.infer(request(-50.0, id=name))
    assert set(server.rows()["_request"]) == {name for name in ids if Sampling(share=0.2).takes(name)}
