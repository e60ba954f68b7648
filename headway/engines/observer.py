"""Watches what is served: closes each day of events once, holds it against the reference, records the answer.

A day is closed when an event of a later day has been captured (and, for quality, when labels have had their time).
Windows are judged in the order of days; the evidence gathered so far is read back from the window before, so a
restart goes on where the last one stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec

from headway.engines.arriving_data import NewVersions
from headway.errors import HeadwayError, Invalid
from headway.kernel.access import SYSTEM
from headway.lifecycle.datasets.contract import Contract, WhenSkewed
from headway.lifecycle.datasets.profile import Layout, Profile
from headway.lifecycle.datasets.reference import Reference, read_reference
from headway.lifecycle.gates.names import BETTER_THAN_BASELINE
from headway.lifecycle.models.records import ModelVersion
from headway.lifecycle.monitors.classes import class_reference
from headway.lifecycle.monitors.drift import Detector, DriftJudgement, judge
from headway.lifecycle.monitors.quality import DayLoss, QualityJudgement, QualityRule, judge_quality
from headway.lifecycle.monitors.records import Monitor, Watches
from headway.lifecycle.monitors.reference import DriftReference, DriftRule, learn_reference
from headway.lifecycle.monitors.settings import Settings, settings_of
from headway.lifecycle.monitors.skew import SkewedDay, SkewJudgement, SkewRule, judge_skew
from headway.lifecycle.platform import Platform

_LOG = logging.getLogger("headway.observer")
_DAY = timedelta(days=1)

ProfileDay = Callable[[Sequence[bytes], str, Layout], Profile]
"""The profile of one day's answered requests, from the Parquet of the segments that may hold some."""

SkewedRows = Callable[[Sequence[bytes], str, str, Collection[str]], SkewedDay]
"""The rows that a release answered on one day, from the same, and how many of them break rules of some columns."""


Judgement = DriftJudgement | QualityJudgement | SkewJudgement


