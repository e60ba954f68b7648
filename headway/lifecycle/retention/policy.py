"""How long things are kept: what a project declares, and what follows from it. Left out, everything is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from headway.errors import BadSettings
from headway.kernel.quotas import Quotas
from headway.kernel.records import Record, Value

LONGEST_DAYS = 36_500.0


class RetentionPolicy(Value):
    """Ages in days, from when a thing was deleted, or made if nobody deletes it by hand. None keeps it for ever."""

    deleted_days: float | None = None
    """Runs, experiments, models and whatever else was deleted."""
    traces_days: float | None = None
    segments_days: float | None = None
    """Captured predictions, by their last event. What was counted of them stays: quality, windows, alerts."""
    step_results_days: float | None = None
    step_results_bytes: int | None = None
    """The cache of steps: the oldest results go until the rest fits."""
    unreachable_days: float | None = None
    """Blobs that no record has: after this time they are discarded, and after as long again destroyed. Left out, one
    day, once anything else is declared here."""

    @property
    def keeps_everything(self) -> bool:
        return self == RetentionPolicy()


class Retention(Record, prefix="rt"):
    """The policy and the quotas that hold from `created_at` on; the newest one counts."""

    policy: RetentionPolicy = RetentionPolicy()
    quotas: Quotas = Quotas()
    declared_by: str = ""


def checked_policy(policy: RetentionPolicy, at: str) -> RetentionPolicy:
    """Raises `BadSettings` for an age or a size that cannot be."""
    for name in RetentionPolicy.__struct_fields__:
        value = getattr(policy, name)
        if value is not None and not 0 <= value <= (LONGEST_DAYS if name.endswith("_days") else 2**62):
            raise BadSettings(f"{at} {name} must be from 0 up, or left out to keep everything, not {value}")
    return policy


def before(now: datetime, days: float | None) -> datetime | None:
    """What is older than this is due; None when nothing ever is."""
    return None if days is None else now - timedelta(days=days)
