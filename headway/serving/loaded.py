"""A routing table and its routes with their models in memory, as requests see them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import copy
from typing import Any
from zlib import crc32

from numpy.typing import NDArray

from headway.engines.feature_views.snapshots import Snapshot
from headway.engines.runtimes.python import Raised
from headway.errors import Invalid, NotFound
from headway.lifecycle.models.records import Datatype, TensorSpec
from headway.lifecycle.rollouts.fallbacks import must_stand_in
from headway.lifecycle.rollouts.routing import PinIndex, Route, RoutingTable
from headway.serving.lookups import LoadedView, LookUps
from headway.serving.messages import Head
from headway.serving.runtimes.inline import OnnxRuntime, Runtime
from headway.serving.runtimes.rowwise import is_exact
from headway.serving.runtimes.workers import patient
from headway.serving.tensors import Batch, Inputs

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
        self.lookups: LookUps | None = None
        """What finds features that a request leaves out."""
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

    def looking_up(self, views: Mapping[str, LoadedView]) -> LoadedRoute:
        """This one with its feature views as they are now."""
        if not self.route.views:
            return self
        found = copy(self)
        found.lookups = LookUps([views[view] for view in self.route.views], self.inputs)
        return found

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


NO_SNAPSHOTS: Mapping[str, Snapshot] = {}


class LoadedTable:
    """A routing table with its models; `mirrors` holds, by release, the route that scores its requests once more."""

    def __init__(
        self, table: RoutingTable, routes: tuple[LoadedRoute, ...], shadow: LoadedRoute | None = None,
        fallback: LoadedRoute | None = None, *, snapshots: Mapping[str, Snapshot] = NO_SNAPSHOTS,
    ) -> None:  # fmt: skip
        self.table, self.routes, self._fallback, self.snapshots = table, routes, fallback, snapshots
        self._standing: dict[str, LoadedRoute | None] = {}
        self.loaded = (*routes, *(each for each in (shadow, fallback) if each))
        self.infer_path = f"/v2/models/{table.deployment}/infer"
        self._by_release = {loaded.route.release: loaded for loaded in routes}
        self._pins = PinIndex(table.pins) if table.pins else None
        self._sharing = tuple(loaded for loaded, route in zip(routes, table.routes, strict=True) if route.percent)
        self.quick: dict[str, Any] = {}
        """By release, what answers the usual request in few steps (`quick.py`), made when it is first asked."""
        self.waits = any(patient(loaded.runtime) is not None for loaded in routes)
        """Whether an answer has to be waited for."""
        self.falls_back_apart = fallback is not None and patient(fallback.runtime) is not None
        """Whether one has to be where a model fails."""
        self.mirrors: dict[str, LoadedRoute] = {}
        self._mirrored_percent = 100
        self._key_header = table.sticky.header.encode()
        feature = table.sticky.feature
        self.keyed = next((loaded for loaded in routes if feature and feature in loaded.inputs.columns), None)
        """What reads the feature that keys are taken from, if one is."""
        self.by_turn = bool(routes) and not self.waits
        """Whether models can be asked at the end of a turn of the event loop (`turn.py`)."""
        if table.mirror and len(routes) > 1:
            self.mirrors = {loaded.route.release: routes[0] for loaded in routes}
            self.mirrors[routes[0].route.release] = routes[1]
        elif table.shadow and shadow:
            self._mirrored_percent = table.shadow.percent
            others = (loaded.route.release for loaded in routes)
            self.mirrors = {release: shadow for release in others if release != shadow.route.release}

    def key_in(self, head: Head) -> str:
        """The key that a request's head brings, or nothing."""
        key = head.key or (head.named or {}).get(self._key_header, b"")
        return key.decode("latin-1")

    def key_of(self, batch: Batch) -> str:
        """The key in the first row of a batch that `keyed` has read; nothing where the value is missing."""
        assert self.keyed
        feature = self.table.sticky.feature
        value = self.keyed.inputs.first(batch, feature)
        return "" if value != value or 0 in batch.filled.get(feature, ()) else str(value)

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