class Observer:
    def __init__(self, platform: Platform, profile_day: ProfileDay, skewed_day: SkewedRows) -> None:
        self._platform, self._profile_day, self._skewed_day = platform, profile_day, skewed_day
        self._arrivals = NewVersions(platform)
        self._references: dict[tuple[str, str], tuple[Reference, DriftReference]] = {}
        self._refused: dict[str, str] = {}
        """By monitor, why it could not judge when it was last asked: told once, not at each look."""

    def step(self) -> None:
        """Judge every day that is closed and was not judged yet, for every monitor, and every version of its data."""
        for monitor in self._platform.monitors.list():
            try:
                self._look(monitor)
                self._refused.pop(monitor.name, None)
            except HeadwayError as error:
                if self._refused.get(monitor.name) != str(error):
                    _LOG.warning("monitor %s: %s", monitor.name, error)
                self._refused[monitor.name] = str(error)
            except Exception:
                _LOG.exception("monitor %s cannot judge; the others go on", monitor.name)

    def _look(self, monitor: Monitor) -> None:
        release = self._platform.deployments.get(monitor.deployment).serving
        if release is None:
            return
        if monitor.watches is Watches.DATA:
            self._arrivals.judge(monitor, release)
            return
        judge = {Watches.QUALITY: self._quality, Watches.SKEW: self._skew}.get(monitor.watches, self._drift)
        for day in self._days(monitor, release):
            judge(monitor, release, day)

    def _days(self, monitor: Monitor, release: str) -> Iterator[date]:
        """The closed days after the last one that was judged for this release."""
        newest = self._platform.predictions.last_event_at(monitor.deployment)
        last = self._platform.monitors.last_window(monitor.name, release)
        first = date.fromisoformat(last.day) + _DAY if last else self._first_day(monitor.deployment, release)
        if newest is None or first is None:
            return
        lag = timedelta(days=getattr(_settings(monitor), "label_lag_days", 0))
        while first + lag < newest.date():
            yield first
            first += _DAY

    def _first_day(self, deployment: str, release: str) -> date | None:
        """The first whole day on which `release` served everybody; for the first release, that of the first event."""
        began: datetime | None = None
        for change in self._platform.deployments.traffic(deployment, limit=1000).items:
            if [share.release for share in change.traffic] != [release]:
                break
            began = change.event_at
        if began:
            return began.date() + _DAY
        first = self._platform.predictions.since(deployment)
        return first[0].first_event_at.date() if first else None

    def _drift(self, monitor: Monitor, release: str, day: date) -> None:
        reference, learnt = self._reference(monitor, release)
        window = self._profile_day(self._segments(monitor, day), day.isoformat(), reference.layout)
        judged = judge(window, learnt, self._detector(monitor, release))
        flagged = [column for column in judged.columns if column.flagged]
        self._record(monitor, release, day, judged.rows, judged, flagged=_plain(flagged))

    def _segments(self, monitor: Monitor, day: date) -> list[bytes]:
        start = datetime.combine(day, time(), UTC)
        segments = self._platform.predictions.between(monitor.deployment, start, start + _DAY)
        return [self._platform.blobs.get(segment.blob) for segment in segments]

    def _skew(self, monitor: Monitor, release: str, day: date) -> None:
        contract, rule = self._version(release).contract or Contract(columns=()), _settings(monitor)
        assert isinstance(rule, SkewRule)
        columns = contract.columns_to(WhenSkewed.CHANGE)
        segments = self._segments(monitor, day) if columns else []
        counted = self._skewed_day(segments, day.isoformat(), release, columns)
        judged = judge_skew(counted, contract.tolerated, rule, self._detector(monitor, release))
        if not columns:
            judged = judged.but(reason="no column of the contract says that skew of its values opens a change")
        self._record(
            monitor, release, day, counted.rows, judged, skewed=counted.skewed, columns=counted.columns,
            tolerated=contract.tolerated, contract=contract.digest,
        )  # fmt: skip

    def _quality(self, monitor: Monitor, release: str, day: date) -> None:
        sums = self._platform.predictions.quality(monitor.deployment, release, since_day=day.isoformat())
        today = [quality for quality in sums if quality.day == day.isoformat()]
        one = DayLoss(
            day=day.isoformat(),
            n=sum(quality.n for quality in today),
            loss=sum(quality.loss for quality in today),
            loss_squares=sum(quality.loss_squares for quality in today),
        )
        rule = _settings(monitor)
        assert isinstance(rule, QualityRule)
        judged = judge_quality(one, self._held_out(release), rule, self._detector(monitor, release))
        self._record(monitor, release, day, one.n, judged, mean=judged.mean, expected=judged.expected)

    def _record(self, monitor: Monitor, release: str, day: date, rows: int, judged: Judgement, **numbers: Any) -> None:
        self._platform.monitors.record(
            monitor,
            release,
            day.isoformat(),
            rows=rows,
            outcome=judged.outcome,
            statistic=judged.detector.total,
            limit=judged.limit,
            reason=judged.reason,
            numbers={"p": judged.p, "detector": _plain(judged.detector), **numbers},
            by=SYSTEM,
        )

    def _detector(self, monitor: Monitor, release: str) -> Detector:
        last = self._platform.monitors.last_window(monitor.name, release)
        return msgspec.convert(last.numbers["detector"], Detector) if last else Detector()

    def _reference(self, monitor: Monitor, release: str) -> tuple[Reference, DriftReference]:
        """The profiles of what the release learnt from, kept to what it is asked with."""
        known = self._references.get((monitor.name, release))
        if known is None:
            told = self._predicted if monitor.watches is Watches.CLASSES else self._learnt
            reference = told(release)
            days = [reference.days[day] for day in sorted(reference.days)]
            rule = _settings(monitor)
            assert isinstance(rule, DriftRule)
            known = reference, learn_reference(days, reference.layout, rule)
            self._references[monitor.name, release] = known
        return known

    def _learnt(self, release: str) -> Reference:
        version = self._version(release)
        profile = self._platform.datasets.version(version.training[-1]).profile
        whole = read_reference(self._platform.blobs.get(profile or ""))
        return whole.only({tensor.name for tensor in version.signature.inputs})

    def _predicted(self, release: str) -> Reference:
        """How often each class was predicted on each held-out day; raises `Invalid` for a model of no classes."""
        classes = self._version(release).signature.classes
        if not classes:
            raise Invalid(f"release {release} gives a number: its predictions have no classes to watch")
        return class_reference(classes, self._measured(release).get("predicted", {}))

    def _held_out(self, release: str) -> list[DayLoss]:
        """The loss on each held-out day, as the gate measured it; none when the gate was skipped."""
        return msgspec.convert(self._measured(release).get("days", []), list[DayLoss])

    def _measured(self, release: str) -> dict[str, Any]:
        """The numbers of the gate's comparison with baselines; none when the gate was skipped."""
        verdict = self._platform.releases.get(release).verdict
        if not verdict:
            return {}
        for identifier in self._platform.gates.verdict(verdict).evidence:
            evidence = self._platform.gates.evidence(identifier)
            if evidence.check == BETTER_THAN_BASELINE:
                return evidence.finding.numbers
        return {}

    def _version(self, release: str) -> ModelVersion:
        return self._platform.models.version(self._platform.releases.get(release).model_version)


def _settings(monitor: Monitor) -> Settings:
    return settings_of(monitor.name, monitor.watches, monitor.settings)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
