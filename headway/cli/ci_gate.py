"""A model of `headway ci` before the gate of its environment, beside what serves there now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
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
from headway.lifecycle.models.records import ModelVersion, PythonRuntime

if TYPE_CHECKING:
    from headway.engines.gates.trial import Champion, Trial
    from headway.engines.models.opening import ScoringModel

_SAID_OF_LATENCY = {
    Outcome.PASS: "within its budget on this machine",
    Outcome.FAIL: "over its budget on this machine",
    Outcome.UNPROVEN: "not measured well enough on this machine",
}


def judged(
    here: Client, there: Client, project: Project, pipeline: str, version: ModelVersion, environments: Path
) -> Iterator[Judged]:
    """For each deployment that serves this model: `here` is where the version is, `there` where its rival serves, and
    below `environments` are those of locked models."""
    from headway.engines.models.opening import opener  # noqa: PLC0415

    get = _either(here, there)
    for name, deployment in project.deployments.items():
        if deployment.model == version.model:
            gate = project.environments[deployment.environment].gate
            runtime = project.runtimes.get(deployment.runtime) or PythonRuntime()
            with ExitStack() as open_until:
                opened = opener(get, runtime, environments, open_until)
                trial = partial(_trial, here, there, name, version, get, opened)
                yield _judged(trial, gate, version).but(
                    pipeline=pipeline, deployment=name, environment=deployment.environment
                )  # fmt: skip


def _either(here: Client, there: Client) -> Callable[[str], bytes]:
    def get(digest: str) -> bytes:
        try:
            return here.blobs.get(digest)
        except NotFound:
            return there.blobs.get(digest)

    return get


def _judged(prepared: Callable[[], Trial], gate: tuple[CheckSpec, ...], version: ModelVersion) -> Judged:
    """What cannot be put on trial at all is unproven."""
    from headway.engines.gates.gatekeeper import measure  # noqa: PLC0415

    demanded = tuple(spec.check for spec in gate)
    told = Judged(
        model=version.model, pipeline="", deployment="", environment="", metrics=version.metrics, demanded=demanded
    )
    trial: Trial | None = None
    try:
        trial = prepared()
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
    here: Client, there: Client, deployment: str, version: ModelVersion, get: Callable[[str], bytes],
    opened: Callable[[ModelVersion, bytes], ScoringModel],
) -> Trial:  # fmt: skip
    from headway.engines.gates.trial import Table, Trial  # noqa: PLC0415

    here.models.trust_of(version)

    def table(reference: str) -> Table:
        return Table(here.datasets.version(reference), here.datasets.parquet(reference))

    return Trial(
        version=version, onnx=get(version.blob), held_out=table(version.evaluation),
        training=tuple(table(reference) for reference in version.training),
        baselines={baseline.name: get(baseline.blob) for baseline in version.baselines},
        champion=_champion(there, deployment), opened=opened,
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
