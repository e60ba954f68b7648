"""Where steps run, for whoever hands them there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from headway.engines.execution.output import StepOutput
    from headway.engines.execution.wire import Call, Done, Failed
    from headway.lifecycle.runs.limits import StepLimits

Echo = Callable[[str, str], None]
"""Told of what a step prints: its name and some lines."""


class Place(Protocol):
    """Where one step at a time runs."""

    def perform(self, call: Call, output: StepOutput, limits: StepLimits) -> Done | Failed:
        """What the step gives. Raises `WorkerLost`, `TimedOut` and `Stopped`."""
        ...

    def close(self) -> None: ...


class Places(Protocol):
    """Makes places, and stops what runs in them."""

    def place(self, limits: StepLimits) -> Place: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
