"""Requests that come as Parquet: read by a process of its own, which a crafted file may end without harm."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from headway.engines.tables.questions import MIB, RequestOf
from headway.engines.tables.readers import Readers
from headway.errors import Overloaded

MOST_WAITING = 32
TIME_LIMIT_S = 10.0
_MEMORY_BYTES = 2048 * MIB
"""Of address space, of which polars takes a few hundred MiB for itself."""


class ParquetRequests:
    """One reader for all deployments of this process, started with the first request that needs it. Used on the event
    loop alone."""

    def __init__(self) -> None:
        self._readers = Readers(processes=1, time_limit_s=TIME_LIMIT_S, memory_bytes=_MEMORY_BYTES)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parquet")
        self._waiting = 0

    async def body(self, data: bytes, most_bytes: int) -> bytes:
        """The JSON that asks the same. Raises `Invalid`, `TooLarge`, `Unavailable`, and `Overloaded` while
        `MOST_WAITING` are waiting."""
        if self._waiting >= MOST_WAITING:
            raise Overloaded(f"{MOST_WAITING} Parquet requests are waiting; try again later", retry_after_s=1)
        self._waiting += 1
        try:
            question = RequestOf(data=data, most_bytes=most_bytes)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._readers.ask, question, bytes)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._readers.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
