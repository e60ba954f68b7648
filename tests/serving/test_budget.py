"""What waits to be written, of all deployments of a process together: bounded in bytes, joined, the fullest first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headway.lifecycle.rollouts.routing import RoutingTable
from headway.serving.capture.answered import Answered, AnsweredRows, JoinedIds
from headway.serving.capture.budget import Budget
from headway.serving.capture.exchange import Kept, written
from headway.serving.capture.pace import Pace
from headway.serving.capture.queue import Capture
from headway.serving.capture.shipping import Shipper
from headway.serving.loaded import LoadedTable
from tests.serving.test_capture import exchange
from tests.serving.test_turn import SIGNATURE, TREES, WIDTH, loaded

EXCHANGE_BYTES = 1100
"""Of `exchange`."""
TABLE = LoadedTable(
    RoutingTable(deployment="d", generation=1, routes=((ROUTE := loaded(TREES, "rl_n", 100)).route,)), (ROUTE,)
)


def captures(folder: Path, count: int, budget: Budget, pace: Pace | None = None) -> list[Capture]:
    spools = [folder / f"{number}" for number in range(count)]
    for spool in spools:
        spool.mkdir()
    pace = pace or Pace()
    return [Capture(spool, Shipper(spool, str, None, str), pace=pace, budget=budget) for spool in spools]


def alone(number: int, ids: str = "") -> Answered:
    """A turn with one request."""
    names = JoinedIds([f"{number:032}"], 32) if not ids else [ids]
    numbers = np.full((1, WIDTH), number, np.float32)
    return Answered(TABLE, number * 1000, 400, "rl_n", number / 2, names, None, numbers, np.full(1, number / 1e4))


def test_all_deployments_share_the_bytes(tmp_path: Path) -> None:
    first, second = captures(tmp_path, 2, Budget(10 * EXCHANGE_BYTES))
    for number in range(8):
        first.add(exchange(f"{number}"))
    for number in range(5):
        second.add(exchange(f"{number}"))
    assert (first.status().queued, first.status().dropped) == (8, 0)
    assert (second.status().queued, second.status().dropped) == (2, 3)
    asyncio.run(first.flush())
    for number in range(9):
        second.add(exchange(f"{number}"))
    assert (second.status().queued, second.status().dropped) == (10, 4)
    asyncio.run(second.flush())
    assert (first.status().captured, second.status().captured) == (8, 10)


def test_what_could_not_be_written_is_counted_once(tmp_path: Path) -> None:
    [capture] = captures(tmp_path, 1, Budget(10 * EXCHANGE_BYTES))
    (tmp_path / "0").rmdir()
    for _ in range(3):
        capture.add(exchange("kept"))
        asyncio.run(capture.flush())
    for _ in range(9):
        capture.add(exchange("more"))
    assert (capture.status().queued, capture.status().dropped) == (10, 2)


class Patient(Pace):
    def interval_s(self) -> float:
        return 3600


def test_the_fullest_is_written_before_its_time_when_half_is_used_up(tmp_path: Path) -> None:
    async def captured() -> None:
        few, many, _ = all_of_them = captures(tmp_path, 3, Budget(20 * EXCHANGE_BYTES), Patient())
        written = asyncio.Event()
        many.on_written = written.set
        running = [asyncio.create_task(each.run()) for each in all_of_them]
        await asyncio.sleep(0)  # they have joined
        for capture, count in ((few, 4), (many, 6), (few, 1)):
            for number in range(count):
                capture.add(exchange(f"{number}"))
        async with asyncio.timeout(60):
            await written.wait()
        assert [each.status().captured for each in all_of_them] == [0, 6, 0]
        assert few.status().queued == 5
        for each in all_of_them:
            each.close()
        async with asyncio.timeout(60):
            await asyncio.gather(*running)
        assert [each.status().captured for each in all_of_them] == [5, 6, 0]

    asyncio.run(captured())


@pytest.mark.parametrize("named", [False, True])
def test_rows_of_numbers_wait_joined_and_take_less(tmp_path: Path, named: bool) -> None:
    budget = Budget(350_000)  # for 250 of them apart
    [capture] = captures(tmp_path, 1, budget)
    count = 1000

    async def add() -> None:
        for number in range(count):
            capture.add(alone(number, ids=f"mine-{number}" if named else ""))
            await asyncio.sleep(0)

    asyncio.run(add())
    assert (capture.status().queued, capture.status().dropped) == (count, 0)
    assert capture.waiting_bytes < 350_000
    asyncio.run(capture.flush())
    assert capture.waiting_bytes == 0
    assert budget.take(350_000)
    rows = pl.concat(pl.read_parquet(path) for path in (tmp_path / "0").glob("*.parquet")).sort("_received_at")
    assert rows[SIGNATURE.inputs[0].columns[0]].to_list() == list(range(count))
    expected = [f"mine-{number}" if named else f"{number:032}" for number in range(count)]
    assert rows["_request"].to_list() == rows["_key"].to_list() == rows["_prediction"].to_list() == expected
    assert rows["_latency_us"].to_list() == [number / 2 for number in range(count)]
    assert rows["_score"].to_list() == [number / 1e4 for number in range(count)]


def test_joined_rows_are_not_joined_again() -> None:
    kept: list[Kept] = [*written([alone(1), alone(2)]), alone(3), exchange("apart")]
    found = written(kept)
    assert sorted(type(each).__name__ for each in found) == ["AnsweredRows", "AnsweredRows", "Exchange"]
    joined = [each for each in found if isinstance(each, AnsweredRows)]
    assert [each.requests() for each in joined] == [[f"{1:032}", f"{2:032}"], [f"{3:032}"]]
