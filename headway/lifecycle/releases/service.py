"""What one can do about releases: agree, decline, sign, check."""

from __future__ import annotations

from collections.abc import Collection

from headway.errors import GateRefused, NotApproved, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.paging import Page, since
from headway.kernel.records import encode
from headway.lifecycle.environments.records import Environment
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.gates.records import Outcome, Verdict
from headway.lifecycle.gates.service import GateService
from headway.lifecycle.models.records import ModelVersion
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.releases.records import Approval, Decision, Release, Statement
from headway.lifecycle.releases.rules import agreeing, missing, must_be_able_to_approve
from headway.lifecycle.releases.store import ApprovalStore, ReleaseStore, Signer

PAYLOAD_TYPE = "application/vnd.headway.release+json"


class ReleaseService:
    def __init__(
        self,
        journal: Journal,
        store: ReleaseStore,
        approvals: ApprovalStore,
        environments: EnvironmentService,
        models: ModelService,
        gates: GateService,
        signer: Signer,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._approvals = journal, store, approvals
        self._environments, self._models, self._gates = environments, models, gates
        self._signer, self._clock, self._ids = signer, clock, ids

    def decide(
        self, verdict: Verdict, decision: Decision, reason: str, *, authors: Collection[str], by: Actor
    ) -> Approval:
        """Agree or decline, for a change that has come to `verdict`. Raises `NotApproved` for who may not."""
        by.must(Permission.APPROVE)
        must_be_able_to_approve(self._environments.get(verdict.environment), by.name, authors)
        approval = Approval(
            id=self._ids(Approval.prefix),
            created_at=self._clock.now(),
            change=verdict.change,
            verdict=verdict.id,
            actor=by.name,
            decision=decision,
            reason=reason,
        )
        with self._journal.act(by.name, f"release.{decision}", why=reason) as act:
            act.save(self._approvals, approval, came_from=[verdict.id])
            act.emit("ApprovalGiven", approval.id, change=verdict.change, decision=decision)
        return approval

    def approvals(self, change: str) -> list[Approval]:
        return self._approvals.list(change)

    def sign(
        self,
        change: str,
        model_version: str,
        environment: str,
        *,
        authors: Collection[str],
        by: Actor,
        break_glass: str = "",
    ) -> Release:
        """Sign the release of a change, once. Raises `GateRefused`, `NotApproved` or `NotTrusted` when one is missing.

        With `break_glass` neither of the first two is asked for: it takes the permission and a reason, both in the
        ledger.
        """
        place, version = self._environments.get(environment), self._models.version(model_version)
        self._models.trusted(version)
        if break_glass:
            by.must(Permission.BREAK_GLASS)
        with self._journal.act(
            by.name, "release.break_glass" if break_glass else "release.sign", why=break_glass
        ) as act:
            known = self.of_change(change)
            if known:
                return known
            verdict: Verdict | None = None
            agreed: tuple[Approval, ...] = ()
            if not break_glass:
                verdict, agreed = self._must_be_ready(change, version, place, authors)
            release = self._signed(change, version, place, verdict, agreed, break_glass)
            parents = [version.id, release.verdict, *release.approvals, change]
            act.save(self._store, release, came_from=parents)
            act.emit("ReleaseSigned", release.id, change=change)
            return release

    def _must_be_ready(
        self, change: str, version: ModelVersion, place: Environment, authors: Collection[str]
    ) -> tuple[Verdict, tuple[Approval, ...]]:
        verdict = self._gates.verdict_for(change, version.id, place.name)
        if verdict is None or verdict.outcome is not Outcome.PASS:
            said = f"{verdict.outcome}: {'; '.join(verdict.reasons)}" if verdict else "it has not been asked"
            raise GateRefused(f"the gate of {place.name} does not let {version.label} pass ({said})")
        approvals = self._approvals.list(change)
        lacking = missing(place, approvals, authors)
        if lacking:
            raise NotApproved(f"{lacking} more must agree before {version.label} may run in {place.name}")
        return verdict, agreeing(place, approvals, authors)

    def _signed(
        self,
        change: str,
        version: ModelVersion,
        place: Environment,
        verdict: Verdict | None,
        agreed: Collection[Approval],
        break_glass: str,
    ) -> Release:
        release = Release(
            id=self._ids(Release.prefix),
            created_at=self._clock.now(),
            model_version=version.id,
            label=version.label,
            blob=version.blob,
            environment=place.name,
            change=change,
            verdict=verdict.id if verdict else "",
            approvals=tuple(approval.id for approval in agreed),
            break_glass=break_glass,
        )
        return release.but(envelope=self._signer.sign(PAYLOAD_TYPE, encode(_statement(release))))

    def of_change(self, change: str) -> Release | None:
        """The release of a change, which can only be younger than the change."""
        younger = since(change, lambda before: self._store.list(limit=20, before=before))
        return next((release for release in younger if release.change == change), None)

    def get(self, identifier: str) -> Release:
        found = self._store.get(identifier)
        if found is None:
            raise NotFound(f"no release {identifier!r}; `headway release list` shows what there is")
        return found

    def check(self, identifier: str) -> Release:
        """The release, if its signature holds and says what the record says; raises `Refused` otherwise."""
        release = self.get(identifier)
        if release.envelope is None:
            raise GateRefused(f"release {identifier} carries no signature")
        signed = self._signer.check(release.envelope)
        if signed != encode(_statement(release)):
            raise GateRefused(f"release {identifier} is not what was signed")
        return release

    def list(self, environment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Release]:
        return self._store.list(environment, limit=limit, before=before)


def _statement(release: Release) -> Statement:
    return Statement(
        release=release.id,
        model_version=release.model_version,
        blob=release.blob,
        environment=release.environment,
        change=release.change,
        verdict=release.verdict,
        approvals=release.approvals,
        break_glass=release.break_glass,
    )
