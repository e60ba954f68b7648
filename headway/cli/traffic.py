"""Who gets how much of a deployment's traffic, in words."""

from __future__ import annotations

from collections.abc import Sequence

from headway.cli.output import print_section, print_table
from headway.cli.wording import number, short
from headway.client.client import Client
from headway.errors import NotFound
from headway.lifecycle.predictions.records import Differences
from headway.lifecycle.predictions.rules import furthest
from headway.lifecycle.rollouts.records import Share, Standing


class Labels:
    """Looks up the `model@number` behind release ids, each once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def label(self, release: str) -> str:
        if release not in self._known:
            try:
                self._known[release] = self._client.releases.get(release).label
            except NotFound:
                self._known[release] = short(release)
        return self._known[release]

    def of(self, traffic: Sequence[Share]) -> str:
        if not traffic:
            return "nothing yet"
        if len(traffic) == 1:
            return self.label(traffic[0].release)
        return ", ".join(f"{self.label(share.release)} {share.percent} %" for share in traffic)


def print_differences(differences: Sequence[Differences], labels: Labels) -> None:
    """How a release scored what others answered, by hour, and the rows furthest apart; nothing if none was compared."""
    if not differences:
        return
    print_section(f"Scores of {labels.label(differences[0].rival)} beside the answers")
    print_table(
        ["hour", "answered by", "equal", f"within {differences[0].tolerance:g}", "different", "failed"],
        [
            [
                f"{one.window:%Y-%m-%d %H:%M}", labels.label(one.release), str(one.equal), str(one.within),
                str(one.different), str(one.failed),
            ]
            for one in differences
        ],
    )  # fmt: skip
    apart = furthest(one for each in differences for one in each.largest)[:3]
    if apart:
        print_table(
            ["furthest apart", "answered", "beside it"],
            [[one.prediction, f"{one.score:g}", f"{one.rival_score:g}"] for one in apart],
        )


def print_standing(standing: Sequence[Standing], labels: Labels) -> None:
    """What a bandit has learned by its last move of the shares; nothing if there was none."""
    if not standing:
        return
    print_section("Releases by what their labels earn")
    print_table(
        ["release", "share", "labels", "mean reward", "best with probability"],
        [
            [labels.label(one.release), f"{one.percent} %", f"{one.n:,}", number(one.mean), f"{one.chance:.3f}"]
            for one in standing
        ],
    )
