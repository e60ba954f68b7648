"""Bandits over a platform in memory: several releases, labels that come late, harm on the way, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headway.errors import IllegalMove, Invalid
from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.records import encode
from headway.lifecycle.environments.records import CheckSpec, Reward, RolloutKind
from headway.lifecycle.predictions.records import AddLabels, Captured, Counts, Label, SegmentContent
from headway.lifecycle.rollouts.records import Rollout, RolloutState, Standing
from tests.engines.world import DEPLOYMENT, NOON, POLICY, WORKER, World

OPERATOR = Actor(name="operator", role=Role.OPERATOR)
BANDIT = POLICY.but(
    kind=RolloutKind.BANDIT, steps=(60, 100), reward=Reward.OUTCOME, batch_labels=50, arm_labels=100, arm_days=3,
    label_lag_days=0, patience_s=1e9,
)  # fmt: skip


class Shop:
    """Three releases, of which the first serves; days go by, and labels of a day come with the next one."""

    def __init__(self) -> None:
        self.world = World()
        self.old, self.good, self.bad = (self.world.settle(self.world.open()).release for _ in range(3))
        environments = self.world.platform.environments
        environments.declare("production", by=SYSTEM, gate=(CheckSpec(check="accuracy"),), approvals=1, rollout=BANDIT)
        self.rollouts, self.deployments = self.world.platform.rollouts, self.world.platform.deployments
        self.conductor, self.day = self.world.conductor(), 0
        self.waiting: list[Label] = []
        self.world.clock.advance((NOON - self.world.clock.now()).total_seconds() + 3600)

    def start(self, *rivals: str) -> Rollout:
        """What serves is `bad`: the last one that was settled."""
        begun = self.rollouts.start(DEPLOYMENT, self.old, by=OPERATOR, rivals=rivals, why="which is best?")
        self.turn()
        return self.rollouts.get(begun.id)

    def turn(self) -> None:
        self.conductor.step()
        self.world.serve()

    def play(self, earns: dict[str, float], *, failing: str = "", rows: int = 200) -> None:
        """One day of requests, dealt out by the shares, and the labels of the day before."""
        self.day += 1
        for share in self.deployments.get(DEPLOYMENT).traffic:
            self.waiting += self.capture(share.release, rows * share.percent // 100, earns[share.release], failing)
        self.turn()

    def label(self) -> None:
        labels, self.waiting = self.waiting, []
        if labels:
            self.world.platform.predictions.label(AddLabels(labels=tuple(labels)), by=OPERATOR)

    def capture(self, release: str, rows: int, earns: float, failing: str) -> list[Label]:
        at, self.world.made = NOON + timedelta(days=self.day), self.world.made + 1
        ids = [f"{self.world.made}/{row}" for row in range(rows)]
        captured = tuple(
            Captured(id=name, deployment="", segment="", row=row, release=release, event_at=at, score=0.5)
            for row, name in enumerate(ids)
        )
        errors = rows if release == failing else 0
        counts = Counts(release=release, requests=rows, errors=errors, latency={1000: rows})
        content = SegmentContent(
            captured=captured, counts=(counts,), first_event_at=at, last_event_at=at, rows=rows
        )  # fmt: skip
        data = encode(content)
        self.world.clock.advance(1)
        self.world.platform.predictions.ingest(DEPLOYMENT, self.world.platform.blobs.put(data), data, by=WORKER)
        wave = (self.day % 3 - 1) * 0.02
        return [Label(prediction=name, value=float(row < rows * (earns + wave))) for row, name in enumerate(ids)]

    def shares(self) -> dict[str, int]:
        return {share.release: share.percent for share in self.deployments.get(DEPLOYMENT).traffic}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_the_best_of_three_gets_all_traffic_in_the_end(shop: Shop) -> None:
    begun = shop.start(shop.good)
    assert shop.shares() == {shop.bad: 40, shop.old: 30, shop.good: 30}
    assert begun.arms == (shop.bad, shop.old, shop.good)
    seen = []
    for _ in range(12):
        shop.play({shop.bad: 0.2, shop.old: 0.25, shop.good: 0.45})
        shop.label()
        shop.turn()
        seen.append(shop.shares().get(shop.good, 0))
        if shop.rollouts.get(begun.id).over:
            break
    ended = shop.rollouts.get(begun.id)
    assert (ended.state, ended.candidate, ended.rivals) == (RolloutState.PROMOTED, shop.good, (shop.old,))
    assert shop.shares() == {shop.good: 100}
    assert seen[-1] == 100
    assert max(seen[:-1]) > 60
    moves = [move for move in shop.deployments.traffic(DEPLOYMENT).items if move.standing]
    assert moves
    assert all(sum(one.percent for one in move.standing) == 100 for move in moves)
    sealed = {entry.subject for entry in shop.world.platform.ledger.entries() if entry.verb == "rollout.weigh"}
    assert {move.id for move in moves} <= sealed


def test_shares_wait_for_labels_and_for_a_batch_of_them(shop: Shop) -> None:
    shop.start()
    before = shop.shares()
    shop.play({shop.bad: 0.2, shop.old: 0.6})
    assert shop.shares() == before, "no label is there yet"
    shop.label()
    shop.turn()
    after = shop.shares()
    assert after[shop.old] > before[shop.old]
    generation = shop.deployments.get(DEPLOYMENT).generation
    for _ in range(5):
        shop.turn()
    assert shop.deployments.get(DEPLOYMENT).generation == generation, "the same labels move nothing twice"


def test_a_challenger_that_fails_is_compared_no_more(shop: Shop) -> None:
    begun = shop.start(shop.good)
    shop.play({shop.bad: 0.3, shop.old: 0.3, shop.good: 0.3}, failing=shop.old)
    now = shop.rollouts.get(begun.id)
    assert (now.candidate, now.rivals, now.over) == (shop.good, (), False)
    assert shop.shares() == {shop.bad: 56, shop.good: 44}
    assert "errors" in now.reason
    shop.play({shop.bad: 0.3, shop.good: 0.3}, failing=shop.good)
    assert shop.rollouts.get(begun.id).state is RolloutState.ROLLED_BACK
    assert shop.shares() == {shop.bad: 100}


def test_labels_of_before_and_of_others_count_for_nothing(shop: Shop) -> None:
    early = shop.capture(shop.bad, 300, 0.9, "")
    begun = shop.start()
    shop.waiting = early
    shop.label()
    assert shop.world.platform.predictions.rewards(begun) == ()
    shop.play({shop.bad: 0.2, shop.old: 0.2})
    shop.label()
    assert {one.release for one in shop.world.platform.predictions.rewards(begun)} == {shop.bad, shop.old}


def test_what_cannot_be_compared_or_weighed(shop: Shop) -> None:
    for rivals, says in (((shop.old,), "twice"), ((shop.bad,), "twice")):
        with pytest.raises(Invalid, match=says):
            shop.start(*rivals)
    with pytest.raises(Invalid, match="two steps"):
        shop.rollouts.start(DEPLOYMENT, shop.old, by=OPERATOR, steps=(5, 25, 100))
    with pytest.raises(Invalid, match="first share"):
        shop.rollouts.start(DEPLOYMENT, shop.old, by=OPERATOR, steps=(1, 100), rivals=(shop.good,))
    begun = shop.start()
    wrong = (Standing(release=shop.bad, percent=90), Standing(release=shop.old, percent=20))
    for standing in (wrong, wrong[:1], (wrong[0].but(percent=100), wrong[1].but(percent=0))):
        with pytest.raises(Invalid):
            shop.rollouts.weigh(begun.id, standing, "x", by=OPERATOR)
    with pytest.raises(IllegalMove, match="not one of several"):
        shop.rollouts.drop(begun.id, shop.old, (), "x", by=OPERATOR)
    shop.rollouts.pause(begun.id, "a look", by=OPERATOR)
    with pytest.raises(IllegalMove):
        shop.rollouts.weigh(begun.id, (wrong[0], wrong[1].but(percent=10)), "x", by=OPERATOR)
    shop.rollouts.roll_back(begun.id, "no", by=OPERATOR)
    shop.world.platform.environments.declare(
        "production", by=SYSTEM, gate=(CheckSpec(check="accuracy"),), approvals=1, rollout=POLICY
    )
    with pytest.raises(Invalid, match="only a bandit"):
        shop.rollouts.start(DEPLOYMENT, shop.old, by=OPERATOR, rivals=(shop.good,))
