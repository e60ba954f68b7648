"""What one can do with predictions and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from headway.errors import Invalid, NotFound, PredictionUnknown
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.paging import Page
from headway.kernel.records import digest
from headway.lifecycle.predictions.reader import SegmentReader
from headway.lifecycle.predictions.records import (
    AddLabels,
    Captured,
    Differences,
    Label,
    Labelled,
    LabelValue,
    Quality,
    Segment,
)
from headway.lifecycle.predictions.rules import class_place, compared, joined, paired_days, rewarded
from headway.lifecycle.predictions.store import PredictionStore, SegmentStore
from headway.lifecycle.rollouts.deployments import DeploymentService
from headway.lifecycle.rollouts.records import PairedDay, RewardDay, Rollout, Shadow, Tally
from headway.lifecycle.rollouts.service import RolloutService

MOST_LABELS = 10_000
LARGEST_LABEL = 1e50
"""A sum of squared losses must still be a number."""


class PredictionService:
    def __init__(
        self,
        journal: Journal,
        segments: SegmentStore,
        predictions: PredictionStore,
        deployments: DeploymentService,
        rollouts: RolloutService,
        blobs: BlobStore,
        reader: SegmentReader,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._segments, self._predictions = journal, segments, predictions
        self._deployments, self._rollouts, self._blobs, self._reader = deployments, rollouts, blobs, reader
        self._clock, self._ids = clock, ids

    def ingest(self, deployment: str, blob: str, data: bytes, *, by: Actor) -> Segment:
        """Keep a captured segment and index its predictions; the same bytes again are the same segment."""
        by.must(Permission.CAPTURE)
        self._deployments.get(deployment)
        if digest(data) != checked_digest(blob):
            raise Invalid("the segment's bytes do not have the digest they were sent under; send it again")
        known = self._segments.holding(deployment, blob)
        if known:
            return known
        identifier = self._ids(Segment.prefix)
        content = self._reader.read(deployment, identifier, data)
        self._blobs.put(data)
        with self._journal.act(by.name, "segment.ingest") as act:
            known = self._segments.holding(deployment, blob)
            if known:
                return known
            must_be_kept(self._blobs, blob)
            segment = Segment(
                id=identifier,
                created_at=self._clock.now(),
                deployment=deployment,
                blob=blob,
                size=len(data),
                rows=content.rows,
                first_event_at=content.first_event_at,
                last_event_at=content.last_event_at,
                counts=content.counts,
                comparisons=content.comparisons,
            )
            act.save(self._segments, segment, came_from=[counts.release for counts in content.counts])
            self._predictions.index(content.captured)
            return segment

    def label(self, command: AddLabels, *, by: Actor) -> Labelled:
        """Join labels to their predictions and add them to the realised quality of who predicted.

        Labels of unknown predictions are listed in the answer and not kept: send them again once the prediction is
        captured. Raises `PredictionUnknown` when all are unknown, `Invalid` for too many, for two of one prediction and
        for one beyond `LARGEST_LABEL`.
        """
        by.must(Permission.LABEL)
        if not 0 < len(command.labels) <= MOST_LABELS:
            raise Invalid(f"send 1 to {MOST_LABELS} labels at a time, not {len(command.labels)}")
        for label in command.labels:
            if not isinstance(label.value, str) and not abs(label.value) <= LARGEST_LABEL:
                told = f"{label.value:g}; {LARGEST_LABEL:g} is the most"
                raise Invalid(f"the label of {label.prediction[:100]!r} is {told}")
        wanted = {label.prediction: label for label in command.labels}
        if len(wanted) < len(command.labels):
            raise Invalid("two labels in this batch name the same prediction; send one for each")
        with self._journal.act(by.name, "predictions.label"):
            captured = self._predictions.find(list(wanted))
            unknown = tuple(name for name in wanted if name not in captured)
            if len(unknown) == len(wanted):
                raise PredictionUnknown(
                    f"no prediction {unknown[0][:100]!r} was captured; predictions take a moment to arrive, try again",
                    unknown=list(unknown[:100]),
                )
            known = self._predictions.labels(list(captured))
            now = self._clock.now()
            fresh = [
                wanted[name] if wanted[name].at else wanted[name].but(at=now) for name in captured if name not in known
            ]
            strange = self._strange(captured, fresh)
            self._predictions.label(fresh)
            self._predictions.add_quality(joined(captured, fresh, self._deployments.classes))
            self._reward(captured, fresh)
        return Labelled(
            joined=len(fresh), repeated=len(captured) - len(fresh), unknown=unknown, strange=strange
        )  # fmt: skip

    def _strange(self, captured: Mapping[str, Captured], labels: Iterable[Label]) -> tuple[str, ...]:
        """The predictions whose label names no class of theirs; raises `Invalid` for a text where a number belongs."""
        found = []
        for label in labels:
            one = captured[label.prediction]
            classes = self._deployments.classes(one.release)
            if classes and class_place(classes, label.value) < 0:
                found.append(one.id)
            elif not classes and isinstance(label.value, str):
                raise Invalid(f"the label of prediction {one.id[:100]!r} is a text; its model predicts a number")
        return tuple(found)

    def _reward(self, captured: Mapping[str, Captured], fresh: Sequence[Label]) -> None:
        for deployment in sorted({one.deployment for one in captured.values()}):
            for rollout in self._rollouts.open(deployment):
                if rollout.playing and (sums := rewarded(rollout, captured, fresh, self._deployments.classes)):
                    self._predictions.add_rewards(rollout.id, sums)

    def find(self, identifier: str) -> Captured:
        found = self._predictions.find([identifier]).get(identifier)
        if found is None:
            raise PredictionUnknown(f"no prediction {identifier[:100]!r} was captured")
        return found

    def labels(self, ids: Sequence[str]) -> dict[str, LabelValue]:
        """The truths that are known of these predictions; raises `Invalid` for too many."""
        if len(ids) > MOST_LABELS:
            raise Invalid(f"ask for up to {MOST_LABELS} labels at a time, not {len(ids)}")
        return {name: label.value for name, label in self._predictions.labels(ids).items()}

    def quality(self, deployment: str, release: str | None = None, *, since_day: str = "") -> list[Quality]:
        """Realised quality by release and day of events."""
        return self._predictions.quality(deployment, release, since_day=since_day)

    def paired(self, deployment: str, release: str, rival: str) -> tuple[PairedDay, ...]:
        """Loss of `release` minus loss of `rival` over the labelled predictions that both scored, by day of events."""
        return paired_days(self._predictions.quality(deployment, release), release, rival)

    def rewards(self, rollout: Rollout) -> tuple[RewardDay, ...]:
        """What the releases of a bandit have earned by their labels, by day of events."""
        return tuple(self._predictions.rewards(rollout.id))

    def pairs(self, rollout: Rollout) -> int:
        """How many labelled predictions both releases of a rollout have scored so far."""
        if rollout.incumbent is None:
            return 0
        return sum(day.n for day in self.paired(rollout.deployment, rollout.candidate, rollout.incumbent))

    def differences(self, deployment: str, rival: str, day: date | None = None) -> list[Differences]:
        """How the scores of `rival`, a shadow or the other release of a rollout, differed on `day` from those that
        were answered: by release and hour. The day is that of the newest event, if left out.
        """
        shadow = self._deployments.get(deployment).shadow
        tolerance = shadow.tolerance if shadow and shadow.release == rival else Shadow(release="").tolerance
        newest = self.last_event_at(deployment)
        if day is None and newest is None:
            return []
        start = datetime.combine(day or newest, time(), UTC)  # type: ignore[arg-type]
        segments = self._segments.between(deployment, start, start + timedelta(days=1))
        return compared([one for one in segments if one.first_event_at >= start], rival, tolerance)

    def tallies(self, segments: Iterable[Segment], budget_us: int) -> dict[str, Tally]:
        """Requests, errors and slow requests by release over `segments`."""
        found: dict[str, Tally] = {}
        for segment in segments:
            for counts in segment.counts:
                slow = sum(count for upper, count in counts.latency.items() if upper > budget_us)
                tally = Tally(requests=counts.requests, errors=counts.errors, slow=slow)
                found[counts.release] = found.get(counts.release, Tally()) + tally
        return found

    def last_event_at(self, deployment: str) -> datetime | None:
        """When the newest event was, at most the present: one caller whose clock is ahead must not close days that
        are still to come, after which nobody would look at them any more."""
        found = self._predictions.last_event_at(deployment)
        return found and min(found, self._clock.now())

    def segment(self, identifier: str) -> Segment:
        found = self._segments.get(identifier)
        if found is None:
            raise NotFound(f"no segment {identifier!r}")
        return found

    def between(self, deployment: str, start: datetime, end: datetime) -> list[Segment]:
        return self._segments.between(deployment, start, end)

    def since(self, deployment: str, identifier: str = "") -> list[Segment]:
        return self._segments.since(deployment, identifier)

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Segment]:
        return self._segments.list(deployment, limit=limit, before=before)
