"""What must be kept of predictions: segments, an index by prediction, labels, and sums of realised quality."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.predictions.records import Captured, Label, Quality, Segment
from headway.lifecycle.rollouts.records import RewardDay


class SegmentStore(Protocol):
    def put(self, record: Segment) -> None: ...
    def get(self, identifier: str) -> Segment | None: ...
    def holding(self, deployment: str, blob: str) -> Segment | None: ...

    def between(self, deployment: str, start: datetime, end: datetime) -> list[Segment]:
        """Segments with an event in [start, end), oldest first."""
        ...

    def since(self, deployment: str, identifier: str = "", limit: int = 1000) -> list[Segment]:
        """Segments kept after the one with this id, in the order of keeping."""
        ...

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Segment]: ...


class PredictionStore(Protocol):
    def index(self, captured: Sequence[Captured]) -> list[str]:
        """Keep index entries; returns the ids that were there already, which are left as they were."""
        ...

    def find(self, ids: Sequence[str]) -> dict[str, Captured]: ...

    def label(self, labels: Sequence[Label]) -> None:
        """Keep labels of predictions that have none yet."""
        ...

    def labels(self, ids: Sequence[str]) -> dict[str, Label]: ...

    def add_quality(self, sums: Sequence[Quality]) -> None:
        """Add to the sums kept for (deployment, release, day, rival)."""
        ...

    def quality(self, deployment: str, release: str | None = None, *, since_day: str = "") -> list[Quality]: ...

    def add_rewards(self, rollout: str, sums: Sequence[RewardDay]) -> None:
        """Add to the sums kept for (rollout, release, day)."""
        ...

    def rewards(self, rollout: str) -> list[RewardDay]:
        """By day and release."""
        ...

    def last_event_at(self, deployment: str) -> datetime | None: ...
