"""Which data a model version came from, however far back, and the tags that these data bear.

The walk goes from its training data and its run to what they came from by lineage, and from each run to every dataset
version that it read, also through steps whose result was found in the cache. A run that read two datasets and wrote a
third passes on the tags of both: which one a row came from cannot be known, and a tag that is too many can be seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from headway.errors import NotFound
from headway.kernel.access import Actor
from headway.kernel.ids import kind_of
from headway.kernel.lineage import LineageStore
from headway.kernel.records import Value
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.datasets.store import DatasetVersionStore
from headway.lifecycle.models.service import ModelService
from headway.lifecycle.runs.records import AmendRun, Input, Run, StepState
from headway.lifecycle.runs.service import RunService
from headway.lifecycle.runs.store import StepResultStore

READ_HERE = "headway"
"""The `source_type` of a run's input that is a dataset version of this platform; `source` is its id."""
_FARTHEST = 10_000


class Tagged(Value):
    """A tag, and what bears it: a column of a dataset version, or all of it where `column` is empty."""

    tag: str
    dataset: str
    """The dataset version as `name@number`."""
    column: str = ""


class Origins(Value):
    """`datasets` are the ids of the dataset versions that a model version came from, nearest first."""

    datasets: tuple[str, ...]
    tags: tuple[Tagged, ...]
    complete: bool
    """Whether the walk came to its end: beyond 10,000 records it is not gone on."""


class OriginService:
    def __init__(
        self, models: ModelService, datasets: DatasetVersionStore, runs: RunService, results: StepResultStore,
        lineage: LineageStore,
    ) -> None:  # fmt: skip
        self._models, self._datasets, self._runs, self._results = models, datasets, runs, results
        self._lineage = lineage

    def note_read(self, run: str, version: str, *, by: Actor) -> Run:
        """Note that a run has read a dataset version, by its id."""
        found = self._datasets.get(version)
        if found is None:
            raise NotFound(f"no dataset version {version!r}; `headway dataset list` shows what there is")
        read = Input(name=found.dataset, digest=found.blob, source_type=READ_HERE, source=found.id)
        return self._runs.amend(run, AmendRun(inputs=(read,)), by=by)

    def of(self, reference: str) -> Origins:
        """By id, `name` (the newest) or `name@number` of a model version."""
        version = self._models.version(reference)
        waiting = deque(dict.fromkeys([*version.training, version.run]))
        seen, found = set(waiting), []
        while waiting and len(seen) < _FARTHEST:
            identifier = waiting.popleft()
            if kind_of(identifier) == DatasetVersion.prefix:
                dataset = self._datasets.get(identifier)
                found += [dataset] if dataset else []
            for before in self._before(identifier):
                if before not in seen:
                    seen.add(before)
                    waiting.append(before)
        tags = dict.fromkeys(tag for dataset in found for tag in _borne(dataset))
        return Origins(datasets=tuple(dataset.id for dataset in found), tags=tuple(tags), complete=not waiting)

    def _before(self, identifier: str) -> Iterator[str]:
        kind = kind_of(identifier)
        if kind == DatasetVersion.prefix:
            parents = [edge.parent for edge in self._lineage.parents(identifier)]
            yield from (each for each in parents if kind_of(each) in (DatasetVersion.prefix, Run.prefix))
        elif kind == Run.prefix:
            yield from self._read_by(identifier)

    def _read_by(self, identifier: str) -> Iterator[str]:
        with suppress(NotFound):  # a run that was purged
            inputs = self._runs.get(identifier).inputs
            yield from (each.source for each in inputs if each.source_type == READ_HERE)
            for step in self._runs.steps(identifier):
                result = self._results.keyed(step.key) if step.state is StepState.CACHED else None
                if result is not None:
                    yield result.run


def _borne(version: DatasetVersion) -> Iterator[Tagged]:
    if version.contract is not None:
        yield from (Tagged(tag=tag, dataset=version.label) for tag in version.contract.tags)
        for rule in version.contract.columns:
            yield from (Tagged(tag=tag, dataset=version.label, column=rule.name) for tag in rule.tags)
