"""How labels turn into realised quality.

Loss is the squared error of the score: the Brier score of a probability, the squared error of a regression. It is
proper, bounded for probabilities, and its sums can be added over any days and releases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from headway.lifecycle.predictions.records import Captured, Label, Quality
from headway.lifecycle.rollouts.records import PairedDay


def loss(score: float, label: float) -> float:
    return (score - label) ** 2


def joined(captured: Mapping[str, Captured], labels: Iterable[Label]) -> list[Quality]:
    """The sums that these labels add, by deployment, release, day of the event and rival.

    A prediction that failed has no score and adds nothing; one that two releases scored counts for both, with the
    difference once for each side.
    """
    sums: dict[tuple[str, str, str, str], Quality] = {}
    for label in labels:
        one = captured[label.prediction]
        if one.score is None:
            continue
        mine = loss(one.score, label.value)
        if one.mirror_release and one.mirror_score is not None:
            theirs = loss(one.mirror_score, label.value)
            _add(sums, one, one.release, one.mirror_release, mine, mine - theirs)
            _add(sums, one, one.mirror_release, one.release, None, theirs - mine)
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


def paired_days(sums: Iterable[Quality], release: str, rival: str) -> tuple[PairedDay, ...]:
    """The paired sums of `release` against `rival`, day by day."""
    return tuple(
        PairedDay(day=date.fromisoformat(quality.day), n=quality.paired_n, total=quality.paired)
        for quality in sums
        if (quality.release, quality.rival) == (release, rival) and quality.paired_n
    )
