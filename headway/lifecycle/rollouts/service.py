"""What one can do with deployments and rollouts."""

from __future__ import annotations

from datetime import datetime

from headway.errors import Conflict, IllegalMove, Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.naming import checked_name
from headway.kernel.paging import Page, since
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.models.records import Form, PythonRuntime
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.releases.records import Release
from headway.lifecycle.releases.service import ReleaseService
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits
from headway.lifecycle.rollouts.records import (
    MOVES,
    Deployment,
    Rollout,
    RolloutState,
    Share,
    TrafficChange,
)
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.lifecycle.rollouts.rules import shares
from headway.lifecycle.rollouts.store import DeploymentStore, RolloutStore, TrafficStore


class RolloutService:
    """Deployments are declared; traffic moves only through rollouts, each move in one act."""

    def __init__(
        self,
        journal: Journal,
        store: RolloutStore,
        deployments: DeploymentStore,
        traffic: TrafficStore,
        environments: EnvironmentService,
        models: ModelService,
        releases: ReleaseService,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._deployments, self._traffic = journal, store, deployments, traffic
        self._environments, self._models, self._releases = environments, models, releases
        self._clock, self._ids = clock, ids

    def declare(
        self, name: str, environment: str, model: str, *, by: Actor, target: str = "process",
        python: PythonRuntime | None = None, limits: Limits = UNLIMITED,
    ) -> Deployment:  # fmt: skip
        """Make the deployment be as said; what it serves does not change."""
        by.must(Permission.OPERATE)
        checked_name(name, "deployment")
        self._environments.get(environment)
        with self._journal.act(by.name, "deployment.declare") as act:
            known = self._deployments.named(name)
            if known is None:
                made = Deployment(
                    id=self._ids(Deployment.prefix),
                    created_at=self._clock.now(),
                    name=name,
                    environment=environment,
                    model=model,
                    target=target,
                    python=python,
                    limits=limits,
                )
                return act.save(self._deployments, made)
            declared = known.but(environment=environment, model=model, target=target, python=python, limits=limits)
            if known.traffic and declared.environment != known.environment:
                raise Conflict(f"{name} serves releases of {known.environment}; declare another deployment instead")
            if known.traffic and declared.limits != known.limits:
                declared = declared.but(generation=known.generation + 1)
            return known if declared == known else act.save(self._deployments, declared)

    def deployment(self, name: str) -> Deployment:
        found = self._deployments.named(name)
        if found is None:
            raise NotFound(f"no deployment {name!r}; declare it in headway.toml as [deployments.{name}]")
        return found

    def deployments(self) -> list[Deployment]:
        return self._deployments.all()

    def routing(self, name: str) -> RoutingTable:
        """What the servers of a deployment are to be told now."""
        deployment = self.deployment(name)
        return RoutingTable(
            deployment=name,
            generation=deployment.generation,
            routes=tuple(self._route(share, deployment) for share in deployment.traffic),
            mirror=deployment.mirror,
            limits=deployment.limits,
        )

    def _route(self, share: Share, deployment: Deployment) -> Route:
        release = self._releases.get(share.release)
        version = self._models.version(release.model_version)
        trust = self._models.trusted(version)
        return Route(
            release=release.id,
            model=version.model,
            version=version.number,
            blob=version.blob,
            signature=version.signature,
            percent=share.percent,
            contract=version.contract,
            form=version.form,
            feeding=version.feeding,
            python=deployment.python if version.form is not Form.ONNX else None,
            trust=trust.id if trust else "",
        )

    def start(self, deployment: str, release: str, *, by: Actor, change: str = "") -> Rollout:
        """Begin to move `deployment` to `release`; a change's rollout is started once.

        Raises `Conflict` while another rollout is under way there, `Invalid` for a release of another environment,
        `Refused` for a release whose signature does not hold.
        """
        by.must(Permission.OPERATE)
        place, signed = self.deployment(deployment), self._releases.check(release)
        if signed.environment != place.environment:
            raise Invalid(f"{release} is released for {signed.environment}, but {deployment} is in {place.environment}")
        with self._journal.act(by.name, "rollout.start") as act:
            known = self.of_change(change) if change else None
            if known:
                return known
            busy = self._store.open(deployment)
            if busy:
                raise Conflict(f"rollout {busy[0].id} is still moving {deployment}; wait for it or roll it back")
            rollout = self._new(place, signed, change)
            act.save(self._store, rollout, came_from=[release, change])
            act.emit("RolloutStarted", rollout.id, change=change)
            return rollout

    def _new(self, place: Deployment, signed: Release, change: str) -> Rollout:
        """Where nothing served before, nobody else could take the rest: the first release has all traffic at once."""
        incumbent = self.deployment(place.name).serving
        steps = self._environments.get(place.environment).rollout.steps
        return Rollout(
            id=self._ids(Rollout.prefix),
            created_at=self._clock.now(),
            deployment=place.name,
            change=change,
            candidate=signed.id,
            incumbent=incumbent,
            steps=steps if incumbent else (100,),
        )

    def advance(
        self, identifier: str, step: int, why: str, *, by: Actor, event_at: datetime | None = None, labelled: int = 0
    ) -> Rollout:
        """Give the candidate the share of `steps[step]`. A step that is reached already is left as it is.

        `labelled` is how many labelled pairs there are now: what this step learns is counted from there.
        """
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "rollout.advance", why=why) as act:
            rollout = self.get(identifier)
            if rollout.step >= step:
                return rollout
            if rollout.over or step >= len(rollout.steps):
                raise IllegalMove(f"rollout {identifier} is {rollout.state}; it has no step {step}")
            after = rollout.but(
                state=RolloutState.RUNNING,
                step=step,
                step_at=self._clock.now(),
                step_labels_from=labelled,
                reason=why,
            )
            act.save(self._store, after)
            self._move(act, after, after.percent, why, event_at)
            return after

    def promote(self, identifier: str, why: str, *, by: Actor) -> Rollout:
        return self._end(identifier, RolloutState.PROMOTED, why, by=by)

    def roll_back(self, identifier: str, why: str, *, by: Actor, event_at: datetime | None = None) -> Rollout:
        """Give all traffic back to what served before."""
        return self._end(identifier, RolloutState.ROLLED_BACK, why, by=by, event_at=event_at)

    def _end(
        self, identifier: str, state: RolloutState, why: str, *, by: Actor, event_at: datetime | None = None
    ) -> Rollout:
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, f"rollout.{state}", why=why) as act:
            rollout = self.get(identifier)
            if rollout.state is state:
                return rollout
            if state not in MOVES[rollout.state]:
                raise IllegalMove(f"rollout {identifier} is {rollout.state}; it cannot become {state}")
            after = rollout.but(state=state, reason=why)
            act.save(self._store, after)
            percent = 100 if state is RolloutState.PROMOTED else 0
            self._move(act, after, percent, why, event_at)
            act.emit("RolloutEnded", rollout.id, state=state, change=rollout.change)
            return after

    def _move(self, act: Act, rollout: Rollout, percent: int, why: str, event_at: datetime | None) -> None:
        deployment = self.deployment(rollout.deployment)
        withdrawn = percent == 0 and rollout.incumbent is None
        traffic = () if withdrawn else shares(rollout, percent)
        policy = self._environments.get(deployment.environment).rollout
        mirror = policy.mirror and len(traffic) > 1
        if (traffic, mirror) == (deployment.traffic, deployment.mirror):
            return
        moved = deployment.but(traffic=traffic, mirror=mirror, generation=deployment.generation + 1)
        act.save(self._deployments, moved)
        change = TrafficChange(
            id=self._ids(TrafficChange.prefix),
            created_at=self._clock.now(),
            deployment=deployment.name,
            generation=moved.generation,
            traffic=traffic,
            rollout=rollout.id,
            why=why,
            event_at=event_at,
        )
        act.save(self._traffic, change, came_from=[rollout.id])
        act.emit("TrafficMoved", deployment.id, deployment=deployment.name, generation=moved.generation)

    def get(self, identifier: str) -> Rollout:
        found = self._store.get(identifier)
        if found is None:
            raise NotFound(f"no rollout {identifier!r}; `headway rollout list` shows what there is")
        return found

    def of_change(self, change: str) -> Rollout | None:
        """The rollout of a change, which can only be younger than the change."""
        younger = since(change, lambda before: self._store.list(limit=20, before=before))
        return next((rollout for rollout in younger if rollout.change == change), None)

    def open(self, deployment: str | None = None) -> list[Rollout]:
        return self._store.open(deployment)

    def served(self, deployment: str, moment: datetime) -> TrafficChange | None:
        """What served at `moment`, and why: None before the first release."""
        self.deployment(deployment)
        return self._traffic.at(deployment, moment)

    def traffic(self, deployment: str, *, limit: int = 100, before: str | None = None) -> Page[TrafficChange]:
        return self._traffic.list(deployment, limit=limit, before=before)

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Rollout]:
        return self._store.list(deployment, limit=limit, before=before)
