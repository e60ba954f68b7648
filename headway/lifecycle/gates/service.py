"""What one can do at a gate."""

from __future__ import annotations

from headway.errors import NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.paging import Page
from headway.kernel.records import digest, encode
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.gates.records import Evidence, Judge, Verdict
from headway.lifecycle.gates.rules import NOT_MEASURED, weigh
from headway.lifecycle.gates.store import EvidenceStore, VerdictStore
from headway.lifecycle.models.service import ModelService


class GateService:
    def __init__(
        self,
        journal: Journal,
        evidence: EvidenceStore,
        verdicts: VerdictStore,
        environments: EnvironmentService,
        models: ModelService,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._evidence, self._verdicts = journal, evidence, verdicts
        self._environments, self._models, self._clock, self._ids = environments, models, clock, ids

    def judge(self, command: Judge, *, by: Actor) -> Verdict:
        """Write the evidence for each check that the environment demands, and the verdict.

        A change that has its verdict for this model version and environment gets that one again.
        """
        by.must(Permission.JUDGE)
        environment = self._environments.get(command.environment)
        version = self._models.version(command.model_version)
        outcome, reasons = weigh(environment.gate, command.findings)
        with self._journal.act(by.name, "gate.judge", why="; ".join(reasons)[:1000]) as act:
            known = self.verdict_for(command.change, version.id, environment.name)
            if command.change and known:
                return known
            now = self._clock.now()
            written = [
                Evidence(
                    id=self._ids(Evidence.prefix),
                    created_at=now,
                    check=spec.check,
                    settings=spec.settings,
                    subject=version.id,
                    subject_blob=version.blob,
                    inputs=command.inputs.get(spec.check, {}),
                    finding=command.findings.get(spec.check, NOT_MEASURED),
                    code=command.code,
                    actor=by.name,
                )
                for spec in environment.gate
            ]
            for evidence in written:
                act.save(self._evidence, evidence, came_from=[version.id])
            verdict = Verdict(
                id=self._ids(Verdict.prefix),
                created_at=now,
                environment=environment.name,
                model_version=version.id,
                change=command.change,
                gate=digest(encode(environment.gate)),
                outcome=outcome,
                evidence=tuple(evidence.id for evidence in written),
                reasons=reasons,
            )
            act.save(self._verdicts, verdict, came_from=verdict.evidence)
            act.emit("VerdictGiven", verdict.id, outcome=outcome, change=command.change)
            return verdict

    def verdict_for(self, change: str, model_version: str, environment: str) -> Verdict | None:
        """The newest verdict that a change has come to."""
        for verdict in self._verdicts.list(model_version).items:
            if verdict.change == change and verdict.environment == environment:
                return verdict
        return None

    def verdict(self, identifier: str) -> Verdict:
        found = self._verdicts.get(identifier)
        if found is None:
            raise NotFound(f"no verdict {identifier!r}; `headway gate list` shows what there is")
        return found

    def evidence(self, identifier: str) -> Evidence:
        found = self._evidence.get(identifier)
        if found is None:
            raise NotFound(f"no evidence {identifier!r}")
        return found

    def list(self, model_version: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Verdict]:
        return self._verdicts.list(model_version, limit=limit, before=before)
