"""The runs of `headway ci`: on samples in a home that is thrown away, then on all data in the home of this checkout.

What there is already, data, results of steps and what serves, is read from the server if one is named; nothing is ever
written to it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from headway import sdk
from headway.cli.ci_report import Ran
from headway.client.client import Client
from headway.client.connect import connect
from headway.errors import HeadwayError, NotFound
from headway.lifecycle.changes.project import Project
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.models.records import ModelVersion
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Code, StepResult, StepRun, StepState
from headway.lifecycle.runs.session import Session

_OVER = (StepState.DONE, StepState.CACHED, StepState.FAILED)


class SharedSession:
    """A session of a home that also finds the results of steps that the server has, and takes them over."""

    def __init__(self, own: Session, here: Client, there: Client) -> None:
        self._own, self._here, self._there = own, here, there

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def cached(self, key: str) -> StepResult | None:
        found = self._own.cached(key)
        if found is None and (found := self._there.pipelines.result(key)) is not None:
            parts = [found.made_of.parts] if found.made_of and found.made_of.parts else []
            for blob in (*(output.blob for output in found.outputs), *parts):
                self._here.blobs.put(self._there.blobs.get(blob))
            found = self._own.keep(found)
        return found


def share(here: Client, there: Client) -> None:
    """Have the sessions of `here` look `there` too."""
    own = here.session

    def session(run: str, pipeline: str, code: Code) -> Session:
        return cast(Session, SharedSession(own(run, pipeline, code), here, there))

    here.session = session  # type: ignore[method-assign]  # of this one client


@contextmanager
def home_at(folder: Path) -> Iterator[Client]:
    """The home in `folder`, in this process, whatever the environment says of servers."""
    from headway.server.local import local_transport  # noqa: PLC0415

    with connect(home=folder, local=local_transport, env={}) as client:
        yield client


def run_on_samples(
    source: Client, project: Project, name: str, pipeline: Pipeline, params: Mapping[str, Any], folder: Path
) -> tuple[Ran | None, list[str]]:
    """Run it on evenly spaced rows of the newest version of each dataset that the project samples; None when it says
    nothing of samples, or there is nothing to take them of, which the notes tell."""
    if not project.ci.datasets and name not in project.ci.params:
        return None, []
    with tempfile.TemporaryDirectory(prefix="headway-ci-") as place, home_at(Path(place) / "home") as scratch:
        missing = []
        for dataset in project.ci.datasets:
            try:
                _sample(source, scratch, dataset, project.ci.sample_rows)
            except NotFound:
                missing.append(f"{dataset} has no version to take a sample of: {name} was run on all data only")
        if missing:
            return None, missing
        return _ran(scratch, name, pipeline, params, folder)[0].but(sampled=True), []


def _sample(source: Client, scratch: Client, dataset: str, rows: int) -> None:
    version, frame = source.datasets.version(dataset), source.datasets.read(dataset)
    kept = frame if frame.height <= rows else frame[[number * frame.height // rows for number in range(rows)]]
    contract: Contract | None = version.contract
    if contract:
        contract = contract.but(min_rows=min(contract.min_rows, kept.height))
    scratch.datasets.add(dataset, kept, contract=contract)


def run_on_all(
    here: Client, there: Client | None, name: str, pipeline: Pipeline, params: Mapping[str, Any],
    datasets: Iterable[str], folder: Path,
) -> tuple[Ran, list[ModelVersion]]:  # fmt: skip
    """Run it, and give the model versions that it registered. Of `there` it takes data and results of steps."""
    if there is not None:
        for each in datasets:
            _take_over(here, there, each)
    return _ran(here, name, pipeline, params, folder)


def _take_over(here: Client, there: Client, dataset: str) -> None:
    """The newest version, byte by byte, so that what was made of it is found under the same keys."""
    try:
        version, data = there.datasets.version(dataset), there.datasets.parquet(dataset)
    except NotFound:
        return
    with tempfile.TemporaryDirectory(prefix="headway-ci-") as place:
        file = Path(place) / "table.parquet"
        file.write_bytes(data)
        here.datasets.add(dataset, file, contract=version.contract)


def _ran(
    client: Client, name: str, pipeline: Pipeline, params: Mapping[str, Any], folder: Path
) -> tuple[Ran, list[ModelVersion]]:
    steps: dict[str, str] = {}

    def tell(step: StepRun) -> None:
        if step.state in _OVER:
            steps[step.step] = step.state.value

    try:
        run, _ = sdk.run_on(client, pipeline, params, folder=folder, report=tell)
    except HeadwayError as error:
        return Ran(pipeline=name, steps=dict(sorted(steps.items())), error=str(error)), []
    made = [version for version in client.models.versions(limit=100).items if version.run == run]
    return Ran(pipeline=name, steps=dict(sorted(steps.items()))), made
