"""What the platform runs in processes of their own: a pipeline's run, and what a gate measures.

`python -m headway.cli.workers run RUN` and `... gate CHANGE`, started by the conductor in the project's folder, with
the server's address and a token of their own role in the environment. A worker ends when its parent is gone: what it
has finished is kept, and the next one goes on from there.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.home import find_home
from headway.client.run import Run as Handle
from headway.engines.pipelines.project import code_of, coerce_params, find_project, load_pipeline, load_spec
from headway.engines.telemetry import open_telemetry
from headway.engines.workers import PARENT
from headway.errors import BadSettings, Forbidden, HeadwayError, Invalid, LeaseLost, NotFound, NotTrusted, Unavailable
from headway.kernel.leases import Lease
from headway.kernel.version import VERSION
from headway.lifecycle.changes.project import Project, read_project
from headway.lifecycle.gates.check import registered
from headway.lifecycle.gates.names import CHECKS
from headway.lifecycle.gates.records import Finding, Judge, Outcome
from headway.lifecycle.models.records import ModelVersion, PythonRuntime
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Code, Run, RunState
from headway.running.exporter import OnnxExporter
from headway.running.pipelines import carry_out
from headway.running.where import Execution, Where
from headway.sdk import open_client

if TYPE_CHECKING:
    from headway.engines.gates.trial import Trial

_LOG = logging.getLogger("headway.worker")
_BEAT_S = 2.0
_LOOK_S = 0.5


def main(arguments: list[str]) -> int:
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    _end_with_parent(int(os.environ.get(PARENT) or os.getppid()))
    what, identifier = arguments
    with open_client() as client:
        try:
            {"run": work, "gate": measure_change}[what](client, identifier)
        except (Unavailable, LeaseLost, Forbidden) as error:
            _LOG.error("%s", error)
            return 3
    return 0


def _end_with_parent(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGKILL)  # what its steps have started goes with it
        os._exit(3)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def work(client: Client, identifier: str) -> None:
    """Run the pipeline of a run that was created for it, under a lease that is prolonged while it lasts."""
    run = client.runs.get(identifier)
    if run.over:
        return
    holder = f"worker-{os.getpid()}"
    lease = client.runs.claim(run.id, holder)
    _beat(client, run.id, holder)
    client.runs.move(run.id, RunState.RUNNING, token=lease.token)
    try:
        _execute(client, run)
    except (Unavailable, LeaseLost, Forbidden):
        raise
    except Exception as error:
        _LOG.exception("run %s failed", run.id)
        _finish(client, run, lease, RunState.FAILED, _told(error))
    else:
        _finish(client, run, lease, RunState.FINISHED)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, HeadwayError) else f"{type(error).__name__}: {error}"


def _beat(client: Client, run: str, holder: str) -> None:
    def beat() -> None:
        while True:
            time.sleep(_BEAT_S)
            try:
                client.runs.claim(run, holder)
            except Unavailable:
                _LOG.warning("the server did not answer; the lease may run out")
            except HeadwayError as error:
                _LOG.error("%s", error)
                os._exit(3)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


def _finish(client: Client, run: Run, lease: Lease, state: RunState, error: str = "") -> None:
    client.runs.move(run.id, state, error=error, token=lease.token)


def _execute(client: Client, run: Run) -> None:
    folder, project = _project()
    code = code_of(folder)
    if run.change:
        must_be_at(client.changes.get(run.change).commit, code)
    pipeline, params = find_pipeline(project, folder, run.pipeline, run.params)
    capture = Capture(project.capture, folder)
    handle = client.resume(run.id, OnnxExporter(client), capture=capture)
    try:
        _run(handle, folder, pipeline, params, code)
    finally:
        capture.stop()
        handle.flush()


def must_be_at(commit: str, code: Code) -> None:
    """Raise `BadSettings` unless the project is at `commit`, if it has to be at one: a change says what it ships."""
    if commit and (code.commit != commit or code.dirty):
        where = f"edited since {code.commit[:12]}" if code.commit == commit else f"at {code.commit[:12] or 'no commit'}"
        raise BadSettings(f"the change is for commit {commit[:12]}, and the project's folder is {where}; check it out")


def _run(handle: Handle, folder: Path, pipeline: Pipeline, params: Mapping[str, Any], code: Code) -> None:
    """In workers of this worker; the lease is held by the heartbeat here."""
    execution = Execution(Where.WORKERS)
    telemetry = open_telemetry("headway-worker")
    if telemetry is None:
        carry_out(handle, pipeline, params, folder, code, execution, heart=False)
        return
    whole = telemetry.begin(f"run {handle.record.pipeline}", **{"headway.run": handle.id})
    try:
        carry_out(
            handle, pipeline, params, folder, code, execution, report=lambda step: telemetry.step(step, whole),
            heart=False,
        )  # fmt: skip
    finally:
        whole.end()
        telemetry.close()


def _project() -> tuple[Path, Project]:
    folder = find_project(Path.cwd())
    return folder, read_project((folder / "headway.toml").read_text())


def find_pipeline(
    project: Project, folder: Path, name: str, given: Mapping[str, str]
) -> tuple[Pipeline, dict[str, object]]:
    """The pipeline `name` of a project, and its params: the project's, then the given ones."""
    spec = project.pipelines.get(name)
    if spec is None:
        raise BadSettings(f"headway.toml has no pipeline {name!r}; it has: {', '.join(project.pipelines) or 'none'}")
    pipeline = load_spec(folder, name, spec)
    return pipeline, coerce_params(pipeline, {**spec.params, **given})


