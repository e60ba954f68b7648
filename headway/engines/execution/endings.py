"""How a step ends that was not let come to its own end, or does not begin elsewhere."""

from __future__ import annotations


class WorkerLost(Exception):
    """A worker ended while it ran a step."""


class TimedOut(Exception):
    """A step took longer than it may; all that it had started is gone."""


class Stopped(Exception):
    """The run was stopped; all that the step had started is gone."""


class CannotTravel(Exception):
    """Why a step or a value cannot be handed to another process."""
