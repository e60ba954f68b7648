"""The routing table: all that a model server is told, written by the control plane, read by the server.

It is a file, replaced in one step: a server that starts, restarts or is cut off from the control plane serves what
the file says; `generation` tells both sides how far the other is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import blake3
import msgspec

from headway.kernel.records import Value
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.feature_views.records import Shipped
from headway.lifecycle.models.records import Feeding, Form, PythonRuntime, Signature
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits
from headway.lifecycle.rollouts.records import Pin
from headway.lifecycle.rollouts.sampling import EVERYTHING, Sampling
from headway.lifecycle.rollouts.sticky import ANYWHERE, Sticky

Workers = Annotated[int, msgspec.Meta(ge=1, le=64)]
"""Processes of one model server."""


class Route(Value):
    """One release behind the endpoint and the share of traffic it gets."""

    release: str
    model: str
    """Name of the model."""
    version: int
    blob: str
    signature: Signature
    percent: int
    contract: Contract | None = None
    form: Form = Form.ONNX
    feeding: Feeding = Feeding.FRAME
    python: PythonRuntime | None = None
    """What runs a model that is not ONNX; None for the platform's own interpreter."""
    lock: str = ""
    """The packages of its worker: digest of the lock whose environment it runs in."""
    trust: str = ""
    """The operator's word that this blob may be run, where its form takes one."""
    views: tuple[str, ...] = ()
    """The ids of the feature views in which it looks up what a request leaves out."""


class ShadowRoute(Value):
    """The release that scores the rows of `percent` of the requests once more, while no mirror does."""

    route: Route
    percent: int


class FallbackRoute(Value):
    """What answers when the model of a route fails: `route`, then `constant`, by output; as `Fallback` has it."""

    route: Route | None = None
    constant: dict[str, Any] = {}
    after_ms: int = 0

    @property
    def named(self) -> str:
        return self.route.release if self.route else ""


class RoutingTable(Value):
    """Shares sum to 100. With `mirror`, each captured request is also scored, off its path, by the other routes."""

    deployment: str
    generation: int
    routes: tuple[Route, ...] = ()
    mirror: bool = False
    workers: Workers = 1
    limits: Limits = UNLIMITED
    capture: Sampling = EVERYTHING
    pins: tuple[Pin, ...] = ()
    """They name releases of `routes`, which need have no share."""
    shadow: ShadowRoute | None = None
    server: str = ""
    """The model server that serves it beside others; empty for one of its own."""
    fallback: FallbackRoute | None = None
    sticky: Sticky = ANYWHERE
    views: tuple[Shipped, ...] = ()
    """All feature views of `routes`, with their values as of now: other values are another table of this generation."""

    def choose(self, key: str) -> Route:
        """The route for `key`, if it is not pinned: the same key goes the same way for as long as the shares allow.

        A key falls on one of 10,000 points by its hash; routes take the points in order, so that raising the share
        of the last route moves only the keys it gains.
        """
        point = int.from_bytes(blake3.blake3(key.encode()).digest(4), "little") % 10_000
        bound = 0
        for route in self.routes:
            bound += route.percent * 100
            if point < bound:
                return route
        return self.routes[-1]


class PinIndex:
    """Finds the pin of a key: one for the whole key before one for its beginning, a longer beginning before a
    shorter one. Costs one look-up for each length of prefix that there is."""

    def __init__(self, pins: Iterable[Pin]) -> None:
        ordered = tuple(pins)
        self._whole = {pin.key: pin.release for pin in ordered if not pin.starts_with}
        self._beginnings = {pin.key: pin.release for pin in ordered if pin.starts_with}
        self._lengths = sorted({len(key) for key in self._beginnings}, reverse=True)

    def release(self, key: str) -> str | None:
        found = self._whole.get(key)
        if found is None:
            for length in self._lengths:
                found = self._beginnings.get(key[:length])
                if found is not None:
                    break
        return found


read_table = msgspec.json.Decoder(RoutingTable).decode
