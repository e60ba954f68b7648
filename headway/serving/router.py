"""The active routing table with its models, replaced in one assignment: a request sees one table, whole."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from copy import copy
from pathlib import Path
from typing import Any
from zlib import crc32

from numpy.typing import NDArray

from headway.engines.runtimes.python import Raised
from headway.errors import Invalid, LedgerBroken, NotFound, Unavailable
from headway.kernel.blobs import checked_digest
from headway.kernel.records import digest
from headway.lifecycle.models.records import Datatype, Form, TensorSpec
from headway.lifecycle.rollouts.fallbacks import must_stand_in
from headway.lifecycle.rollouts.routing import PinIndex, Route, RoutingTable, read_table
from headway.serving.graphs import GraphRuntime
from headway.serving.memory import OnnxModels
from headway.serving.rowwise import is_exact
from headway.serving.runtimes import ModelFiles, OnnxRuntime, Runtime
from headway.serving.tensors import Inputs
from headway.serving.workers import WorkerRuntime, patient

_RETRY_S = 5.0
"""How soon a table is loaded again that no worker could be started for."""
_LINGER_S = 3.0
"""How long a route that is served no more goes on: captured requests may still be mirrored by it."""

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
        self._picks = list(range(len(numeric)))
        self.classes, self._label_place = route.signature.classes, route.signature.label_place
        self.inline = isinstance(runtime, OnnxRuntime)
        self.together = isinstance(runtime, OnnxRuntime) and runtime.is_rowwise and is_exact(runtime, self.inputs)
        """Whether rows of several requests may be scored in one run, since each gets what it would get alone."""
        try:
            outputs = runtime.run(self.inputs.example())
            self.scores(outputs, rows=1)
            if self.classes:
                self.probabilities(outputs, rows=1)
        except (
            Raised
        ) as error:  # a worker's model may take no row but sensible ones, and its gate has asked it for many
            log.warning("example not scored", extra={"facts": {"release": route.release, "error": str(error)}})
        except Exception as error:  # of whatever class the runtime likes
            raise Invalid(f"release {route.release}: the model cannot score one row: {error}") from error

    def scores(self, outputs: list[NDArray[Any]], rows: int) -> list[float]:
        """The last column of the output that the signature names as its score; of several classes, the greatest."""
        wide = outputs[self._score_place].reshape(rows, -1)
        scores: list[float] = (wide.max(axis=1) if self.classes else wide[:, -1]).tolist()
        return scores

    def answering_for(self, primary: LoadedRoute) -> LoadedRoute:
        """This one with the signature of `primary`, for which it can stand in."""
        view = copy(self)
        names = [spec.name for spec in self.route.signature.outputs]
        view._picks = [names.index(spec.name) for spec in primary.route.signature.outputs]
        view.route = self.route.but(signature=primary.route.signature)
        view.classes, view._label_place, view._score_place = primary.classes, primary._label_place, primary._score_place
        return view

    def picked(self, outputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """The runtime's outputs in the order of the signature that is answered by."""
        return [outputs[place] for place in self._picks]

    def probabilities(self, outputs: list[NDArray[Any]], rows: int) -> NDArray[Any]:
        """By row, the probability of each class; raises `Invalid` when there are not as many as classes."""
        wide = outputs[self._score_place].reshape(rows, -1)
        if wide.shape[1] != len(self.classes):
            raise Invalid(f"the model gives {wide.shape[1]} probabilities for {len(self.classes)} classes")
        return wide

    def labels(self, outputs: list[NDArray[Any]], rows: int) -> list[Any]:
        """By row, the class that the model says; without a label output, the likeliest."""
        if self._label_place is not None:
            labels: list[Any] = outputs[self._label_place].reshape(rows).tolist()
            return labels
        return [self.classes[place] for place in self.probabilities(outputs, rows).argmax(axis=1).tolist()]


def loaded_route(route: Route, runtime: Runtime) -> LoadedRoute:
    """What answers for `route`; closes `runtime` if that raises."""
    try:
        return LoadedRoute(route, runtime)
    except BaseException:
        runtime.close()
        raise


