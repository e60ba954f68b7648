"""How the candidate of a rollout is doing, from the captured predictions and the labels that have joined them."""

from __future__ import annotations

from dataclasses import dataclass, field

from headway.lifecycle.environments.records import RolloutPolicy
from headway.lifecycle.platform import Platform
from headway.lifecycle.predictions.records import Segment
from headway.lifecycle.rollouts.records import Health, PairedDay, Rollout, Tally
from headway.lifecycle.rollouts.target import Endpoint, Target


@dataclass
class _Seen:
    """What was read of one rollout so far, so that each segment is counted once."""

    last_segment: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    step: int = -1
    at_step: int = 0
    """Requests of the candidate before this step."""
    ends: int = 0
    """How often processes have ended unasked since it is looked at."""
    ends_told: int | None = None
    """What the target had counted when it was asked last."""


class HealthReader:
    def __init__(self, platform: Platform, target: Target) -> None:
        self._platform, self._target = platform, target
        self._seen: dict[str, _Seen] = {}

    def read(self, rollout: Rollout, policy: RolloutPolicy) -> Health:
        """The health of a rollout now. Counts start over from the rollout's first segment after a restart."""
        seen = self._seen.setdefault(rollout.id, _Seen(last_segment=""))
        self._count(seen, rollout, policy)
        endpoint = self._target.observe(rollout.deployment)
        _count_ends(seen, endpoint)
        candidate = seen.tallies.get(rollout.candidate, Tally())
        incumbent = seen.tallies.get(rollout.incumbent or "", Tally())
        quality = self._quality(rollout)
        newest = self._platform.predictions.last_event_at(rollout.deployment)
        return Health(
            candidate=candidate,
            incumbent=incumbent,
            quality=quality,
            tallies=dict(seen.tallies) if rollout.playing else {},
            rewards=self._platform.predictions.rewards(rollout) if rollout.playing else (),
            newest_day=newest.date() if newest else None,
            step_requests=candidate.requests - seen.at_step,
            step_labels=_labels(quality) - rollout.step_labels_from,
            live=self._live(endpoint, rollout),
            ends=seen.ends,
        )

    def _quality(self, rollout: Rollout) -> tuple[PairedDay, ...]:
        if rollout.incumbent is None or rollout.reward:
            return ()
        return self._platform.predictions.paired(rollout.deployment, rollout.candidate, rollout.incumbent)

    def forget(self, rollout: Rollout) -> None:
        self._seen.pop(rollout.id, None)

    def _count(self, seen: _Seen, rollout: Rollout, policy: RolloutPolicy) -> None:
        while segments := self._platform.predictions.since(rollout.deployment, seen.last_segment):
            seen.last_segment = segments[-1].id
            before_step = [
                one for one in segments if one.created_at >= rollout.created_at and self._early(one, rollout)
            ]
            at_step = [one for one in segments if not self._early(one, rollout)]
            self._add(seen, before_step, policy)
            if seen.step != rollout.step and at_step:
                self._begin_step(seen, rollout)
            self._add(seen, at_step, policy)
        if seen.step != rollout.step:
            self._begin_step(seen, rollout)

    def _begin_step(self, seen: _Seen, rollout: Rollout) -> None:
        seen.step = rollout.step
        seen.at_step = seen.tallies.get(rollout.candidate, Tally()).requests

    @staticmethod
    def _early(segment: Segment, rollout: Rollout) -> bool:
        return rollout.step_at is None or segment.created_at < rollout.step_at

    def _add(self, seen: _Seen, segments: list[Segment], policy: RolloutPolicy) -> None:
        for release, tally in self._platform.predictions.tallies(segments, policy.latency_budget_us).items():
            seen.tallies[release] = seen.tallies.get(release, Tally()) + tally

    def _live(self, endpoint: Endpoint | None, rollout: Rollout) -> bool:
        wanted = self._platform.deployments.get(rollout.deployment).generation
        return endpoint is not None and endpoint.ready and endpoint.generation >= wanted


def _count_ends(seen: _Seen, endpoint: Endpoint | None) -> None:
    if endpoint is None:
        return
    if seen.ends_told is not None:  # less than before is another server, which counts from the beginning
        seen.ends += max(0, endpoint.ends - seen.ends_told)
    seen.ends_told = endpoint.ends


def _labels(days: tuple[PairedDay, ...]) -> int:
    return sum(one.n for one in days)
