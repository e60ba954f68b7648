"""The import itself: reads from a source, hands in to the platform, and leaves alone what it has taken before.

Whatever is cut off is taken up by the next import: a run is settled only when its points and files are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from headway.client.client import Client
from headway.client.mlflow.files import Files
from headway.client.mlflow.histories import take_histories
from headway.client.mlflow.places import Places
from headway.client.mlflow.source import Source, Told
from headway.client.mlflow.translate import experiment_of, logged_model_of, model_of, run_of, trace_of
from headway.errors import Conflict, Invalid, NotFound
from headway.kernel.records import Value, encode
from headway.lifecycle.runs.imported import SEEN, Brought, ImportedRun

Kind = TypeVar("Kind")
Sized = TypeVar("Sized", bound=Value)
Report = Callable[[str, int], None]
"""Hears of each page: the experiment's name and how many of its runs were looked at."""
_HERE = ("mlflow-artifacts:/", "models:/", "dummy-source", "prompt-template")
"""Sources of versions whose files are here, or that have none."""
_THREADS = 8
_MODELS_AT_ONCE = 50
_MOST_BYTES = 4 << 20


@dataclass
class Taken:
    """What an import has done: how many of each were taken, how many were there, and what was left out and why."""

    counts: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    left: list[tuple[str, str]] = field(default_factory=list)

    def leave(self, what: str, why: str) -> None:
        self.left.append((what, why))


@dataclass(frozen=True)
class Choice:
    """What to take: of all experiments or those named, with what is deleted there or without, or only to look."""

    experiments: Collection[str] = ()
    deleted: bool = False
    dry_run: bool = False
    again: bool = False
    """Take points and files also of what was taken and seems unchanged."""


