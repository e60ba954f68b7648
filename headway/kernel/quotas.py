"""How much may be kept. None is without limit, which is how it begins."""

from __future__ import annotations

from collections.abc import Callable

from headway.errors import BadSettings
from headway.kernel.records import Value


class Quotas(Value):
    blob_bytes: int | None = None
    """Of all blobs together. Captured predictions are taken nevertheless: they have been answered."""
    runs_per_experiment: int | None = None
    """Those that were deleted and not yet purged count too."""
    points_per_run: int | None = None


QuotasNow = Callable[[], Quotas]
"""The quotas that hold; asked on every write, so it answers from memory."""


def checked_quotas(quotas: Quotas, at: str) -> Quotas:
    """Raises `BadSettings` for a limit below 0."""
    for name in Quotas.__struct_fields__:
        limit = getattr(quotas, name)
        if limit is not None and limit < 0:
            raise BadSettings(f"{at} {name} must be from 0 up, or left out for no limit, not {limit}")
    return quotas
