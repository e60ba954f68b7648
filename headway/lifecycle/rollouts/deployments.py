"""What one can do with deployments: declare them, and steer who is served by what beside the shares."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from headway.errors import Conflict, Invalid, NotFound, QuotaExceeded
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.naming import checked_name, nearest
from headway.kernel.paging import Page
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.feature_views.service import FeatureViewService
from headway.lifecycle.models.records import ClassName, Form, PythonRuntime, Signature
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.releases.records import Release
from headway.lifecycle.releases.service import ReleaseService
from headway.lifecycle.rollouts.fallbacks import Fallback, must_be_answer, must_stand_in
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits
from headway.lifecycle.rollouts.records import TOLERANCES, Deployment, Pin, Shadow, Share, Standing, TrafficChange
from headway.lifecycle.rollouts.routing import FallbackRoute, Route, RoutingTable, ShadowRoute
from headway.lifecycle.rollouts.sampling import EVERYTHING, Sampling
from headway.lifecycle.rollouts.sticky import ANYWHERE, Sticky
from headway.lifecycle.rollouts.store import DeploymentStore, TrafficStore

MOST_PINS = 1000
LONGEST_KEY = 200
MOST_PATIENCE_MS = 600_000


class DeploymentService:
    """Deployments are declared; their shares move only through rollouts."""

    def __init__(
        self,
        journal: Journal,
        store: DeploymentStore,
        traffic: TrafficStore,
        environments: EnvironmentService,
        models: ModelService,
        feature_views: FeatureViewService,
        releases: ReleaseService,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._traffic = journal, store, traffic
        self._environments, self._models, self._feature_views = environments, models, feature_views
        self._releases = releases
        self._clock, self._ids = clock, ids

    def declare(
        self, name: str, environment: str, model: str, *, by: Actor, target: str = "process",
        python: PythonRuntime | None = None, workers: int = 1, limits: Limits = UNLIMITED,
        capture: Sampling = EVERYTHING, server: str = "", sticky: Sticky = ANYWHERE,
    ) -> Deployment:  # fmt: skip
        """Make the deployment be as said; what it serves does not change. Raises `Invalid` for a sticky feature that
        what it serves does not take."""
        by.must(Permission.OPERATE)
        checked_name(name, "deployment")
        if server:
            checked_name(server, "server")
        self._environments.get(environment)
        told: dict[str, Any] = {
            "environment": environment, "model": model, "target": target, "python": python, "workers": workers,
            "limits": limits, "capture": capture, "server": server, "sticky": sticky,
        }  # fmt: skip
        with self._journal.act(by.name, "deployment.declare") as act:
            known = self._store.named(name)
            if known is None:
                made = Deployment(id=self._ids(Deployment.prefix), created_at=self._clock.now(), name=name, **told)
                return act.save(self._store, made)
            declared = known.but(**told)
            if known.traffic and declared.environment != known.environment:
                raise Conflict(f"{name} serves releases of {known.environment}; declare another deployment instead")
            if known.traffic and _steering(known) != _steering(declared):
                self._must_stick(declared, [share.release for share in known.traffic])
                declared = declared.but(generation=known.generation + 1)
            return known if declared == known else act.save(self._store, declared)

    def _must_stick(self, place: Deployment, releases: Iterable[str]) -> None:
        """Raises `Invalid` where a release does not take the feature that keeps callers with one release."""
        for release in releases if place.sticky.feature else ():
            columns = [name for spec in self._signature(release).inputs for name in spec.columns]
            if place.sticky.feature not in columns:
                hint = nearest(place.sticky.feature, columns)
                raise Invalid(
                    f"{place.name} is sticky by {place.sticky.feature!r}, which {release} does not take{hint}"
                )

    def get(self, name: str) -> Deployment:
        found = self._store.named(name)
        if found is None:
            raise NotFound(f"no deployment {name!r}; declare it in headway.toml as [deployments.{name}]")
        return found

    def all(self) -> list[Deployment]:
        return self._store.all()

    def routing(self, name: str) -> RoutingTable:
        """What the servers of a deployment are to be told now."""
        deployment = self.get(name)
        pins = deployment.pins if deployment.traffic else ()
        split = {pin.release: 0 for pin in pins} | {share.release: share.percent for share in deployment.traffic}
        sharing = [share.release for share in deployment.traffic]
        ordered = [*sharing, *(release for release in split if release not in sharing)]
        routes = [self._route(Share(release=release, percent=split[release]), deployment) for release in ordered]
        views = (view for route in routes for view in route.views)
        return RoutingTable(
            deployment=name,
            generation=deployment.generation,
            routes=tuple(routes),
            mirror=deployment.mirror,
            workers=deployment.workers,
            limits=deployment.limits,
            capture=deployment.capture,
            pins=pins,
            shadow=self._shadow_route(deployment),
            server=deployment.server,
            fallback=self._fallback_route(deployment),
            sticky=deployment.sticky,
            views=tuple(self._feature_views.shipped(view) for view in dict.fromkeys(views)),
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

    def _signature(self, release: str) -> Signature:
        return self._models.version(self._releases.get(release).model_version).signature

    def _route(self, share: Share, deployment: Deployment) -> Route:
        release = self._releases.get(share.release)
        version = self._models.version(release.model_version)
        trust = self._models.word_on(version)  # it was held to when the release was signed
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
            views=version.feature_views,
        )

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
        signed = self.fitting(self.get(deployment), release)
        with self._journal.act(by.name, "deployment.pin", why=why) as act:
            place = self.get(deployment)
            if not place.traffic:
                raise Conflict(f"{deployment} serves nothing yet; ship a model version to it first")
            kept = [pin for pin in place.pins if (pin.key, pin.starts_with) not in fresh]
            added = [Pin(key=key, release=signed.id, starts_with=prefix) for key, prefix in sorted(fresh)]
            if len(kept) + len(added) > MOST_PINS:
                raise QuotaExceeded(f"{deployment} would have more than {MOST_PINS} pins; use a prefix", quota="pins")
            changed = place.but(pins=(*kept, *added))
            return place if set(changed.pins) == set(place.pins) else self.serve(act, changed, why)

    def unpin(
        self, deployment: str, why: str, *, by: Actor, keys: Collection[str] = (), prefixes: Collection[str] = ()
    ) -> Deployment:
        """Let these callers go where the shares send them; without keys and prefixes, all who are pinned.

        Raises `NotFound` when none of them is pinned.
        """
        by.must(Permission.OPERATE)
        named = {(key, False) for key in keys} | {(key, True) for key in prefixes}
        with self._journal.act(by.name, "deployment.unpin", why=why) as act:
            place = self.get(deployment)
            kept = tuple(pin for pin in place.pins if named and (pin.key, pin.starts_with) not in named)
            if kept == place.pins:
                raise NotFound(f"nobody who is named is pinned at {deployment}; `headway deployment show` lists pins")
            return self.serve(act, place.but(pins=kept), why)

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
        self.fitting(self.get(deployment), shadow.release)
        with self._journal.act(by.name, "deployment.shadow", why=why) as act:
            place = self.get(deployment)
            if not place.traffic:
                raise Conflict(f"{deployment} serves nothing yet; ship a model version to it first")
            return place if place.shadow == shadow else self.serve(act, place.but(shadow=shadow), why)

    def unshadow(self, deployment: str, why: str, *, by: Actor) -> Deployment:
        """End the shadow; what it was compared on stays."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "deployment.unshadow", why=why) as act:
            place = self.get(deployment)
            if place.shadow is None:
                raise NotFound(f"{deployment} has no shadow")
            return self.serve(act, place.but(shadow=None), why)

    def served(self, deployment: str, moment: datetime) -> TrafficChange | None:
        """What served at `moment`, and why: None before the first release."""
        self.get(deployment)
        return self._traffic.at(deployment, moment)

    def traffic(self, deployment: str, *, limit: int = 100, before: str | None = None) -> Page[TrafficChange]:
        return self._traffic.list(deployment, limit=limit, before=before)

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
            place = self.get(deployment)
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
            return place if place.fallback == fallback else self.serve(act, place.but(fallback=fallback), why)

    def unfallback(self, deployment: str, why: str, *, by: Actor) -> Deployment:
        """Let failures be failures again."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "deployment.unfallback", why=why) as act:
            place = self.get(deployment)
            if place.fallback is None:
                raise NotFound(f"{deployment} has no fallback")
            return self.serve(act, place.but(fallback=None), why)

    def fitting(self, place: Deployment, release: str) -> Release:
        """The release, if it may serve there; raises `Invalid` if not, and `Refused` where its signature is broken."""
        signed = self._releases.check(release)
        if signed.environment != place.environment:
            raise Invalid(f"{release} is released for {signed.environment}, but {place.name} is in {place.environment}")
        version = self._models.version(signed.model_version)
        if version.model != place.model:
            raise Invalid(f"{release} is of the model {version.model}, but {place.name} serves {place.model}")
        self._models.trusted(version)
        self._must_stick(place, [signed.id])
        return signed

    def serve(
        self, act: Act, changed: Deployment, why: str, event_at: datetime | None = None, rollout: str = "",
        standing: tuple[Standing, ...] = (),
    ) -> Deployment:  # fmt: skip
        """Part of an act that moves traffic: what is served from now on, and the change of it."""
        moved = act.save(self._store, changed.but(generation=changed.generation + 1))
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
            standing=standing,
        )
        act.save(self._traffic, change, came_from=[rollout])
        act.emit("TrafficMoved", moved.id, deployment=moved.name, generation=moved.generation)
        return moved


def _steering(place: Deployment) -> tuple[object, ...]:
    """What its model server is told beside what it serves."""
    return place.limits, place.capture, place.server, place.sticky
