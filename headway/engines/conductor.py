"""Carries out what the rules decide: for each open change the next action, for each open rollout the next step.

Every action can be cut short at any point and be repeated: what a change has gathered is found again by the change's
id. Only the holder of the lease acts, and each move of a change is fenced by the lease's token. It writes down what
should be served; to make servers do so is another loop's, the only one that applies routing tables, so that none can
apply an older one late.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from headway.engines.health import HealthReader
from headway.engines.workers import ATTEMPTS, Workers
from headway.errors import HeadwayError, Invalid, LeaseLost, NotTrusted
from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.clock import Clock
from headway.kernel.leases import Lease, LeaseStore
from headway.kernel.records import Record
from headway.lifecycle.changes import rules
from headway.lifecycle.changes.records import Change, Stage
from headway.lifecycle.changes.rules import Judge, Reach, Sign, StartRollout, next_action
from headway.lifecycle.platform import Platform
from headway.lifecycle.rollouts.records import Rollout
from headway.lifecycle.rollouts.rules import Advance, Drop, Hold, Promote, RollBack, Weigh, next_step
from headway.lifecycle.rollouts.target import Target
from headway.lifecycle.runs.records import Run, RunState, StartRun

_LOG = logging.getLogger("headway.conductor")
LEASE_S = 10.0


class Conductor:
    def __init__(
        self,
        platform: Platform,
        leases: LeaseStore,
        workers: Workers,
        target: Target,
        clock: Clock,
        holder: str,
        project: Path | None,
    ) -> None:
        self._platform, self._leases, self._workers = platform, leases, workers
        self._clock, self._holder, self._project = clock, holder, project
        self._lease: Lease | None = None
        self._health = HealthReader(platform, target)

    def step(self) -> None:
        """One pass over everything that is open."""
        lease = self._held()
        if lease is None:
            return
        try:
            for change in self._platform.changes.open_ones():
                with _apart(change):
                    self.advance(change, lease)
            for rollout in self._platform.rollouts.open():
                with _apart(rollout):
                    self.roll(rollout)
            self._workers.keep(self._worked_on())
        except LeaseLost:
            self._lease = None
            _LOG.warning("another conductor has taken over")

    def _held(self) -> Lease | None:
        """The lease, prolonged when half of its time is over: each time would be a write, several a second for nothing.
        None while another conductor has it."""
        now = self._clock.now()
        if self._lease is None or self._lease.expires_at - now < timedelta(seconds=LEASE_S / 2):
            self._lease = self._leases.take("conductor", self._holder, now, LEASE_S)
        return self._lease

    def close(self) -> None:
        self._workers.close()
        lease = self._leases.take("conductor", self._holder, self._clock.now(), LEASE_S)
        if lease:
            self._leases.give_back(lease)

    def advance(self, change: Change, lease: Lease) -> None:
        """Carry out actions of one change until it has to wait."""
        for _ in Stage:
            action = next_action(change, self._platform.changes.facts(change))
            if isinstance(action, Reach):
                change = self._platform.changes.reach(change, action, fence=lease, event_at=self._event_at(change))
            elif isinstance(action, Sign | StartRollout | rules.StartRun):
                try:
                    self._do(change, action)
                except (Invalid, NotTrusted) as error:
                    reject = Reach(stage=Stage.REJECTED, reason=str(error))
                    change = self._platform.changes.reach(change, reject, fence=lease)
            else:
                if isinstance(action, Judge):
                    self._measure(change, lease)
                elif change.stage is Stage.RUNNING:
                    self._tend_run(change)
                return

    def _do(self, change: Change, action: Sign | StartRollout | rules.StartRun) -> None:
        changes, opener = self._platform.changes, Actor(name=change.opened_by, role=Role.AUTHOR)
        if isinstance(action, Sign):
            self._platform.releases.sign(
                change.id,
                change.model_version,
                change.environment,
                authors=changes.authors(change),
                by=SYSTEM,
                break_glass=f"{change.opened_by}: {change.break_glass}" if change.break_glass else "",
            )
        elif isinstance(action, StartRollout):
            self._platform.rollouts.start(change.deployment, change.release, by=SYSTEM, change=change.id)
        else:
            command = StartRun(
                experiment=change.pipeline,
                pipeline=change.pipeline,
                change=change.id,
                params=change.params,
                running=False,
            )
            self._platform.runs.start(command, by=opener)

    def _tend_run(self, change: Change) -> None:
        run = self._platform.runs.get(change.run)
        if self._workers.busy(run.id) or not self._platform.runs.orphaned(run.id):
            return
        if not self._workers.ensure(run.id, Role.WORKER, ["run", run.id], self._project):
            self._give_up(run)

    def _give_up(self, run: Run) -> None:
        error = f"its worker ended {ATTEMPTS} times without finishing it; {self._workers.last_words(run.id)}"
        self._platform.runs.move(run.id, RunState.FAILED, by=SYSTEM, error=error)

    def _measure(self, change: Change, lease: Lease) -> None:
        if not self._workers.ensure(_gate_key(change), Role.GATEKEEPER, ["gate", change.id], self._project):
            words = self._workers.last_words(_gate_key(change))
            reason = f"the gate's worker ended {ATTEMPTS} times without measuring it; {words}"
            self._platform.changes.reach(change, Reach(stage=Stage.REJECTED, reason=reason), fence=lease)

    def _worked_on(self) -> set[str]:
        """What open changes wait for: a worker at anything else works for nobody, as after a cancelled change."""
        changes = self._platform.changes.open_ones()
        runs = {change.run for change in changes if change.stage is Stage.RUNNING}
        return runs | {_gate_key(change) for change in changes if change.stage is Stage.REGISTERED}

    def roll(self, rollout: Rollout) -> None:
        """Look at one rollout and carry out its next step."""
        rollouts = self._platform.rollouts
        deployment = self._platform.deployments.get(rollout.deployment)
        policy = self._platform.environments.get(deployment.environment).rollout
        decision = next_step(rollout, self._health.read(rollout, policy), policy, self._clock.now())
        if isinstance(decision, Hold):
            return
        moment = self._platform.predictions.last_event_at(rollout.deployment)
        if isinstance(decision, Advance):
            labelled = self._platform.predictions.pairs(rollout)
            rollouts.advance(
                rollout.id, decision.step, decision.reason, by=SYSTEM, event_at=moment, labelled=labelled,
                winner=decision.winner,
            )  # fmt: skip
        elif isinstance(decision, Drop):
            rollouts.drop(rollout.id, decision.release, decision.standing, decision.reason, by=SYSTEM, event_at=moment)
        elif isinstance(decision, Weigh):
            rollouts.weigh(rollout.id, decision.standing, decision.reason, by=SYSTEM, event_at=moment)
        elif isinstance(decision, Promote):
            rollouts.promote(rollout.id, decision.reason, by=SYSTEM)
        else:
            rollouts.roll_back(rollout.id, decision.reason, by=SYSTEM, event_at=moment)
        if isinstance(decision, Promote | RollBack):
            self._health.forget(rollout)

    def _event_at(self, change: Change) -> datetime | None:
        return self._platform.predictions.last_event_at(change.deployment)


@contextmanager
def _apart(record: Record) -> Iterator[None]:
    """What goes wrong with one change or rollout is told, and does not hold up the others."""
    try:
        yield
    except LeaseLost:
        raise
    except HeadwayError as error:
        _LOG.warning("%s: %s", record.id, error)


def _gate_key(change: Change) -> str:
    return f"gate-{change.id}"
