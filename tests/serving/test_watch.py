"""All tables of a process are watched by one timer, and captures that have nothing to do do not wake."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import numpy as np

from headway.kernel.records import encode
from headway.serving.blob_folder import BlobFolder
from headway.serving.capture.answered import Answered, AnsweredRows, JoinedIds, by_release
from headway.serving.capture.exchange import Exchange
from headway.serving.capture.queue import Capture
from headway.serving.capture.shipping import Shipper
from headway.serving.router import Router
from headway.serving.runtimes.memory import OnnxModels
from headway.serving.watch import Watch
from tests.serving.conftest import MakeTable
from tests.serving.processes import Blobs
from tests.serving.test_tensors import TABLE


class Told(Router):
    """Sets an event for each table that it has loaded."""

    def __init__(self, file: Path, blobs: Blobs, folder: Path) -> None:
        files = BlobFolder(blobs.root)
        super().__init__(file, files, folder, OnnxModels(files))
        self.loaded = asyncio.Event()

    async def refresh(self) -> None:
        await super().refresh()
        self.loaded.set()


def put(file: Path, data: bytes) -> None:
    file.with_suffix(".new").write_bytes(data)
    file.with_suffix(".new").rename(file)


def test_each_router_loads_its_own_new_table(tmp_path: Path, blobs: Blobs, table: MakeTable) -> None:
    files = [tmp_path / f"{name}.json" for name in ("flights", "trains")]

    async def watched() -> None:
        watch = Watch()
        routers = [Told(file, blobs, tmp_path / "workers") for file in files]
        for file in files:
            put(file, encode(table().but(deployment=file.stem)))
        for router in routers:
            watch.add(router)
        async with asyncio.timeout(60):
            await asyncio.gather(*(router.loaded.wait() for router in routers))
        first, second = routers
        first.loaded.clear()
        second.loaded.clear()
        put(files[0], encode(table(generation=2).but(deployment="flights")))
        async with asyncio.timeout(60):
            await first.loaded.wait()
        assert [each.active.table.generation for each in routers if each.active] == [2, 1]
        assert not second.loaded.is_set()
        assert not second.is_stale()
        await watch.remove(first)
        put(files[0], encode(table(generation=3).but(deployment="flights")))
        files[1].unlink()
        async with asyncio.timeout(60):
            await second.loaded.wait()
        assert "cannot be read" in second.error
        assert first.active
        assert first.active.table.generation == 2
        await watch.remove(second)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(watched())


class ToldShipper(Shipper):
    def __init__(self, spool: Path, sent: asyncio.Event) -> None:
        super().__init__(spool, str, None, str)
        self._loop, self._sent = asyncio.get_running_loop(), sent

    def send(self, *, at_once: bool = False) -> None:
        super().send(at_once=at_once)
        self._loop.call_soon_threadsafe(self._sent.set)


def test_the_first_row_wakes_a_capture_and_without_rows_nothing_does(tmp_path: Path) -> None:
    async def captured() -> None:
        sent = asyncio.Event()
        capture = Capture(tmp_path, ToldShipper(tmp_path, sent))
        running = asyncio.create_task(capture.run())
        for number in range(2):
            await asyncio.sleep(0)
            capture.add(Exchange(TABLE, time.time_ns(), 1, request=f"{number}", status=400, error="bad"))
            async with asyncio.timeout(60):
                await sent.wait()
            sent.clear()
            assert capture.status().captured == number + 1
            for path in tmp_path.glob("*.parquet"):
                os.unlink(path)
            capture.recount()
        capture.close()
        async with asyncio.timeout(60):
            await running

    asyncio.run(captured())


def test_what_turns_have_answered_is_joined_by_release() -> None:
    def answered(release: str, ids: list[str], keys: list[str] | None, at: int) -> Answered:
        numbers = np.full((len(ids), 2), float(at))
        return Answered(TABLE, at, 1, release, at / 2, JoinedIds(ids, 1), keys, numbers, np.full(len(ids), at / 4))

    turns = [
        answered("a", ["1", "2"], None, 4),
        answered("b", ["3"], None, 5),
        answered("a", ["4"], ["key"], 6),
    ]
    first, second = by_release(turns)
    assert isinstance(first, AnsweredRows)
    assert (first.release, first.requests(), first.keys()) == ("a", ["1", "2", "4"], ["1", "2", "key"])
    assert (first.received_rows(), first.latency_rows(), first.score_rows()) == ([4, 4, 6], [2, 2, 3], [1, 1, 1.5])
    assert list(first.feature_rows(2)) == [(4.0, 4.0), (4.0, 4.0), (6.0, 6.0)]
    assert (second.release, second.keys(), second.received_rows()) == ("b", ["3"], [5])
