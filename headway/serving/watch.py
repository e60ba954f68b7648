"""Looks at the routing tables of a process again and again: one timer for all of them, since a hundred that wake one by
one would take a fiftieth of a processor."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from headway.serving.router import Router

POLL_INTERVAL_S = 0.1


class Watch:
    """Has each router load each table that its file is replaced with. Used on the event loop alone."""

    def __init__(self) -> None:
        self._loads: dict[Router, asyncio.Task[None] | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, router: Router) -> None:
        self._loads[router] = None
        if self._timer is None:
            self._look()

    async def remove(self, router: Router) -> None:
        """Return once it loads nothing any more."""
        load = self._loads.pop(router)
        if self._timer and not self._loads:
            self._timer.cancel()
            self._timer = None
        if load is not None:
            load.cancel()
            with suppress(asyncio.CancelledError):
                await load

    def _look(self) -> None:
        for router, load in self._loads.items():
            if (load is None or load.done()) and router.is_stale():
                self._loads[router] = asyncio.create_task(router.refresh())
        self._timer = asyncio.get_running_loop().call_later(POLL_INTERVAL_S, self._look)