def measure_change(client: Client, identifier: str) -> None:
    """Measure what the environment's gate demands of the change's model version, and hand the findings in."""
    from headway.engines.gates.gatekeeper import Measured, measure  # noqa: PLC0415

    change = client.changes.get(identifier)
    version = client.models.version(change.model_version)
    environment = client.environments.get(change.environment)
    folder, project = _project()
    try:
        if any(spec.check not in CHECKS for spec in environment.gate):
            _load_checks(folder, project)
        with ExitStack() as open_until:
            trial = _trial(client, version, change.deployment, open_until)
            found = measure(trial, environment.gate, registered())
    except (Invalid, NotFound, NotTrusted) as error:
        unproven = Finding(outcome=Outcome.UNPROVEN, reason=str(error))
        found = Measured({spec.check: unproven for spec in environment.gate}, {})
    client.gates.judge(
        Judge(
            environment=environment.name,
            model_version=version.id,
            change=change.id,
            findings=found.findings,
            inputs=found.inputs,
            code=f"headway {VERSION}, project {code_of(folder).digest}",
        )
    )


def _load_checks(folder: Path, project: Project) -> None:
    """A project's own checks stand in the modules of its pipelines."""
    for spec in project.pipelines.values():
        if spec.entry:
            load_pipeline(folder, spec.entry)


def _trial(client: Client, version: ModelVersion, deployment: str, open_until: ExitStack) -> Trial:
    from headway.engines.gates.trial import Champion, Table, Trial  # noqa: PLC0415
    from headway.engines.models.opening import opener  # noqa: PLC0415
    from headway.engines.runtimes.environments import FOLDER  # noqa: PLC0415

    place = client.deployments.get(deployment)
    client.models.trust_of(version)

    def table(reference: str) -> Table:
        return Table(client.datasets.version(reference), client.datasets.parquet(reference))

    serving = place.serving
    champion = client.models.version(client.releases.get(serving).model_version) if serving else None
    return Trial(
        version=version,
        onnx=client.blobs.get(version.blob),
        held_out=table(version.evaluation),
        training=tuple(table(reference) for reference in version.training),
        baselines={baseline.name: client.blobs.get(baseline.blob) for baseline in version.baselines},
        champion=Champion(champion, client.blobs.get(champion.blob)) if champion else None,
        origins=client.models.origins(version.id),
        opened=opener(client.blobs.get, place.python or PythonRuntime(), find_home() / FOLDER, open_until),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