class LoadedTable:
    """A routing table with its models; `mirrors` holds, by release, the route that scores its requests once more."""

    def __init__(
        self, table: RoutingTable, routes: tuple[LoadedRoute, ...], shadow: LoadedRoute | None = None,
        fallback: LoadedRoute | None = None,
    ) -> None:  # fmt: skip
        self.table, self.routes, self._fallback = table, routes, fallback
        self._standing: dict[str, LoadedRoute | None] = {}
        self.loaded = (*routes, *(each for each in (shadow, fallback) if each))
        self.infer_path = f"/v2/models/{table.deployment}/infer"
        self._by_release = {loaded.route.release: loaded for loaded in routes}
        self._pins = PinIndex(table.pins) if table.pins else None
        self._sharing = tuple(loaded for loaded, route in zip(routes, table.routes, strict=True) if route.percent)
        self.quick: dict[str, Any] = {}
        """By release, what answers the usual request in few steps (`quick.py`), made when it is first asked."""
        answering = (*routes, fallback) if fallback else routes
        self.apart = any(patient(loaded.runtime) is not None for loaded in answering)
        """Whether an answer may have to be waited for."""
        self.mirrors: dict[str, LoadedRoute] = {}
        self._mirrored_percent = 100
        if table.mirror and len(routes) > 1:
            self.mirrors = {loaded.route.release: routes[0] for loaded in routes}
            self.mirrors[routes[0].route.release] = routes[1]
        elif table.shadow and shadow:
            self._mirrored_percent = table.shadow.percent
            others = (loaded.route.release for loaded in routes)
            self.mirrors = {release: shadow for release in others if release != shadow.route.release}

    def standing_in(self, loaded: LoadedRoute) -> LoadedRoute | None:
        """The release that answers when the model of `loaded` fails, if there is one that can."""
        release = loaded.route.release
        if self._fallback is None or self._fallback.route.release == release:
            return None
        if release not in self._standing:
            self._standing[release] = _view_for(loaded, self._fallback)
        return self._standing[release]

    def named(self, version: str) -> LoadedRoute:
        """The route of this version of the model; raises `NotFound`."""
        for loaded in self.routes:
            if str(loaded.route.version) == version:
                return loaded
        known = ", ".join(str(loaded.route.version) for loaded in self.routes)
        raise NotFound(f"version {version[:100]!r} is not served here; {known or 'nothing'} is")

    def inputs_of(self, release: str) -> tuple[TensorSpec, ...]:
        """The features of a release; of the first one when none was chosen."""
        return self._by_release.get(release, self.routes[0]).route.signature.inputs

    def mirror(self, release: str, request: str) -> LoadedRoute | None:
        """What scores the rows of this request, which `release` has answered, once more."""
        if self._mirrored_percent < 100 and crc32(request.encode()) % 100 >= self._mirrored_percent:
            return None
        return self.mirrors.get(release)

    def mirrors_all(self, release: str) -> LoadedRoute | None:
        """What scores the rows of every request that `release` has answered, if that is so."""
        return self.mirrors.get(release) if self._mirrored_percent >= 100 else None

    def choose(self, key: str) -> LoadedRoute:
        if self._pins and (pinned := self._pins.release(key)):
            return self._by_release[pinned]
        if len(self._sharing) == 1:
            return self._sharing[0]
        return self._by_release[self.table.choose(key).release]


def _view_for(primary: LoadedRoute, standing: LoadedRoute) -> LoadedRoute | None:
    try:
        must_stand_in(primary.route.signature, standing.route.signature)
    except Invalid as error:
        facts = {"release": standing.route.release, "for": primary.route.release, "error": str(error)}
        log.warning("fallback does not fit", extra={"facts": facts})
        return None
    return standing.answering_for(primary)


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
    """Holds the active table. A table that cannot be loaded is refused: the one before keeps serving.

    `workers` is a folder of its own, for the files of models that run in workers; `environments` has those of locks.
    """

    def __init__(
        self, file: Path, models: ModelFiles, workers: Path, onnx: OnnxModels | None = None,
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
            self.active = await asyncio.to_thread(self._load)
        except Unavailable as error:
            self.error = f"routing table refused for now: {error}"
            log.error("table refused", extra={"facts": {"error": str(error)}})
            asyncio.get_running_loop().call_later(_RETRY_S, self._forget, seen)
            return
        except Exception as error:  # whatever is wrong with a table must not end the watch
            self.error = f"routing table refused: {error}"
            log.error("table refused", extra={"facts": {"error": str(error)}})
            return
        self.error = ""
        self._let_go(before)
        table = self.active.table
        shares = {route.release: route.percent for route in table.routes}
        log.info("table active", extra={"facts": {"generation": table.generation, "shares": shares}})

    def sizes(self) -> dict[str, int]:
        """By release, the memory of its model, in bytes; of those that run in this process."""
        routes = self.active.routes if self.active else ()
        found = {each.route.release: each.runtime for each in routes}
        return {name: each.memory_bytes for name, each in found.items() if isinstance(each, OnnxRuntime)}

    def close(self) -> None:
        """End all workers."""
        for loaded in self.active.loaded if self.active else ():
            loaded.runtime.close()

    def _forget(self, seen: tuple[int, int, int]) -> None:
        self._seen = None if self._seen == seen else self._seen

    def _let_go(self, before: LoadedTable | None) -> None:
        kept = {id(loaded.runtime) for loaded in self.active.loaded} if self.active else set()
        loop = asyncio.get_running_loop()
        for loaded in before.loaded if before else ():
            if id(loaded.runtime) not in kept:
                loop.call_later(_LINGER_S, loop.run_in_executor, None, loaded.runtime.close)

    def _load(self) -> LoadedTable:
        table = read_table(self._file.read_bytes())
        _check(table, self.active.table if self.active else None)
        loaded = {old.route.but(percent=0): old for old in self.active.loaded} if self.active else {}
        shadow = table.shadow.route if table.shadow else None
        fallback = table.fallback.route if table.fallback else None
        beside = [route for route in (shadow, fallback) if route]
        fresh = list[LoadedRoute]()
        try:
            for route in (*table.routes, *beside):
                same = route.but(percent=0)
                if same not in loaded:
                    fresh.append(loaded_route(route, self._runtime(route)))
                    loaded[same] = fresh[-1]
            routes = tuple(loaded[route.but(percent=0)] for route in table.routes)
            others = [loaded[route.but(percent=0)] if route else None for route in (shadow, fallback)]
            return LoadedTable(table, routes, *others)
        except BaseException:
            for each in fresh:
                each.runtime.close()
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
