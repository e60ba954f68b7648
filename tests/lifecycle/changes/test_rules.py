from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import IllegalMove
from headway.lifecycle.changes.records import OVER, Cause, Change, Stage
from headway.lifecycle.changes.rules import (
    MOVES,
    Await,
    Facts,
    Judge,
    Reach,
    Sign,
    StartRollout,
    StartRun,
    next_action,
    reached,
)
from headway.lifecycle.gates.records import Outcome, Verdict
from headway.lifecycle.releases.records import Approval, Decision, Release
from headway.lifecycle.rollouts.records import Rollout, RolloutState
from headway.lifecycle.runs.records import Run, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def change(**fields: Any) -> Change:
    given_ = {"number": 1, "title": "t", "cause": Cause.PERSON, "opened_by": "author", "deployment": "d"}
    return Change(id="ch_1", created_at=NOW, environment="production", **(given_ | fields))


def run(state: RunState) -> Run:
    return Run(id="rn_1", created_at=NOW, experiment="e", state=state, error="boom" if state == "failed" else "")


def verdict(outcome: Outcome) -> Verdict:
    return Verdict(
        id="vd_1", created_at=NOW, environment="production", model_version="mv_1", change="ch_1", gate="",
        outcome=outcome, evidence=(), reasons=("slices: few rows",),
    )  # fmt: skip


def release() -> Release:
    return Release(
        id="rl_1", created_at=NOW, model_version="mv_1", label="m@1", blob="", environment="production", change="ch_1"
    )


def rollout(state: RolloutState) -> Rollout:
    return Rollout(
        id="ro_1", created_at=NOW, deployment="d", change="ch_1", candidate="rl_1", incumbent=None, steps=(10, 100),
        state=state, reason="why",
    )  # fmt: skip


def no() -> Approval:
    return Approval(
        id="ap_1", created_at=NOW, change="ch_1", verdict="vd_1", actor="x", decision=Decision.DECLINE, reason="no"
    )


PASSED = verdict(Outcome.PASS)
NOTHING_NEW = "it is the very model that serves now: there is nothing to change"
TABLE = [
    (Stage.OPENED, {}, Facts(), StartRun()),
    (Stage.OPENED, {}, Facts(run=run(RunState.PENDING)), Reach(stage=Stage.RUNNING, ids={"run": "rn_1"})),
    (Stage.OPENED, {}, Facts(model_version="mv_1"), Reach(stage=Stage.REGISTERED, ids={"model_version": "mv_1"})),
    (Stage.RUNNING, {}, Facts(run=run(RunState.RUNNING)), Await(what="the run")),
    (Stage.RUNNING, {}, Facts(run=run(RunState.FAILED)), Reach(stage=Stage.REJECTED, reason="the run failed: boom")),
    (Stage.RUNNING, {}, Facts(run=run(RunState.FINISHED)),
     Reach(stage=Stage.REJECTED, reason="the run registered no model version")),
    (Stage.RUNNING, {}, Facts(run=run(RunState.FINISHED), model_version="mv_1"),
     Reach(stage=Stage.REGISTERED, ids={"model_version": "mv_1"})),
    (Stage.REGISTERED, {}, Facts(), Judge()),
    (Stage.REGISTERED, {}, Facts(verdict=PASSED), Reach(stage=Stage.JUDGED, ids={"verdict": "vd_1"})),
    (Stage.REGISTERED, {}, Facts(serves_already=True), Reach(stage=Stage.REJECTED, reason=NOTHING_NEW)),
    (Stage.REGISTERED, {"break_glass": "fire"}, Facts(), Sign()),
    (Stage.REGISTERED, {"break_glass": "fire"}, Facts(release=release()),
     Reach(stage=Stage.RELEASED, ids={"release": "rl_1"})),
    (Stage.JUDGED, {}, Facts(verdict=verdict(Outcome.UNPROVEN)),
     Reach(stage=Stage.REJECTED, reason="the gate said unproven: slices: few rows")),
    (Stage.JUDGED, {}, Facts(verdict=verdict(Outcome.FAIL)),
     Reach(stage=Stage.REJECTED, reason="the gate said fail: slices: few rows")),
    (Stage.JUDGED, {}, Facts(), Reach(stage=Stage.REJECTED, reason="the gate said no verdict")),
    (Stage.JUDGED, {}, Facts(verdict=PASSED, approvals_missing=1), Await(what="1 approval(s)")),
    (Stage.JUDGED, {}, Facts(verdict=PASSED, approvals_missing=1, declined=no()),
     Reach(stage=Stage.REJECTED, reason="x declined: no")),
    (Stage.JUDGED, {}, Facts(verdict=PASSED), Sign()),
    (Stage.JUDGED, {}, Facts(verdict=PASSED, release=release()), Reach(stage=Stage.RELEASED, ids={"release": "rl_1"})),
    (Stage.RELEASED, {}, Facts(), StartRollout()),
    (Stage.RELEASED, {}, Facts(busy="ro_9"), Await(what="rollout ro_9")),
    (Stage.RELEASED, {}, Facts(rollout=rollout(RolloutState.PENDING)),
     Reach(stage=Stage.ROLLING_OUT, ids={"rollout": "ro_1"})),
    (Stage.ROLLING_OUT, {}, Facts(rollout=rollout(RolloutState.RUNNING)), Await(what="the rollout")),
    (Stage.ROLLING_OUT, {}, Facts(rollout=rollout(RolloutState.PROMOTED)), Reach(stage=Stage.SETTLED, reason="why")),
    (Stage.ROLLING_OUT, {}, Facts(rollout=rollout(RolloutState.ROLLED_BACK)),
     Reach(stage=Stage.REJECTED, reason="rolled back: why")),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "fields", "facts", "action"), TABLE)
