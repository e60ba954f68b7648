"""What one can do with rollouts: each move of traffic is one act."""

from __future__ import annotations

from datetime import datetime

from headway.errors import Conflict, IllegalMove, Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.paging import Page, since
from headway.lifecycle.environments.records import RolloutKind
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.releases.records import Release
from headway.lifecycle.rollouts.deployments import DeploymentService
from headway.lifecycle.rollouts.records import MOVES, Deployment, Rollout, RolloutState, Share, Standing
from headway.lifecycle.rollouts.rules import rising, shares
from headway.lifecycle.rollouts.store import RolloutStore

MOST_ARMS = 8


class RolloutService:
    def __init__(
        self,
        journal: Journal,
        store: RolloutStore,
        deployments: DeploymentService,
        environments: EnvironmentService,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._deployments = journal, store, deployments
        self._environments, self._clock, self._ids = environments, clock, ids

    def start(
        self, deployment: str, release: str, *, by: Actor, change: str = "", steps: tuple[int, ...] = (), why: str = "",
        rivals: tuple[str, ...] = (),
    ) -> Rollout:  # fmt: skip
        """Begin to move `deployment` to `release`, by the environment's steps unless others are given; a change's
        rollout is started once. A bandit may compare `rivals` beside it.

        Raises `Conflict` while another rollout is under way there, `Invalid` for a release of another environment or
        model, for steps that do not rise to 100 and for rivals where there is no bandit, `Refused` for a release whose
        signature does not hold.
        """
        by.must(Permission.OPERATE)
        if steps and not rising(steps):
            raise Invalid(f"steps must rise from at least 1 and end at 100, such as 10,50,100, not {list(steps)[:20]}")
        place = self._deployments.get(deployment)
        signed = self._deployments.fitting(place, release)
        others = tuple(self._deployments.fitting(place, rival).id for rival in rivals)
        with self._journal.act(by.name, "rollout.start", why=why) as act:
            known = self.of_change(change) if change else None
            if known:
                return known
            busy = self._store.open(deployment)
            if busy:
                raise Conflict(f"rollout {busy[0].id} is still moving {deployment}; wait for it or roll it back")
            if not change and [share.release for share in self._deployments.get(deployment).traffic] == [signed.id]:
                raise Conflict(f"{deployment} serves {signed.label} to everybody already")
            rollout = self._new(place, signed, change, steps).but(rivals=others)
            _must_compare(rollout)
            act.save(self._store, rollout, came_from=[release, *others, change])
            act.emit("RolloutStarted", rollout.id, change=change)
            return rollout

    def _new(self, place: Deployment, signed: Release, change: str, steps: tuple[int, ...]) -> Rollout:
        """Where nothing served before, nobody else could take the rest: the first release has all traffic at once."""
        incumbent = self._deployments.get(place.name).serving
        policy = self._environments.get(place.environment).rollout
        steps = steps or policy.steps
        bandit = incumbent is not None and policy.kind is RolloutKind.BANDIT
        if bandit and len(steps) != 2:
            raise Invalid(f"a bandit begins at one share and ends at 100: two steps, not {list(steps)[:20]}")
        return Rollout(
            id=self._ids(Rollout.prefix),
            created_at=self._clock.now(),
            deployment=place.name,
            change=change,
            candidate=signed.id,
            incumbent=incumbent,
            steps=steps if incumbent else (100,),
            reward=policy.reward if bandit else None,
        )

    def advance(
        self, identifier: str, step: int, why: str, *, by: Actor, event_at: datetime | None = None, labelled: int = 0,
        winner: str = "",
    ) -> Rollout:  # fmt: skip
        """Give the candidate the share of `steps[step]`. A step that is reached already is left as it is.

        `labelled` is how many labelled pairs there are now: what this step learns is counted from there. A `winner`
        among the rivals takes the candidate's place.
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
            now = self._clock.now()
            after = _led_by(rollout, winner or rollout.candidate).but(
                state=RolloutState.RUNNING,
                step=step,
                step_at=now,
                step_labels_from=labelled,
                reason=why,
                events_after=min(event_at, now) if event_at and rollout.step < 0 else rollout.events_after,
            )
            act.save(self._store, after)
            self._move(act, after, shares(after, after.percent), why, event_at)
            return after

    def weigh(
        self, identifier: str, standing: tuple[Standing, ...], why: str, *, by: Actor, event_at: datetime | None = None
    ) -> Rollout:
        """Give the releases of a bandit the shares that they have in `standing`, which is kept as the evidence.

        Raises `IllegalMove` for a rollout that is no bandit, or not at its first step and running, and `Invalid` for
        shares that are not those of its releases or do not sum to 100.
        """
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "rollout.weigh", why=why) as act:
            rollout = self.get(identifier)
            if not rollout.playing or rollout.state is not RolloutState.RUNNING:
                raise IllegalMove(f"rollout {identifier} is {rollout.state}, at step {rollout.step}: nothing to weigh")
            split = _split(rollout, standing)
            after = act.save(self._store, rollout.but(standing=standing, reason=why))
            self._move(act, after, split, why, event_at)
            return after

    def drop(
        self, identifier: str, release: str, standing: tuple[Standing, ...], why: str, *, by: Actor,
        event_at: datetime | None = None,
    ) -> Rollout:  # fmt: skip
        """Compare one of several challengers no more, because of the harm it does; the others have the shares that
        they have in `standing`. Raises `IllegalMove` for what is not a challenger of a bandit, or the only one."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "rollout.drop", why=why) as act:
            rollout = self.get(identifier)
            left = tuple(each for each in rollout.challengers if each != release)
            if not rollout.playing or not left or left == rollout.challengers:
                raise IllegalMove(f"{release} is not one of several challengers that rollout {identifier} compares")
            fewer = rollout.but(candidate=left[0], rivals=left[1:], standing=standing, reason=why)
            split = _split(fewer, standing)
            after = act.save(self._store, fewer)
            self._move(act, after, split, why, event_at)
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
            withdrawn = state is RolloutState.ROLLED_BACK and rollout.incumbent is None
            percent = 100 if state is RolloutState.PROMOTED else 0
            self._move(act, after, () if withdrawn else shares(after, percent), why, event_at)
            act.emit("RolloutEnded", rollout.id, state=state, change=rollout.change)
            return after

    def _move(
        self, act: Act, rollout: Rollout, traffic: tuple[Share, ...], why: str, event_at: datetime | None
    ) -> None:
        deployment = self._deployments.get(rollout.deployment)
        policy = self._environments.get(deployment.environment).rollout
        mirror = policy.mirror and len(traffic) > 1 and rollout.reward is None
        if (traffic, mirror) == (deployment.traffic, deployment.mirror):
            return
        standing = rollout.standing if rollout.playing else ()
        moved = deployment.but(traffic=traffic, mirror=mirror)
        self._deployments.serve(act, moved, why, event_at, rollout.id, standing)

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

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Rollout]:
        return self._store.list(deployment, limit=limit, before=before)


