"""What one can do with deployments and rollouts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from headway.errors import Conflict, IllegalMove, Invalid, NotFound, QuotaExceeded
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.naming import checked_name
from headway.kernel.paging import Page, since
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.models.records import ClassName, Form, PythonRuntime, Signature
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.releases.records import Release
from headway.lifecycle.releases.service import ReleaseService
from headway.lifecycle.rollouts.fallbacks import Fallback, must_be_answer, must_stand_in
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits
from headway.lifecycle.rollouts.records import (
    MOVES,
    TOLERANCES,
    Deployment,
    Pin,
    Rollout,
    RolloutState,
    Shadow,
    Share,
    TrafficChange,
)
from headway.lifecycle.rollouts.routing import FallbackRoute, Route, RoutingTable, ShadowRoute
from headway.lifecycle.rollouts.rules import rising, shares
from headway.lifecycle.rollouts.sampling import EVERYTHING, Sampling
from headway.lifecycle.rollouts.store import DeploymentStore, RolloutStore, TrafficStore

MOST_PINS = 1000
LONGEST_KEY = 200
MOST_PATIENCE_MS = 600_000


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
        python: PythonRuntime | None = None, workers: int = 1, limits: Limits = UNLIMITED,
        capture: Sampling = EVERYTHING,
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
                    workers=workers,
                    limits=limits,
                    capture=capture,
                )
                return act.save(self._deployments, made)
            declared = known.but(
                environment=environment,
                model=model,
                target=target,
                python=python,
                workers=workers,
                limits=limits,
                capture=capture,
            )
            if known.traffic and declared.environment != known.environment:
                raise Conflict(f"{name} serves releases of {known.environment}; declare another deployment instead")
            if known.traffic and (declared.limits, declared.capture) != (known.limits, known.capture):
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
        pins = deployment.pins if deployment.traffic else ()
        split = {pin.release: 0 for pin in pins} | {share.release: share.percent for share in deployment.traffic}
        sharing = [share.release for share in deployment.traffic]
        ordered = [*sharing, *(release for release in split if release not in sharing)]
        return RoutingTable(
            deployment=name,
            generation=deployment.generation,
            routes=tuple(
                self._route(Share(release=release, percent=split[release]), deployment) for release in ordered
            ),
            mirror=deployment.mirror,
            workers=deployment.workers,
            limits=deployment.limits,
            capture=deployment.capture,
            pins=pins,
            shadow=self._shadow_route(deployment),
            fallback=self._fallback_route(deployment),
        )

    def _fallback_route(self, deployment: Deployment) -> FallbackRoute | None:
        told = deployment.fallback
        if told is None or not deployment.traffic:
            return None
        route = self._route(Share(release=told.release, percent=0), deployment) if told.release else None
        return FallbackRoute(route=route, constant=told.constant, after_ms=told.after_ms)

    def _shadow_route(self, deployment: Deployment) -> ShadowRoute | None:
        shadow = deployment.shadow
        if shadow is None or not deployment.traffic:
            return None
        route = self._route(Share(release=shadow.release, percent=0), deployment)
        return ShadowRoute(route=route, percent=shadow.percent)

    def classes(self, release: str) -> tuple[ClassName, ...]:
        """The classes that a release tells apart; none where it gives a number, or is not known here."""
        try:
            return self._signature(release).classes
        except NotFound:
            return ()

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
            lock=version.lock or "",
            trust=trust.id if trust else "",
        )

    def start(
        self, deployment: str, release: str, *, by: Actor, change: str = "", steps: tuple[int, ...] = (), why: str = ""
    ) -> Rollout:
        """Begin to move `deployment` to `release`, by the environment's steps unless others are given; a change's
        rollout is started once.

        Raises `Conflict` while another rollout is under way there, `Invalid` for a release of another environment or
        model and for steps that do not rise to 100, `Refused` for a release whose signature does not hold.
        """
        by.must(Permission.OPERATE)
        if steps and not rising(steps):
            raise Invalid(f"steps must rise from at least 1 and end at 100, such as 10,50,100, not {list(steps)[:20]}")
        place = self.deployment(deployment)
        signed = self._fitting(place, release)
        with self._journal.act(by.name, "rollout.start", why=why) as act:
            known = self.of_change(change) if change else None
            if known:
                return known
            busy = self._store.open(deployment)
            if busy:
                raise Conflict(f"rollout {busy[0].id} is still moving {deployment}; wait for it or roll it back")
            if not change and [share.release for share in self.deployment(deployment).traffic] == [signed.id]:
                raise Conflict(f"{deployment} serves {signed.label} to everybody already")
            rollout = self._new(place, signed, change, steps)
            act.save(self._store, rollout, came_from=[release, change])
            act.emit("RolloutStarted", rollout.id, change=change)
            return rollout

    def _fitting(self, place: Deployment, release: str) -> Release:
        signed = self._releases.check(release)
        if signed.environment != place.environment:
            raise Invalid(f"{release} is released for {signed.environment}, but {place.name} is in {place.environment}")
        model = self._models.version(signed.model_version).model
        if model != place.model:
            raise Invalid(f"{release} is of the model {model}, but {place.name} serves {place.model}")
        return signed

    def _new(self, place: Deployment, signed: Release, change: str, steps: tuple[int, ...]) -> Rollout:
        """Where nothing served before, nobody else could take the rest: the first release has all traffic at once."""
        incumbent = self.deployment(place.name).serving
        steps = steps or self._environments.get(place.environment).rollout.steps
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
            if rollout.state is RolloutState.PAUSED:
                raise IllegalMove(f"rollout {identifier} is paused; resume it first")
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

    def pause(self, identifier: str, why: str, *, by: Actor) -> Rollout:
        """Stay at the present step, whatever speaks for the next one; harm still sends the candidate back."""
        return self._set(identifier, RolloutState.PAUSED, why, by=by)

    def resume(self, identifier: str, why: str, *, by: Actor) -> Rollout:
        """Go on after a pause; the patience for this step begins anew."""
        return self._set(identifier, RolloutState.RUNNING, why, by=by)

    def _set(self, identifier: str, state: RolloutState, why: str, *, by: Actor) -> Rollout:
        by.must(Permission.OPERATE)
        verb = "rollout.pause" if state is RolloutState.PAUSED else "rollout.resume"
        with self._journal.act(by.name, verb, why=why) as act:
            rollout = self.get(identifier)
            if rollout.state is state:
                return rollout
            _must_move(rollout, state)
            resumed = state is RolloutState.RUNNING
            if resumed and rollout.state is not RolloutState.PAUSED:
                raise IllegalMove(f"rollout {identifier} is {rollout.state}, not paused")
            step_at = self._clock.now() if resumed else rollout.step_at
            return act.save(self._store, rollout.but(state=state, step_at=step_at, reason=why))

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
            _must_move(rollout, state)
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
        self._serve(act, deployment.but(traffic=traffic, mirror=mirror), why, event_at, rollout.id)

    def _serve(
        self, act: Act, changed: Deployment, why: str, event_at: datetime | None = None, rollout: str = ""
    ) -> Deployment:
        moved = act.save(self._deployments, changed.but(generation=changed.generation + 1))
        change = TrafficChange(
            id=self._ids(TrafficChange.prefix),
            created_at=self._clock.now(),
            deployment=moved.name,
            generation=moved.generation,
            traffic=moved.traffic,
            rollout=rollout,
            why=why,
            event_at=event_at,
            pins=moved.pins,
            shadow=moved.shadow,
            fallback=moved.fallback,
        )
        act.save(self._traffic, change, came_from=[rollout])
        act.emit("TrafficMoved", moved.id, deployment=moved.name, generation=moved.generation)
        return moved

    def pin(
        self,
        deployment: str,
        release: str,
        why: str,
        *,
        by: Actor,
        keys: Collection[str] = (),
        prefixes: Collection[str] = (),
    ) -> Deployment:
        """Serve callers with these keys, or keys that begin so, by `release` until they are unpinned.

        A pin outlives rollouts, also one that sends its release back. Raises `Invalid` for a release that does not
        fit the deployment and for no keys, `Conflict` before anything serves, `QuotaExceeded` above `MOST_PINS`.
        """
        by.must(Permission.OPERATE)
        fresh = {(key, False) for key in keys} | {(key, True) for key in prefixes}
        if not fresh or not all(0 < len(key) <= LONGEST_KEY for key, _ in fresh):
            raise Invalid(f"name at least one key or prefix, each of 1 to {LONGEST_KEY} characters")
        signed = self._fitting(self.deployment(deployment), release)
        with self._journal.act(by.name, "deployment.pin", why=why) as act:
            place = self.deployment(deployment)
            if not place.traffic:
                raise Conflict(f"{deployment} serves nothing yet; ship a model version to it first")
            kept = [pin for pin in place.pins if (pin.key, pin.starts_with) not in fresh]
            added = [Pin(key=key, release=signed.id, starts_with=prefix) for key, prefix in sorted(fresh)]
            if len(kept) + len(added) > MOST_PINS:
                raise QuotaExceeded(f"{deployment} would have more than {MOST_PINS} pins; use a prefix", quota="pins")
            changed = place.but(pins=(*kept, *added))
            return place if set(changed.pins) == set(place.pins) else self._serve(act, changed, why)

    def unpin(
        self, deployment: str, why: str, *, by: Actor, keys: Collection[str] = (), prefixes: Collection[str] = ()
    ) -> Deployment:
        """Let these callers go where the shares send them; without keys and prefixes, all who are pinned.

        Raises `NotFound` when none of them is pinned.
        """
        by.must(Permission.OPERATE)
        named = {(key, False) for key in keys} | {(key, True) for key in prefixes}
        with self._journal.act(by.name, "deployment.unpin", why=why) as act:
            place = self.deployment(deployment)
            kept = tuple(pin for pin in place.pins if named and (pin.key, pin.starts_with) not in named)
            if kept == place.pins:
                raise NotFound(f"nobody who is named is pinned at {deployment}; `headway deployment show` lists pins")
            return self._serve(act, place.but(pins=kept), why)

    def shadow(self, deployment: str, shadow: Shadow, why: str, *, by: Actor) -> Deployment:
        """Let a release score what is asked beside those that answer, in the place of any other shadow.

        While a rollout mirrors, the shadow waits. Raises `Invalid` for a release that does not fit the deployment or
        a tolerance that differences are not counted by, `Conflict` before anything serves.
        """
        by.must(Permission.OPERATE)
        if not 1 <= shadow.percent <= 100:
            raise Invalid(f"percent must be from 1 to 100, not {shadow.percent}")
        if shadow.tolerance not in TOLERANCES:
            raise Invalid(f"tolerance is one of {', '.join(map(str, TOLERANCES))}, not {shadow.tolerance}")
        self._fitting(self.deployment(deployment), shadow.release)
        with self._journal.act(by.name, "deployment.shadow", why=why) as act:
            place = self.deployment(deployment)
            if not place.traffic:
                raise Conflict(f"{deployment} serves nothing yet; ship a model version to it first")
            return place if place.shadow == shadow else self._serve(act, place.but(shadow=shadow), why)

    def unshadow(self, deployment: str, why: str, *, by: Actor) -> Deployment:
        """End the shadow; what it was compared on stays."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "deployment.unshadow", why=why) as act:
            place = self.deployment(deployment)
            if place.shadow is None:
                raise NotFound(f"{deployment} has no shadow")
            return self._serve(act, place.but(shadow=None), why)

    def fallback(self, deployment: str, fallback: Fallback, why: str, *, by: Actor) -> Deployment:
        """Let a release, then a constant, answer when the model that should does not, in the place of any other chain.

        The release may be of another model. Raises `Invalid` for one of another environment, for one or a constant
        that cannot stand in for what serves, and for a chain of nothing; `Conflict` before anything serves.
        """
        by.must(Permission.OPERATE)
        if not fallback.release and not fallback.constant:
            raise Invalid("name a release, a constant or both to answer in the place of a model that fails")
        if not 0 <= fallback.after_ms <= MOST_PATIENCE_MS:
            raise Invalid(f"after_ms must be from 0 to {MOST_PATIENCE_MS}, not {fallback.after_ms}")
        with self._journal.act(by.name, "deployment.fallback", why=why) as act:
            place = self.deployment(deployment)
            if place.serving is None:
                raise Conflict(f"{deployment} serves nothing yet; ship a model version to it first")
            signature = self._signature(place.serving)
            if fallback.release:
                signed = self._releases.check(fallback.release)
                if signed.environment != place.environment:
                    raise Invalid(f"{signed.id} is released for {signed.environment}, not for {place.environment}")
                must_stand_in(signature, self._signature(signed.id))
            if fallback.constant:
                must_be_answer(fallback.constant, signature)
            return place if place.fallback == fallback else self._serve(act, place.but(fallback=fallback), why)

    def unfallback(self, deployment: str, why: str, *, by: Actor) -> Deployment:
        """Let failures be failures again."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "deployment.unfallback", why=why) as act:
            place = self.deployment(deployment)
            if place.fallback is None:
                raise NotFound(f"{deployment} has no fallback")
            return self._serve(act, place.but(fallback=None), why)

    def _signature(self, release: str) -> Signature:
        return self._models.version(self._releases.get(release).model_version).signature

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


def _must_move(rollout: Rollout, state: RolloutState) -> None:
    if state not in MOVES[rollout.state]:
        raise IllegalMove(f"rollout {rollout.id} is {rollout.state}; it cannot become {state}")