def test_what_comes_next(stage: Stage, fields: dict[str, Any], facts: Facts, action: object) -> None:
    assert next_action(change(stage=stage, **fields), facts) == action


ANY_FACTS = st.builds(
    Facts,
    run=st.one_of(st.none(), st.builds(run, st.sampled_from(RunState))),
    model_version=st.sampled_from(["", "mv_1"]),
    verdict=st.one_of(st.none(), st.builds(verdict, st.sampled_from(Outcome))),
    approvals_missing=st.integers(0, 2),
    declined=st.one_of(st.none(), st.builds(no)),
    release=st.one_of(st.none(), st.builds(release)),
    rollout=st.one_of(st.none(), st.builds(rollout, st.sampled_from(RolloutState))),
    serves_already=st.booleans(),
    busy=st.sampled_from(["", "ro_9"]),
)


@given(st.sampled_from(Stage), ANY_FACTS, st.sampled_from(["", "fire"]))
def test_every_state_has_an_action_and_every_stage_it_names_is_a_legal_move(
    stage: Stage, facts: Facts, break_glass: str
) -> None:
    one = change(stage=stage, break_glass=break_glass)
    action = next_action(one, facts)
    if isinstance(action, Reach):
        after = reached(one, action, NOW, None)
        assert after.stage in MOVES[stage]
        assert after.history[-1].stage is after.stage


@given(ANY_FACTS, st.sampled_from([Stage.REGISTERED, Stage.JUDGED]))
def test_nothing_is_signed_without_a_passing_verdict_and_all_approvals(facts: Facts, stage: Stage) -> None:
    action = next_action(change(stage=stage), facts)
    if isinstance(action, Sign):
        assert facts.verdict is not None
        assert facts.verdict.outcome is Outcome.PASS
        assert facts.approvals_missing == 0
        assert facts.declined is None


@given(st.lists(ANY_FACTS, max_size=12))
def test_a_change_that_is_over_stays_over(many: list[Facts]) -> None:
    for stage in OVER:
        for facts in many:
            assert isinstance(next_action(change(stage=stage), facts), Await)


def test_an_illegal_move_is_refused_and_a_repeated_one_changes_nothing() -> None:
    one = change(stage=Stage.RELEASED)
    with pytest.raises(IllegalMove, match="cannot become opened"):
        reached(one, Reach(stage=Stage.OPENED), NOW, None)
    assert reached(one, Reach(stage=Stage.RELEASED), NOW, None) is one
