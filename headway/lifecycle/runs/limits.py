"""What a step may use, and how often it is tried. None of it is part of a step's key: it changes how, not what."""

from __future__ import annotations

from headway.errors import BadPipeline
from headway.kernel.records import Value

_LONGEST_WAIT_S = 3600.0


class StepLimits(Value):
    """Zero means: no limit of its own."""

    cpus: int = 1
    """CPU slots that it takes while it runs; more than there are means all of them."""
    memory_mb: int = 0
    """What each process of the step may use beyond what its worker held before."""
    gpus: int = 0
    timeout_s: float = 0.0
    retries: int = 0
    retry_wait_s: float = 1.0
    """Before the first retry; each further one waits twice as long, up to an hour."""

    @property
    def hard(self) -> bool:
        """Whether they can be kept only in a process of the step's own."""
        return bool(self.memory_mb or self.gpus or self.timeout_s)

    def wait_s(self, attempt: int) -> float:
        """How long to wait after the failed attempt of this number, counted from 1."""
        return float(min(self.retry_wait_s * 2 ** min(attempt - 1, 40), _LONGEST_WAIT_S))


def checked_limits(limits: StepLimits, step: str) -> StepLimits:
    """`limits`, if they can be kept; raises `BadPipeline` naming the option that cannot."""
    least = {"cpus": 1, "memory_mb": 0, "gpus": 0, "timeout_s": 0, "retries": 0, "retry_wait_s": 0}
    for name, lowest in least.items():
        value = getattr(limits, name)
        whole = name not in ("timeout_s", "retry_wait_s")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not value >= lowest:
            kind = "a whole number" if whole else "a number of seconds"
            raise BadPipeline(f"step {step!r}: {name} is {kind} of at least {lowest}, not {value!r}", step=step)
    return limits