class MlflowImport:
    def __init__(self, source: Source, client: Client, choice: Choice, report: Report | None = None) -> None:
        self._source, self._client, self._choice, self._report = source, client, choice, report
        self._places = Places(source, deleted=choice.deleted)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="headway-import")
        self.taken = Taken()
        self._files = Files(source, client, self._pool, self.taken.leave, self._took)

    def run(self) -> Taken:
        """Take everything; raises `Unreachable` when the source or the platform goes away, to be called again then."""
        with self._pool:
            for told in self._wanted():
                self._experiment(told)
            self._registry()
        return self.taken

    def _wanted(self) -> list[Told]:
        found = list(self._source.experiments(deleted=self._choice.deleted))
        missing = set(self._choice.experiments) - {each["name"] for each in found}
        if missing:
            raise NotFound(f"{self._source.uri} has no experiment {min(missing)!r}")
        return [each for each in found if not self._choice.experiments or each["name"] in self._choice.experiments]

    def _experiment(self, told: Told) -> None:
        name, source = told["name"], self._source.uri
        try:
            here = "" if self._choice.dry_run else self._client.imports.experiment(source, experiment_of(told)).id
        except (Conflict, Invalid) as error:
            self.taken.leave(f"experiment {name!r}", str(error))
            return
        self.taken.counts["experiments"] += 1
        shown = self._places.add_experiment(told, here)
        identifier = str(told["experiment_id"])
        models = list(self._source.logged_models(identifier))
        for model in models:
            self._places.add_model(model)
        looked = 0
        for page in self._source.runs(identifier, deleted=self._choice.deleted):
            self._runs(page, name)
            looked += len(page)
            if self._report:
                self._report(name, looked)
        self._models(models, name)
        if not self._choice.dry_run:
            self._traces(identifier, name, shown)

    def _runs(self, page: list[Told], experiment: str) -> None:
        for told in page:
            self._places.add_run(told)
        runs = [run_of(told, experiment, self._places.run, self._places.model, self.taken.leave) for told in page]
        if self._choice.dry_run:
            self._look(runs)
            return
        brought = self._hand_in(runs, settled=False)
        fresh = self._fresh("runs", zip(page, runs, strict=True), brought)
        if not fresh:
            return
        page = [told for told, _ in fresh]
        points = take_histories(self._source, self._client, page, self._places.run, self._pool)
        begun = {one.id: one for one in brought}
        whole = self._files.of_runs((told, begun[run.id]) for told, run in fresh)
        settled = [run if run.id in whole else run.but(digest="") for _, run in fresh]
        self._hand_in(settled, settled=True)
        self.taken.counts["metric points"] += points
        self.taken.counts["params"] += sum(len(run.params) for run in settled)
        self.taken.counts["dataset inputs"] += sum(len(run.inputs) for run in settled)

    def _hand_in(self, runs: Sequence[ImportedRun], *, settled: bool) -> list[Brought]:
        source, imports = self._source.uri, self._client.imports
        return [one for part in _parcels(runs) for one in imports.runs(source, part, settled=settled)]

    def _fresh(
        self, what: str, pairs: Iterable[tuple[Told, Kind]], brought: Iterable[Brought]
    ) -> list[tuple[Told, Kind]]:
        every = list(zip(pairs, brought, strict=True))
        fresh = [pair for pair, one in every if self._choice.again or not one.seen]
        self.taken.counts[what] += len(fresh)
        self.taken.known[what] += len(every) - len(fresh)
        return fresh

    def _look(self, runs: list[ImportedRun]) -> None:
        for run in runs:
            try:
                seen = bool(run.digest) and self._client.runs.get(run.id).tags.get(SEEN) == run.digest
            except NotFound:
                seen = False
            (self.taken.known if seen else self.taken.counts)["runs"] += 1

    def _models(self, every: list[Told], experiment: str) -> None:
        source = self._source.uri
        if self._choice.dry_run:
            self.taken.counts["logged models"] += len(every)
            return
        for start in range(0, len(every), _MODELS_AT_ONCE):
            page = every[start : start + _MODELS_AT_ONCE]
            models = [logged_model_of(told, experiment, self._places.run, self.taken.leave) for told in page]
            brought = self._client.imports.logged_models(source, models, settled=False)
            fresh = self._fresh("logged models", zip(page, models, strict=True), brought)
            whole = self._files.of_models((told, model.id) for told, model in fresh)
            settled = [model if model.id in whole else model.but(digest="") for _, model in fresh]
            if settled:
                self._client.imports.logged_models(source, settled, settled=True)

    def _traces(self, experiment: str, name: str, shown: str) -> None:
        if unread := self._source.unread_traces(experiment):
            self.taken.leave(
                f"{unread} traces of experiment {name!r}", "they are read from a server only; start one on it"
            )
        for page in self._source.traces(experiment):
            traces = [trace_of(told, name, shown, self.taken.leave) for told in page]
            source, imports = self._source.uri, self._client.imports
            brought = [one for part in _parcels(traces) for one in imports.traces(source, part)]
            fresh = self._fresh("traces", zip(page, traces, strict=True), brought)
            ids = {trace.request: one.id for trace, one in zip(traces, brought, strict=True)}
            self._files.of_traces((told, ids[trace.request]) for told, trace in fresh)

    def _registry(self) -> None:
        """Registered models; of chosen experiments, only the versions that are of a run that was taken."""
        for told in self._source.models():
            if self._choice.experiments:
                told = told | {"versions": [each for each in told["versions"] if self._places.of_version(each)[1]]}
                if not told["versions"]:
                    continue
            self._registered(told)

    def _registered(self, told: Told) -> None:
        model = model_of(told, self._places.of_version)
        self.taken.counts["registered models"] += 1
        if self._choice.dry_run:
            self.taken.counts["model versions"] += len(model.versions)
            return
        try:
            brought = self._client.imports.model(self._source.uri, model)
        except (Conflict, Invalid) as error:
            self.taken.leave(f"model {model.name!r}", str(error))
            return
        self.taken.counts["model versions"] += brought.written
        self.taken.known["model versions"] += len(model.versions) - brought.written - len(brought.taken)
        for number in brought.taken:
            self.taken.leave(f"version {number} of {model.name!r}", "another version has this number here")
        for version in model.versions:
            if version.number not in brought.taken and not version.source.startswith(_HERE):
                self.taken.leave(
                    f"files of version {version.number} of {model.name!r}", f"they are at {version.source}"
                )

    def _took(self, size: int) -> None:
        self.taken.counts["files"] += 1
        self.taken.counts["bytes"] += size


def _parcels(items: Sequence[Sized]) -> Iterator[list[Sized]]:
    """In parts that fit into a request: what runs say of their datasets may be megabytes each."""
    part: list[Sized] = []
    size = 0
    for item in items:
        own = len(encode(item))
        if part and size + own > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += own
    if part:
        yield part
