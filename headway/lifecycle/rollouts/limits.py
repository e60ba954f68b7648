"""What a deployment takes: how many requests, from whom, and how long one may have waited."""

from __future__ import annotations

from headway.errors import BadSettings
from headway.kernel.records import Value


class Limits(Value):
    """Rates are of requests, whatever their rows, and hold for all workers of a server together; None is no limit. A
    burst of None is what comes in one second."""

    requests_per_s: float | None = None
    burst: int | None = None
    caller_requests_per_s: float | None = None
    caller_burst: int | None = None
    most_wait_ms: float | None = None
    """A request that waited longer before it could run is refused."""


UNLIMITED = Limits()


def checked_limits(limits: Limits, at: str) -> Limits:
    """Raises `BadSettings`, which begins with `at`, for a limit that would let nothing pass."""
    for name in Limits.__struct_fields__:
        value = getattr(limits, name)
        if value is not None and value <= 0:
            raise BadSettings(f"{at} {name} must be above 0; leave it out for no limit")
    for name in ("", "caller_"):
        if getattr(limits, f"{name}burst") is not None and getattr(limits, f"{name}requests_per_s") is None:
            raise BadSettings(f"{at} {name}burst needs {name}requests_per_s beside it")
    return limits
