"""What one can do with changes."""

from __future__ import annotations

from datetime import datetime, timedelta

from headway.errors import IllegalMove, Invalid, LeaseLost, NotFound
from headway.kernel.access import SYSTEM, Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.leases import Lease, LeaseStore
from headway.kernel.paging import MOST, Page
from headway.lifecycle.changes.dora import Figures, figures
from headway.lifecycle.changes.records import OVER, Cause, Change, Moment, OpenChange, Stage
from headway.lifecycle.changes.rules import Facts, Reach, commit_key, reached
from headway.lifecycle.changes.store import ChangeStore
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.gates.service import GateService
from headway.lifecycle.models.records import ModelVersion
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.releases.records import Approval, Decision
from headway.lifecycle.releases.rules import declined, missing
from headway.lifecycle.releases.service import ReleaseService
from headway.lifecycle.rollouts.deployments import DeploymentService
from headway.lifecycle.rollouts.service import RolloutService
from headway.lifecycle.runs.records import Run, RunState
from headway.lifecycle.runs.service import RunService


class ChangeService:
    def __init__(
        self,
        journal: Journal,
        store: ChangeStore,
        leases: LeaseStore,
        runs: RunService,
        models: ModelService,
        environments: EnvironmentService,
        gates: GateService,
        releases: ReleaseService,
        deployments: DeploymentService,
        rollouts: RolloutService,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._leases = journal, store, leases
        self._runs, self._models, self._environments = runs, models, environments
        self._gates, self._releases = gates, releases
        self._deployments, self._rollouts = deployments, rollouts
        self._clock, self._ids = clock, ids

    def open(self, command: OpenChange, *, by: Actor, event_at: datetime | None = None) -> Change:
        """Open a change by hand: for a pipeline to run, or for a model version that is there. For a commit that has its
        change, of the same to the same deployment, give that one."""
        by.must(Permission.WRITE)
        if bool(command.pipeline) == bool(command.model_version):
            raise Invalid("a change takes either a pipeline to run or a model version to ship, and not both")
        if command.break_glass:
            by.must(Permission.BREAK_GLASS)
        version = self._models.version(command.model_version) if command.model_version else None
        deployment = self._deployments.get(command.deployment)
        if version and version.model != deployment.model:
            raise Invalid(f"{deployment.name} serves the model {deployment.model}, not {version.model}")
        key = commit_key(command, version.id if version else "", self._clock.now())
        with self._journal.act(by.name, "change.open", why=command.break_glass or command.why) as act:
            known = self._store.caused("", key) if key else None
            cause = Cause.COMMIT if key else Cause.PERSON
            return known or self.begin(
                act, command, cause=cause, opened_by=by.name, version=version, event_at=event_at, caused_by=key
            )  # fmt: skip

    def begin(
        self,
        act: Act,
        command: OpenChange,
        *,
        cause: Cause,
        opened_by: str,
        version: ModelVersion | None = None,
        event_at: datetime | None = None,
        trigger: str = "",
        caused_by: str = "",
    ) -> Change:
        """Open a change in `act`, whose other writes are kept with it or not at all."""
        now = self._clock.now()
        what = f"ship {version.label}" if version else f"run {command.pipeline}"
        change = Change(
            id=self._ids(Change.prefix),
            created_at=now,
            number=self._store.last_number() + 1,
            title=command.title or what,
            cause=cause,
            opened_by=opened_by,
            deployment=command.deployment,
            environment=self._deployments.get(command.deployment).environment,
            trigger=trigger,
            caused_by=caused_by,
            why=command.why,
            pipeline=command.pipeline,
            params=command.params,
            commit=command.commit,
            committed_at=command.committed_at,
            break_glass=command.break_glass,
            model_version=version.id if version else "",
            history=(Moment(stage=Stage.OPENED, at=now, event_at=event_at),),
        )
        act.save(self._store, change, came_from=[caused_by, change.model_version])
        act.emit("ChangeOpened", change.id, number=change.number, cause=cause)
        return change

    def must_deploy(self, deployment: str) -> None:
        """Raise `NotFound` when there is no such deployment."""
        self._deployments.get(deployment)

    def facts(self, change: Change) -> Facts:
        """Everything that `next_action` wants to know, found by the change's id: no crash can lose the thread."""
        run = self._run_of(change)
        model = self._models.made_by(run.id) if run else None
        version = change.model_version or (model.id if model else "")
        verdict = self._gates.verdict_for(change.id, version, change.environment) if version else None
        approvals = self._releases.approvals(change.id)
        environment = self._environments.get(change.environment)
        others = [rollout.id for rollout in self._rollouts.open(change.deployment) if rollout.change != change.id]
        return Facts(
            run=run,
            model_version=version,
            verdict=verdict,
            approvals_missing=missing(environment, approvals, self.authors(change)),
            declined=declined(approvals),
            release=self._releases.of_change(change.id),
            rollout=self._rollouts.of_change(change.id),
            serves_already=change.stage is Stage.REGISTERED and self._serves(change.deployment, version),
            busy=others[0] if others else "",
        )

    def _serves(self, deployment: str, version: str) -> bool:
        """Whether everybody is served by a model of the same bytes already."""
        traffic = self._deployments.get(deployment).traffic
        blob = self._models.version(version).blob
        return len(traffic) == 1 and self._releases.get(traffic[0].release).blob == blob

    def _run_of(self, change: Change) -> Run | None:
        runs = self._runs.list(change=change.id, parent="", limit=1).items
        return runs[0] if runs else None

    def authors(self, change: Change) -> set[str]:
        """Who may not approve: who opened the change, and who ran what it ships."""
        people = {change.opened_by}
        if change.model_version:
            version = self._models.version(change.model_version)
            people |= {self._runs.get(version.run).started_by} if version.run else set()
            people |= {version.registered_by} if version.registered_by else set()
        return people

    def reach(self, change: Change, reach: Reach, *, fence: Lease | None, event_at: datetime | None = None) -> Change:
        """Move a change on. With a lease as `fence`, only its newest holder can: others get `LeaseLost`."""
        with self._journal.act(SYSTEM.name, f"change.{reach.stage}", why=reach.reason) as act:
            if fence and not self._leases.held(fence.name, fence.token):
                raise LeaseLost("another conductor has taken over")
            current = self.get(change.id)
            after = reached(current, reach, self._clock.now(), event_at)
            if after is current:
                return current
            act.save(self._store, after, came_from=reach.ids.values())
            if after.stage in OVER:
                act.emit("ChangeEnded", change.id, stage=after.stage, number=change.number)
            return after

    def decide(self, reference: str, decision: Decision, reason: str, *, by: Actor) -> Approval:
        """Agree to, or decline, a change that its gate has let pass. Raises `NotApproved` for who may not."""
        change = self.find(reference)
        if change.stage is not Stage.JUDGED:
            raise IllegalMove(
                f"change {change.number} is {change.stage}; it can be approved once its gate has passed it"
            )
        verdict = self._gates.verdict(change.verdict)
        return self._releases.decide(verdict, decision, reason, authors=self.authors(change), by=by)

    def cancel(self, reference: str, reason: str, *, by: Actor) -> Change:
        """Give a change and its run up before any traffic moves; raises `IllegalMove` after that: roll back instead."""
        by.must(Permission.OPERATE)
        change = self.find(reference)
        if change.stage is Stage.ROLLING_OUT:
            raise IllegalMove(
                f"change {change.number} is rolling out; use `headway rollout roll-back {change.rollout}`"
            )
        reason = f"cancelled by {by.name}: {reason}".strip(": ")
        if change.stage is Stage.RUNNING and not self._runs.get(change.run).over:
            self._runs.move(change.run, RunState.CANCELLED, by=by, error=reason)
        return self.reach(change, Reach(stage=Stage.REJECTED, reason=reason), fence=None)

    def get(self, identifier: str) -> Change:
        found = self._store.get(identifier)
        if found is None:
            raise NotFound(f"no change {identifier!r}; `headway change list` shows what there is")
        return found

    def find(self, reference: str) -> Change:
        """By id or by number."""
        if not reference.isdecimal():
            return self.get(reference)
        found = self._store.numbered(int(reference)) if len(reference) < 10 else None
        if found is None:
            raise NotFound(f"no change {reference[:20]}; `headway change list` shows what there is")
        return found

    def open_ones(self) -> list[Change]:
        return self._store.open()

    def dora(self, since: datetime | None = None, until: datetime | None = None) -> Figures:
        """The four delivery figures of the changes that ended in [since, until): the last 90 days if left out."""
        until = until or self._clock.now()
        since = since or until - timedelta(days=90)
        if since >= until:
            raise Invalid("`since` must lie before `until`")
        changes: list[Change] = []
        page = self._store.list(limit=MOST)
        while page.items:
            changes += page.items
            page = self._store.list(limit=MOST, before=page.next) if page.next else Page(items=())
        return figures(changes, since, until)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Change]:
        return self._store.list(limit=limit, before=before)
