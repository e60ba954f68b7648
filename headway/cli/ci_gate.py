"""A model of `headway ci` before the gate of its environment, beside what serves there now."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from headway.cli.ci_report import Judged
from headway.client.client import Client
from headway.errors import HeadwayError, NotFound
from headway.lifecycle.changes.project import Project
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.check import registered
from headway.lifecycle.gates.names import BETTER_THAN_CHAMPION, LATENCY
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.gates.rules import weigh
from headway.lifecycle.models.records import Form, ModelVersion, PythonRuntime

if TYPE_CHECKING:
    from headway.engines.gates.trial import Champion, Trial
    from headway.engines.models.opening import ScoringModel

_SAID_OF_LATENCY = {
    Outcome.PASS: "within its budget on this machine",
    Outcome.FAIL: "over its budget on this machine",
    Outcome.UNPROVEN: "not measured well enough on this machine",
}


def judged(here: Client, there: Client, project: Project, pipeline: str, version: ModelVersion) -> Iterator[Judged]:
    """For each deployment that serves this model: `here` is where the version is, `there` where its rival serves."""
    for name, deployment in project.deployments.items():
        if deployment.model == version.model:
            gate = project.environments[deployment.environment].gate
            with ExitStack() as open_until:
                runtime = project.runtimes.get(deployment.runtime) or PythonRuntime()
                yield _judged(here, there, gate, name, runtime, version, open_until).but(
                    pipeline=pipeline, environment=deployment.environment
                )  # fmt: skip


def _judged(
    here: Client, there: Client, gate: tuple[CheckSpec, ...], deployment: str, runtime: PythonRuntime,
    version: ModelVersion, open_until: ExitStack,
) -> Judged:  # fmt: skip
    from headway.engines.gates.gatekeeper import measure  # noqa: PLC0415

    demanded = tuple(spec.check for spec in gate)
    told = Judged(
        model=version.model, pipeline="", deployment=deployment, environment="", metrics=version.metrics,
        demanded=demanded,
    )  # fmt: skip
    trial: Trial | None = None
    try:
        trial = _trial(here, there, deployment, runtime, version, open_until)
        beside = (
            () if BETTER_THAN_CHAMPION in demanded or not trial.champion else (CheckSpec(check=BETTER_THAN_CHAMPION),)
        )
        findings = measure(trial, (*gate, *beside), registered()).findings
    except HeadwayError as error:
        findings = {spec.check: Finding(outcome=Outcome.UNPROVEN, reason=str(error)) for spec in gate}
    outcome, reasons = weigh(gate, findings)
    return told.but(
        champion=trial.champion.version.label if trial and trial.champion else "", outcome=outcome, reasons=reasons,
        findings={name: _steady(name, finding, version) for name, finding in findings.items()},
    )  # fmt: skip


def _steady(name: str, finding: Finding, version: ModelVersion) -> Finding:
    """Without what differs from one measurement, or one home, to the next."""
    if name == LATENCY:
        return Finding(outcome=finding.outcome, reason=_SAID_OF_LATENCY[finding.outcome])
    return finding.but(reason=finding.reason.replace(version.label, version.model))


def _trial(
    here: Client, there: Client, deployment: str, runtime: PythonRuntime, version: ModelVersion, open_until: ExitStack
) -> Trial:
    from headway.engines.gates.trial import Table, Trial  # noqa: PLC0415

    here.models.trust_of(version)

    def table(reference: str) -> Table:
        return Table(here.datasets.version(reference), here.datasets.parquet(reference))

    def blob(digest: str) -> bytes:
        try:
            return here.blobs.get(digest)
        except NotFound:
            return there.blobs.get(digest)

    return Trial(
        version=version, onnx=blob(version.blob), held_out=table(version.evaluation),
        training=tuple(table(reference) for reference in version.training),
        baselines={baseline.name: blob(baseline.blob) for baseline in version.baselines},
        champion=_champion(there, deployment), opened=_opener(blob, runtime, open_until),
    )  # fmt: skip


def _champion(there: Client, deployment: str) -> Champion | None:
    from headway.engines.gates.trial import Champion  # noqa: PLC0415

    try:
        serving = there.deployments.get(deployment).serving
    except NotFound:
        return None
    if not serving:
        return None
    version = there.models.version(there.releases.get(serving).model_version)
    return Champion(version, there.blobs.get(version.blob))


def _opener(
    blob: Callable[[str], bytes], runtime: PythonRuntime, open_until: ExitStack
) -> Callable[[ModelVersion, bytes], ScoringModel]:
    from headway.engines.models.opening import WorkerModel, open_onnx  # noqa: PLC0415
    from headway.engines.runtimes.folders import laid_out  # noqa: PLC0415
    from headway.engines.runtimes.python import Plan  # noqa: PLC0415

    def opened(version: ModelVersion, data: bytes) -> ScoringModel:
        if version.form is Form.ONNX:
            return open_onnx(version, data)
        folder = Path(open_until.enter_context(tempfile.TemporaryDirectory(prefix="headway-ci-")))
        path = laid_out(version.form, version.blob, blob, folder)
        plan = Plan(version.form, path, runtime, version.signature, version.feeding)
        return open_until.enter_context(closing(WorkerModel(plan)))

    return opened
