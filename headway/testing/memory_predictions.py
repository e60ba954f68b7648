"""The index of predictions, labels and quality in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headway.lifecycle.predictions.records import Captured, Label, Quality
from headway.lifecycle.rollouts.records import RewardDay
from headway.testing.memory_journal import MemoryJournal, MemoryTable


class MemoryPredictionStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._captured = MemoryTable[str, Captured](journal)
        self._labels = MemoryTable[str, Label](journal)
        self._rewards = MemoryTable[tuple[str, str, str], RewardDay](journal)
        self._quality = MemoryTable[tuple[str, str, str, str], Quality](journal)

    def index(self, captured: Sequence[Captured]) -> list[str]:
        known, repeated = set(self._captured.all()), []
        for each in captured:
            if each.id in known:
                repeated.append(each.id)
            else:
                known.add(each.id)
                self._captured.set(
                    each.id, each.but(score=_number(each.score), mirror_score=_number(each.mirror_score))
                )
        return repeated

    def find(self, ids: Sequence[str]) -> dict[str, Captured]:
        captured = self._captured.all()
        return {each: captured[each] for each in ids if each in captured}

    def label(self, labels: Sequence[Label]) -> None:
        known = set(self._labels.all())
        for label in labels:
            if label.prediction not in known:
                known.add(label.prediction)
                self._labels.set(label.prediction, label)

    def labels(self, ids: Sequence[str]) -> dict[str, Label]:
        labels = self._labels.all()
        return {each: labels[each] for each in ids if each in labels}

    def add_quality(self, sums: Sequence[Quality]) -> None:
        for each in sums:
            key = (each.deployment, each.release, each.day, each.rival)
            kept = self._quality.get(key)
            self._quality.set(key, _added(kept, each) if kept else each)

    def quality(self, deployment: str, release: str | None = None, *, since_day: str = "") -> list[Quality]:
        found = [
            each
            for each in self._quality.all().values()
            if each.deployment == deployment and release in (None, each.release) and each.day >= since_day
        ]
        return sorted(found, key=lambda each: (each.day, each.release, each.rival))

    def add_rewards(self, rollout: str, sums: Sequence[RewardDay]) -> None:
        for each in sums:
            key = (rollout, each.day.isoformat(), each.release)
            kept = self._rewards.get(key)
            self._rewards.set(key, kept + each if kept else each)

    def rewards(self, rollout: str) -> list[RewardDay]:
        return [each for key, each in sorted(self._rewards.all().items()) if key[0] == rollout]

    def last_event_at(self, deployment: str) -> datetime | None:
        return max(
            (each.event_at for each in self._captured.all().values() if each.deployment == deployment), default=None
        )


def _number(score: float | None) -> float | None:
    """NaN is no score."""
    return score if score == score else None


def _added(kept: Quality, more: Quality) -> Quality:
    return kept.but(
        n=kept.n + more.n,
        loss=kept.loss + more.loss,
        loss_squares=kept.loss_squares + more.loss_squares,
        paired_n=kept.paired_n + more.paired_n,
        paired=kept.paired + more.paired,
        paired_squares=kept.paired_squares + more.paired_squares,
    )
