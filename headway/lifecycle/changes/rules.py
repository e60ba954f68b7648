"""The state machine of a change: pure, total, and the only place where it is decided what comes next."""

from __future__ import annotations

from datetime import datetime, timedelta

from headway.errors import IllegalMove, Invalid
from headway.kernel.naming import checked_name
from headway.kernel.records import Value
from headway.lifecycle.changes.hooks import COMMIT
from headway.lifecycle.changes.records import Change, Moment, OpenChange, Stage
from headway.lifecycle.gates.records import Outcome, Verdict
from headway.lifecycle.releases.records import Approval, Release
from headway.lifecycle.rollouts.records import Rollout, RolloutState
from headway.lifecycle.runs.records import Run, RunState

_CLOCKS_DIFFER = timedelta(minutes=5)

MOVES: dict[Stage, frozenset[Stage]] = {
    Stage.OPENED: frozenset({Stage.RUNNING, Stage.REGISTERED, Stage.REJECTED}),
    Stage.RUNNING: frozenset({Stage.REGISTERED, Stage.REJECTED}),
    Stage.REGISTERED: frozenset({Stage.JUDGED, Stage.RELEASED, Stage.REJECTED}),
    Stage.JUDGED: frozenset({Stage.RELEASED, Stage.REJECTED}),
    Stage.RELEASED: frozenset({Stage.ROLLING_OUT, Stage.REJECTED}),
    Stage.ROLLING_OUT: frozenset({Stage.SETTLED, Stage.REJECTED}),
    Stage.SETTLED: frozenset(),
    Stage.REJECTED: frozenset(),
}


class Facts(Value):
    """What is known of everything that a change has gathered."""

    run: Run | None = None
    model_version: str = ""
    """The version that the change's run registered, or that the change was opened for."""
    verdict: Verdict | None = None
    approvals_missing: int = 0
    declined: Approval | None = None
    release: Release | None = None
    rollout: Rollout | None = None
    serves_already: bool = False
    """The deployment gives all its traffic to the very same model."""
    busy: str = ""
    """Another rollout that is moving the same deployment."""


class StartRun(Value):
    """Run the pipeline."""


class Await(Value):
    """Nothing to do until `what` has happened."""

    what: str


class Judge(Value):
    """Have the gate measure the model version."""


class Sign(Value):
    """Sign the release."""


class StartRollout(Value):
    """Begin to move traffic."""


class Reach(Value):
    """The change has reached a stage; `ids` are what it gathered on the way."""

    stage: Stage
    reason: str = ""
    ids: dict[str, str] = {}


Action = StartRun | Await | Judge | Sign | StartRollout | Reach


def next_action(change: Change, facts: Facts) -> Action:
    """What to do now. Calling it again after the action was carried out, or was cut short, is always safe."""
    return _DECIDE[change.stage](change, facts)


def _opened(change: Change, facts: Facts) -> Action:
    if facts.model_version:
        return Reach(stage=Stage.REGISTERED, ids={"model_version": facts.model_version})
    if facts.run:
        return Reach(stage=Stage.RUNNING, ids={"run": facts.run.id})
    return StartRun()


def _running(change: Change, facts: Facts) -> Action:
    if facts.run is None or not facts.run.over:
        return Await(what="the run")
    if facts.run.state is not RunState.FINISHED:
        return Reach(stage=Stage.REJECTED, reason=f"the run {facts.run.state}: {facts.run.error[:300]}".strip(": "))
    if not facts.model_version:
        return Reach(stage=Stage.REJECTED, reason="the run registered no model version")
    return Reach(stage=Stage.REGISTERED, ids={"model_version": facts.model_version})


def _registered(change: Change, facts: Facts) -> Action:
    if facts.serves_already:
        return Reach(stage=Stage.REJECTED, reason="it is the very model that serves now: there is nothing to change")
    if change.break_glass:
        return _released(facts) or Sign()
    if facts.verdict is None:
        return Judge()
    return Reach(stage=Stage.JUDGED, ids={"verdict": facts.verdict.id})


def _judged(change: Change, facts: Facts) -> Action:
    if facts.verdict is None or facts.verdict.outcome is not Outcome.PASS:
        said = f"{facts.verdict.outcome}: {'; '.join(facts.verdict.reasons)}" if facts.verdict else "no verdict"
        return Reach(stage=Stage.REJECTED, reason=f"the gate said {said}"[:1000])
    if facts.declined:
        return Reach(stage=Stage.REJECTED, reason=f"{facts.declined.actor} declined: {facts.declined.reason}")
    if facts.approvals_missing:
        return Await(what=f"{facts.approvals_missing} approval(s)")
    return _released(facts) or Sign()


def _released(facts: Facts) -> Action | None:
    return Reach(stage=Stage.RELEASED, ids={"release": facts.release.id}) if facts.release else None


def _to_roll_out(change: Change, facts: Facts) -> Action:
    if facts.rollout:
        return Reach(stage=Stage.ROLLING_OUT, ids={"rollout": facts.rollout.id})
    if facts.busy:
        return Await(what=f"rollout {facts.busy}")
    return StartRollout()


def _rolling_out(change: Change, facts: Facts) -> Action:
    if facts.rollout is None or not facts.rollout.over:
        return Await(what="the rollout")
    if facts.rollout.state is RolloutState.PROMOTED:
        return Reach(stage=Stage.SETTLED, reason=facts.rollout.reason)
    return Reach(stage=Stage.REJECTED, reason=f"rolled back: {facts.rollout.reason}")


def _over(change: Change, facts: Facts) -> Action:
    return Await(what="nothing: it is over")


_DECIDE = {
    Stage.OPENED: _opened,
    Stage.RUNNING: _running,
    Stage.REGISTERED: _registered,
    Stage.JUDGED: _judged,
    Stage.RELEASED: _to_roll_out,
    Stage.ROLLING_OUT: _rolling_out,
    Stage.SETTLED: _over,
    Stage.REJECTED: _over,
}


def reached(change: Change, reach: Reach, at: datetime, event_at: datetime | None) -> Change:
    """The change at its new stage; raises `IllegalMove`. A stage that is reached already changes nothing."""
    if reach.stage is change.stage:
        return change
    if reach.stage not in MOVES[change.stage]:
        raise IllegalMove(f"change {change.number} is {change.stage}; it cannot become {reach.stage}")
    moment = Moment(stage=reach.stage, at=at, event_at=event_at)
    return change.but(stage=reach.stage, reason=reach.reason, history=(*change.history, moment), **reach.ids)


def commit_key(command: OpenChange, model_version: str, now: datetime) -> str:
    """What makes two changes for a commit the same one; nothing without a commit. Raises `Invalid`."""
    if not command.commit:
        if command.committed_at:
            raise Invalid("the time of a commit comes with the commit")
        return ""
    if not COMMIT.fullmatch(command.commit):
        raise Invalid(f"{command.commit[:80]!r} is no commit: give its whole name, of 40 or 64 hexadecimal digits")
    if command.committed_at and command.committed_at > now + _CLOCKS_DIFFER:
        raise Invalid(f"the commit is from the future: {command.committed_at.isoformat()}")
    if command.pipeline:
        checked_name(command.pipeline, "pipeline")
    return f"commit/{command.commit}/{command.deployment}/{model_version or command.pipeline}"
