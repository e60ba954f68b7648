"""Where the steps of a run are executed, as people ask for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from headway.errors import Invalid


class Where(StrEnum):
    """Where steps run."""

    IN_PROCESS = "in-process"
    WORKERS = "workers"
    RAY = "ray"


@dataclass(frozen=True)
class Execution:
    """`workers` is how many steps run at once, by default as many as there are cores; `address` is that of a Ray
    cluster. `env` are settings for the workers' processes."""

    where: Where = Where.IN_PROCESS
    workers: int = 0
    address: str = ""
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise Invalid(f"workers must not be negative, and {self.workers} is")
        if self.address and self.where is not Where.RAY:
            raise Invalid("an address is for the executor ray alone")

    @property
    def slots(self) -> int:
        if self.workers:
            return self.workers
        return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def checked_where(text: str) -> Where:
    """Raises `Invalid` for what is no executor."""
    try:
        return Where(text)
    except ValueError:
        raise Invalid(f"executor is one of {', '.join(Where)}, not {text!r}") from None
