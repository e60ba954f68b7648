"""What needs the extra [ml], loaded at its first use: a control plane without frames still does everything else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from headway.errors import ExtraMissing
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.profile import Layout, Profile
from headway.lifecycle.datasets.schema import Summary
from headway.lifecycle.predictions.records import SegmentContent

if TYPE_CHECKING:
    from headway.engines.frames import PolarsInspector, PolarsSegmentReader

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def needs_ml(function: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """Turns a missing package into `ExtraMissing`, which says what to install."""

    @functools.wraps(function)
    def checked(*args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            if str(error.name).startswith("headway"):
                raise
            message = f"tables need {error.name}, which is not installed: pip install 'headway[ml]'"
            raise ExtraMissing(message) from error

    return checked


class FrameInspector:
    def summarise(self, data: bytes) -> Summary:
        return _inspector().summarise(data)

    def reference(self, data: bytes, contract: Contract | None) -> bytes:
        return _inspector().reference(data, contract)


class FrameReader:
    def read(self, deployment: str, segment: str, data: bytes) -> SegmentContent:
        return _reader().read(deployment, segment, data)


@needs_ml
def profile_day(segments: Sequence[bytes], day: str, layout: Layout) -> Profile:
    """The profile of one day of captured segments."""
    profile: Profile = import_module("headway.engines.windows").day_profiles(segments, day, layout)
    return profile


@needs_ml
def _inspector() -> PolarsInspector:
    inspector: PolarsInspector = import_module("headway.engines.frames").PolarsInspector()
    return inspector


@needs_ml
def _reader() -> PolarsSegmentReader:
    reader: PolarsSegmentReader = import_module("headway.engines.frames").PolarsSegmentReader()
    return reader