def _split(rollout: Rollout, standing: tuple[Standing, ...]) -> tuple[Share, ...]:
    split = tuple(Share(release=one.release, percent=one.percent) for one in standing)
    whole = sum(share.percent for share in split) == 100 and all(share.percent > 0 for share in split)
    if not whole or tuple(share.release for share in split) != rollout.arms:
        raise Invalid(f"a bandit's shares are above 0, sum to 100 and are of {', '.join(rollout.arms)}")
    return split


def _must_compare(rollout: Rollout) -> None:
    if not rollout.rivals:
        return
    if rollout.reward is None:
        raise Invalid('only a bandit compares rivals: an environment with kind = "bandit" whose deployment serves')
    if len(set(rollout.arms)) < len(rollout.arms):
        raise Invalid("a release stands twice among those to compare; what serves now is compared anyway")
    if len(rollout.arms) > MOST_ARMS:
        raise Invalid(f"{MOST_ARMS} releases can be compared at a time, not {len(rollout.arms)}")
    if rollout.steps[0] < len(rollout.challengers):
        raise Invalid(f"a first share of {rollout.steps[0]} % does not do for {len(rollout.challengers)} releases")


def _led_by(rollout: Rollout, winner: str) -> Rollout:
    if winner not in rollout.challengers:
        raise IllegalMove(f"{winner} is no challenger in rollout {rollout.id}")
    return rollout.but(candidate=winner, rivals=tuple(each for each in rollout.challengers if each != winner))


def _must_move(rollout: Rollout, state: RolloutState) -> None:
    if state not in MOVES[rollout.state]:
        raise IllegalMove(f"rollout {rollout.id} is {rollout.state}; it cannot become {state}")
