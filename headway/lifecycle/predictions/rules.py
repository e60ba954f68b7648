"""How labels turn into realised quality.

Loss is the squared error of the score: the Brier score of a probability, the squared error of a regression; of several
classes, the sum of it over the classes. It is proper, bounded for probabilities, and its sums can be added over any
days and releases.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime

from headway.lifecycle.environments.records import Reward
from headway.lifecycle.models.records import ClassName
from headway.lifecycle.predictions.records import (
    Captured,
    Comparison,
    Difference,
    Differences,
    Label,
    LabelValue,
    Quality,
    Segment,
)
from headway.lifecycle.rollouts.records import TOLERANCES, PairedDay, RewardDay, Rollout

MOST_LARGEST = 10
_LARGEST = 1e100
"""Of anything larger the squares could not be summed."""


def loss(score: float, label: float) -> float:
    gap = score - label
    return gap * gap


Classes = Callable[[str], tuple[ClassName, ...]]
"""The classes of a release, or none."""


def class_place(classes: Sequence[ClassName], value: LabelValue) -> int:
    """Where the class that a label names stands; -1 for one that is none of them. 3, 3.0 and "3" are the same class."""
    told = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    names = [str(name) for name in classes]
    return names.index(told) if told in names else -1


def class_loss(probabilities: Sequence[float], place: int) -> float:
    """The sum over classes of (P(class) - 1 if it happened else 0)^2; a class at -1 was given no chance."""
    happened = probabilities[place] if place >= 0 else 0.0
    return sum(chance * chance for chance in probabilities) + 1 - 2 * happened


def _loss(score: float, probabilities: Sequence[float], label: Label, release: str, classes: Classes) -> float:
    if not probabilities:
        return loss(score, float(label.value))
    return class_loss(probabilities, class_place(classes(release), label.value))


def joined(captured: Mapping[str, Captured], labels: Iterable[Label], classes: Classes = lambda _: ()) -> list[Quality]:
    """The sums that these labels add, by deployment, release, day of the event and rival.

    A prediction that failed has no score and adds nothing, and neither does one whose loss is beyond all measure; one
    that two releases scored counts for both, with the difference once for each side.
    """
    sums: dict[tuple[str, str, str, str], Quality] = {}
    for label in labels:
        one = captured[label.prediction]
        if one.score is None:
            continue
        mine = _loss(one.score, one.probabilities, label, one.release, classes)
        if mine > _LARGEST:
            continue
        rival, theirs = one.mirror_release or "", math.inf
        if rival and one.mirror_score is not None and bool(one.probabilities) == bool(one.mirror_probabilities):
            theirs = _loss(one.mirror_score, one.mirror_probabilities, label, rival, classes)
        if theirs <= _LARGEST:
            _add(sums, one, one.release, rival, mine, mine - theirs)
            _add(sums, one, rival, one.release, None, theirs - mine)
        else:
            _add(sums, one, one.release, "", mine, None)
    return list(sums.values())


def _add(
    sums: dict[tuple[str, str, str, str], Quality],
    one: Captured,
    release: str,
    rival: str,
    own: float | None,
    difference: float | None,
) -> None:
    day = one.event_at.date().isoformat()
    key = (one.deployment, release, day, rival)
    before = sums.get(key) or Quality(deployment=one.deployment, release=release, day=day, rival=rival)
    sums[key] = before.but(
        n=before.n + (own is not None),
        loss=before.loss + (own or 0.0),
        loss_squares=before.loss_squares + (own or 0.0) ** 2,
        paired_n=before.paired_n + (difference is not None),
        paired=before.paired + (difference or 0.0),
        paired_squares=before.paired_squares + (difference or 0.0) ** 2,
    )


def rewarded(
    rollout: Rollout, captured: Mapping[str, Captured], labels: Iterable[Label], classes: Classes = lambda _: ()
) -> list[RewardDay]:
    """The sums that these labels add to what the releases of a bandit have earned, by release and day of the event.

    Predictions of other releases, of events from before the rollout, and those that failed add nothing.
    """
    assert rollout.reward is not None
    sums: dict[tuple[str, date], RewardDay] = {}
    for label in labels:
        one = captured[label.prediction]
        before = rollout.events_after is not None and one.event_at <= rollout.events_after
        if before or one.score is None or one.deployment != rollout.deployment or one.release not in rollout.arms:
            continue
        day = one.event_at.date()
        none = RewardDay(release=one.release, day=day)
        sums[one.release, day] = sums.get((one.release, day), none) + _reward(rollout.reward, one, label, none, classes)
    return list(sums.values())


def _reward(kind: Reward, one: Captured, label: Label, none: RewardDay, classes: Classes) -> RewardDay:
    value = _worth(kind, one, label, classes)
    low, high = (0.0, 1.0) if kind.bounded else (-_LARGEST, _LARGEST)
    if not low <= value <= high:
        return none.but(outside=1)
    return none.but(n=1, total=value, squares=value * value)


def _worth(kind: Reward, one: Captured, label: Label, classes: Classes) -> float:
    """The reward by its words; NaN for a text that is to be a number."""
    assert one.score is not None
    if kind in (Reward.OUTCOME, Reward.VALUE):
        return math.nan if isinstance(label.value, str) else label.value
    lost = _loss(one.score, one.probabilities, label, one.release, classes)
    if kind is Reward.LOSS:
        return -lost
    if not one.probabilities:
        return 1 - lost if kind is Reward.BRIER else float((one.score >= 0.5) == (float(label.value) >= 0.5))
    if kind is Reward.BRIER:
        return 1 - lost / 2  # of several classes the loss goes up to 2
    place = class_place(classes(one.release), label.value)
    return float(place >= 0 and one.probabilities[place] == max(one.probabilities))


def paired_days(sums: Iterable[Quality], release: str, rival: str) -> tuple[PairedDay, ...]:
    """The paired sums of `release` against `rival`, day by day."""
    return tuple(
        PairedDay(day=date.fromisoformat(quality.day), n=quality.paired_n, total=quality.paired)
        for quality in sums
        if (quality.release, quality.rival) == (release, rival) and quality.paired_n
    )


def compared(segments: Iterable[Segment], rival: str, tolerance: float) -> list[Differences]:
    """The comparisons with `rival`, added up by hour of their segment's first event and by release.

    `tolerance` is one of `TOLERANCES`.
    """
    found: defaultdict[tuple[datetime, str], list[Comparison]] = defaultdict(list)
    for segment in segments:
        hour = segment.first_event_at.replace(minute=0, second=0, microsecond=0)
        for comparison in segment.comparisons:
            if comparison.rival == rival:
                found[hour, comparison.release].append(comparison)
    return [_added(hour, found[hour, release], tolerance) for hour, release in sorted(found)]


def _added(hour: datetime, comparisons: list[Comparison], tolerance: float) -> Differences:
    cells = [sum(counts) for counts in zip(*(one.cells for one in comparisons), strict=True)]
    last = TOLERANCES.index(tolerance) + 1
    return Differences(
        window=hour,
        release=comparisons[0].release,
        rival=comparisons[0].rival,
        tolerance=tolerance,
        equal=cells[0],
        within=sum(cells[1:last]),
        different=sum(cells[last:]),
        failed=sum(one.failed for one in comparisons),
        largest=furthest(one for each in comparisons for one in each.largest),
    )


def furthest(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Those that are furthest apart, the furthest first, `MOST_LARGEST` at most."""
    ordered = sorted(differences, key=lambda one: abs(one.score - one.rival_score), reverse=True)
    return tuple(ordered[:MOST_LARGEST])
