"""The active routing table with its models, replaced in one assignment: a request sees one table, whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from numpy.typing import NDArray

from headway.errors import Invalid, LedgerBroken, NotFound
from headway.kernel.blobs import checked_digest
from headway.kernel.records import digest
from headway.lifecycle.models.records import Datatype
from headway.lifecycle.rollouts.routing import PinIndex, Route, RoutingTable, read_table
from headway.serving.runtimes import OnnxRuntime, Runtime
from headway.serving.tensors import Inputs

POLL_INTERVAL_S = 0.1

log = logging.getLogger(__name__)


class LoadedRoute:
    """A route whose model is in memory and warm. Raises `Invalid` when the model is not as the route says."""

    def __init__(self, route: Route, runtime: Runtime) -> None:
        self.route, self.runtime = route, runtime
        self.inputs = Inputs(route.signature, route.contract)
        numeric = [spec.name if spec.datatype != Datatype.BYTES else "" for spec in route.signature.outputs]
        if route.signature.score not in numeric:
            raise Invalid(f"release {route.release}: no output of numbers is named {route.signature.score!r}")
        self._score_place = numeric.index(route.signature.score)
        try:
            self.scores(runtime.run(self.inputs.example()), rows=1)
        except Exception as error:  # of whatever class the runtime likes
            raise Invalid(f"release {route.release}: the model cannot score one row: {error}") from error

    def scores(self, outputs: list[NDArray[Any]], rows: int) -> list[float]:
        """The last column of the output that the signature names as its score."""
        scores: list[float] = outputs[self._score_place].reshape(rows, -1)[:, -1].tolist()
        return scores


class LoadedTable:
    """A routing table with its models; `mirrors` holds, by release, the route that scores its requests once more."""

    def __init__(self, table: RoutingTable, routes: tuple[LoadedRoute, ...], shadow: LoadedRoute | None = None) -> None:
        self.table, self.routes = table, routes
        self.loaded = (*routes, shadow) if shadow else routes
        self.infer_path = f"/v2/models/{table.deployment}/infer"
        self._by_release = {loaded.route.release: loaded for loaded in routes}
        self._pins = PinIndex(table.pins) if table.pins else None
        self._sharing = tuple(loaded for loaded in routes if loaded.route.percent)
        self.mirrors: dict[str, LoadedRoute] = {}
        self._mirrored_percent = 100
        if table.mirror and len(routes) > 1:
            self.mirrors = {loaded.route.release: routes[0] for loaded in routes}
            self.mirrors[routes[0].route.release] = routes[1]
        elif table.shadow and shadow:
            self._mirrored_percent = table.shadow.percent
            others = (loaded.route.release for loaded in routes)
            self.mirrors = {release: shadow for release in others if release != shadow.route.release}

    def named(self, version: str) -> LoadedRoute:
        """The route of this version of the model; raises `NotFound`."""
        for loaded in self.routes:
            if str(loaded.route.version) == version:
                return loaded
        known = ", ".join(str(loaded.route.version) for loaded in self.routes)
        raise NotFound(f"version {version[:100]!r} is not served here; {known or 'nothing'} is")

    def mirror(self, release: str, request: str) -> LoadedRoute | None:
        """What scores the rows of this request, which `release` has answered, once more."""
        if self._mirrored_percent < 100 and crc32(request.encode()) % 100 >= self._mirrored_percent:
            return None
        return self.mirrors.get(release)

    def choose(self, key: str) -> LoadedRoute:
        if self._pins and (pinned := self._pins.release(key)):
            return self._by_release[pinned]
        if len(self._sharing) == 1:
            return self._sharing[0]
        return self._by_release[self.table.choose(key).release]


class ModelFiles(Protocol):
    def get(self, digest: str) -> bytes:
        """The model's bytes; raises `NotFound`, or `LedgerBroken` when they do not have this digest."""
        ...


class BlobFolder:
    """Content-addressed files on the local disk: `b3:<hex>` is `<hex[:2]>/<hex[2:]>`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, name: str) -> bytes:
        hexadecimal = checked_digest(name).removeprefix("b3:")
        path = self._root / hexadecimal[:2] / hexadecimal[2:]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFound(f"model {name} cannot be read: {error}") from error
        if digest(data) != name:
            raise LedgerBroken(f"model file {path} was changed: its digest is no longer {name}")
        return data


class Router:
    """Holds the active table. A table that cannot be loaded is refused: the one before keeps serving."""

    def __init__(self, file: Path, models: ModelFiles) -> None:
        self._file, self._models = file, models
        self._seen: tuple[int, int, int] | None = None
        self.active: LoadedTable | None = None
        self.error = ""

    async def watch(self) -> None:
        """Load each table that the file is replaced with, until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Load the file if it is another one than before; hashing and loading happen off the event loop."""
        try:
            stat = self._file.stat()
        except OSError as error:
            self.error, self._seen = f"the routing table cannot be read: {error}", None
            return
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.active = await asyncio.to_thread(self._load)
        except Exception as error:  # whatever is wrong with a table must not end the watch
            self.error = f"routing table refused: {error}"
            log.error("table refused", extra={"facts": {"error": str(error)}})
            return
        self.error = ""
        table = self.active.table
        shares = {route.release: route.percent for route in table.routes}
        log.info("table active", extra={"facts": {"generation": table.generation, "shares": shares}})

    def _load(self) -> LoadedTable:
        table = read_table(self._file.read_bytes())
        _check(table, self.active.table if self.active else None)
        loaded = {old.route.but(percent=0): old for old in self.active.loaded} if self.active else {}
        routes = tuple(self._load_route(route, loaded) for route in table.routes)
        return LoadedTable(table, routes, self._load_route(table.shadow.route, loaded) if table.shadow else None)

    def _load_route(self, route: Route, loaded: Mapping[Route, LoadedRoute]) -> LoadedRoute:
        return loaded.get(route.but(percent=0)) or LoadedRoute(
            route, OnnxRuntime(self._models.get(route.blob), route.signature)
        )


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
