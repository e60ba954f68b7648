"""The active routing table with its models, replaced in one assignment: a request sees one table, whole."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

from headway.engines.feature_views.snapshots import Snapshot
from headway.errors import Invalid, Unavailable
from headway.lifecycle.models.records import Form
from headway.lifecycle.rollouts.routing import Route, RoutingTable, read_table
from headway.serving.loaded import NO_SNAPSHOTS, LoadedRoute, LoadedTable, loaded_route
from headway.serving.lookups import LoadedView
from headway.serving.messages import KEY_HEADERS
from headway.serving.runtimes.graphs import GraphRuntime
from headway.serving.runtimes.inline import LocalFiles, OnnxRuntime, Runtime
from headway.serving.runtimes.memory import OnnxModels
from headway.serving.runtimes.workers import WorkerRuntime

_RETRY_S = 5.0
"""How soon a table is loaded again that no worker could be started for."""
_LINGER_S = 3.0
"""How long a route that is served no more goes on: captured requests may still be mirrored by it."""

log = logging.getLogger(__name__)


class Router:
    """Holds the active table. A table that cannot be loaded is refused: the one before keeps serving.

    `workers` is a folder of its own, for the files of models that run in workers; `environments` has those of locks.
    """

    def __init__(
        self, file: Path, models: LocalFiles, workers: Path, onnx: OnnxModels | None = None,
        environments: Path | None = None,
    ) -> None:  # fmt: skip
        self._environments = environments
        self._file, self._models, self._workers = file, models, workers
        self._onnx = OnnxModels(models) if onnx is None else onnx
        self._laid_out = 0
        shutil.rmtree(workers, ignore_errors=True)  # what a server that was killed has left
        self._seen: tuple[int, int, int] | None = None
        self.active: LoadedTable | None = None
        self.error = ""
        self.failure: Exception | None = None
        """What is wrong with the table that was read last, if it was refused."""

    def is_stale(self) -> bool:
        """Whether `refresh` would have something to do."""
        try:
            return self._look() != self._seen
        except OSError:
            return True

    def _look(self) -> tuple[int, int, int]:
        """What tells one version of the file from another."""
        stat = os.stat(self._file)
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    async def refresh(self) -> None:
        """Load the file if it is another one than before; hashing and loading happen off the event loop."""
        try:
            seen = self._look()
        except OSError as error:
            self.error, self._seen = f"the routing table cannot be read: {error}", None
            return
        if seen == self._seen:
            return
        self._seen = seen
        before = self.active
        try:
            fresh = await asyncio.to_thread(self._load)
        except Unavailable as error:
            self.failure = error
            self.error = f"routing table refused for now: {error}"
            log.error("table refused", extra={"facts": {"error": str(error)}})
            asyncio.get_running_loop().call_later(_RETRY_S, self._forget, seen)
            return
        except Exception as error:  # whatever is wrong with a table must not end the watch
            self.failure = error
            self.error = f"routing table refused: {error}"
            log.error("table refused", extra={"facts": {"error": str(error)}})
            return
        self.active, self.error, self.failure = fresh, "", None
        self._let_go(before)
        table = fresh.table
        if table.sticky.header:
            KEY_HEADERS.add(table.sticky.header.encode())
        shares = {route.release: route.percent for route in table.routes}
        log.info("table active", extra={"facts": {"generation": table.generation, "shares": shares}})

    def sizes(self) -> dict[str, int]:
        """By release, the memory of its model, in bytes; of those that run in this process."""
        routes = self.active.routes if self.active else ()
        found = {each.route.release: each.runtime for each in routes}
        return {name: each.memory_bytes for name, each in found.items() if isinstance(each, OnnxRuntime)}

    def close(self) -> None:
        """End all workers, and let go of all files."""
        for loaded in self.active.loaded if self.active else ():
            loaded.runtime.close()
        for snapshot in self.active.snapshots.values() if self.active else ():
            snapshot.close()

    def _forget(self, seen: tuple[int, int, int]) -> None:
        self._seen = None if self._seen == seen else self._seen

    def _let_go(self, before: LoadedTable | None) -> None:
        kept = {id(loaded.runtime) for loaded in self.active.loaded} if self.active else set()
        loop = asyncio.get_running_loop()
        for loaded in before.loaded if before else ():
            if id(loaded.runtime) not in kept:
                loop.call_later(_LINGER_S, loop.run_in_executor, None, loaded.runtime.close)
        now = self.active.snapshots if self.active else NO_SNAPSHOTS
        for name, snapshot in before.snapshots.items() if before else ():
            if name not in now:
                loop.call_later(_LINGER_S, snapshot.close)

    def _load(self) -> LoadedTable:
        table = read_table(self._file.read_bytes())
        _check(table, self.active.table if self.active else None)
        loaded = {old.route.but(percent=0): old for old in self.active.loaded} if self.active else {}
        shadow = table.shadow.route if table.shadow else None
        fallback = table.fallback.route if table.fallback else None
        beside = [route for route in (shadow, fallback) if route]
        fresh = list[LoadedRoute]()
        known = self.active.snapshots if self.active else NO_SNAPSHOTS
        snapshots = dict[str, Snapshot]()
        try:
            for name in {each.snapshot for each in table.views if each.snapshot}:
                snapshots[name] = known.get(name) or Snapshot(self._models.path(name))
            views = {each.view.id: LoadedView(each.view, snapshots.get(each.snapshot)) for each in table.views}
            for route in (*table.routes, *beside):
                same = route.but(percent=0)
                if same not in loaded:
                    fresh.append(loaded_route(route, self._runtime(route)))
                    loaded[same] = fresh[-1]
            routes = tuple(loaded[route.but(percent=0)].looking_up(views) for route in table.routes)
            others = [loaded[route.but(percent=0)] if route else None for route in (shadow, fallback)]
            return LoadedTable(table, routes, *others, snapshots=snapshots)
        except BaseException:
            for each in fresh:
                each.runtime.close()
            for name in snapshots.keys() - known.keys():
                snapshots[name].close()
            raise

    def _runtime(self, route: Route) -> Runtime:
        if route.form is Form.ONNX:
            return self._onnx.get(route.blob, route.signature)
        self._laid_out += 1
        if route.form is Form.GRAPH:
            return GraphRuntime(
                route, self._models, self._onnx, self._workers / str(self._laid_out), self._environments
            )
        return WorkerRuntime(route, self._models, self._workers / str(self._laid_out), self._environments)


def _check(table: RoutingTable, active: RoutingTable | None) -> None:
    if active and table.deployment != active.deployment:
        raise Invalid(f"this server serves {active.deployment!r}; start another one for {table.deployment!r}")
    if table.routes and (
        sum(route.percent for route in table.routes) != 100 or min(r.percent for r in table.routes) < 0
    ):
        raise Invalid(f"shares must sum to 100, not {[route.percent for route in table.routes]}")
    if len({route.release for route in table.routes}) != len(table.routes):
        raise Invalid("a release stands twice in the routing table")
    unknown = {pin.release for pin in table.pins} - {route.release for route in table.routes}
    if unknown:
        raise Invalid(f"callers are pinned to {min(unknown)}, which the routing table does not have")
