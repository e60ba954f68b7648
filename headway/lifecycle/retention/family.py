"""What goes with a record when it is purged, and what stands in the way."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from headway.errors import Invalid, NotFound
from headway.kernel.ids import kind_of
from headway.kernel.lineage import LineageStore
from headway.kernel.paging import MOST, every
from headway.kernel.records import Record
from headway.lifecycle.models.records import Model
from headway.lifecycle.models.store import ModelVersionStore, RegistrationStore
from headway.lifecycle.retention.rules import PURGEABLE
from headway.lifecycle.retention.store import KeptRecords, TombstoneStore
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.records import Artifact, Experiment, Run, StepResult
from headway.lifecycle.runs.store import LoggedModelStore, RunStore, TraceStore
from headway.lifecycle.runs.traces import Trace

_OWNERS = (Run, LoggedModel, Trace)


class Families:
    """Reads only. A record's *parts* go with it: the files of a run, the runs of an experiment. Its *dependents* are
    what came from it by lineage and is no part of it; they hold it fast for as long as they are kept."""

    def __init__(
        self, kept: KeptRecords, tombstones: TombstoneStore, lineage: LineageStore, runs: RunStore,
        logged_models: LoggedModelStore, traces: TraceStore, registrations: RegistrationStore,
        model_versions: ModelVersionStore,
    ) -> None:  # fmt: skip
        self._kept, self._tombstones, self._lineage = kept, tombstones, lineage
        self._runs, self._logged_models, self._traces = runs, logged_models, traces
        self._registrations, self._model_versions = registrations, model_versions

    def record(self, identifier: str) -> Record:
        """The record of a kind that may be purged. Raises `NotFound`, telling who purged it, or `Invalid`."""
        kind = PURGEABLE.get(kind_of(identifier))
        body = self._kept.body(identifier)
        if body is None:
            gone = self._tombstones.get(identifier)
            if gone is not None:
                raise NotFound(f"{identifier} was purged by {gone.purged_by} at {gone.created_at:%F %R}: {gone.why}")
            raise NotFound(f"there is nothing with the id {identifier[:100]!r}")
        if kind is None:
            raise Invalid(f"{identifier} belongs to the record of what was delivered, and stays")
        return msgspec.json.decode(body, type=kind)

    def members(self, record: Record) -> list[Record]:
        """Its parts, and parts of parts, each before what it is a part of; the record itself comes last."""
        return [member for part in self._parts(record) for member in self.members(part)] + [record]

    def dependents(self, members: Sequence[Record], inside: Collection[str]) -> list[str]:
        """Ids of what came from the members, is kept and is not `inside`. The cache of steps holds nothing fast."""
        children = (child for member in members for child in self._came_from(member))
        outside = dict.fromkeys(child for child in children if child not in inside)
        return [
            child for child in outside if kind_of(child) != StepResult.prefix and self._kept.body(child) is not None
        ]

    def _came_from(self, record: Record) -> Iterator[str]:
        yield from (edge.child for edge in self._lineage.children(record.id))
        if isinstance(record, Model):
            yield from (version.id for version in self._model_versions.list(record.name).items)

    def _parts(self, record: Record) -> Iterator[Record]:
        if isinstance(record, Experiment):
            yield from self._of_experiment(record)
        elif isinstance(record, Model):
            yield from every(lambda before: self._registrations.list(record.name, limit=MOST, before=before))
        elif isinstance(record, _OWNERS):
            for edge in self._lineage.children(record.id):
                yield from self._owned(record.id, edge.child)

    def _of_experiment(self, experiment: Experiment) -> Iterator[Record]:
        """Newest first, so that a run inside another comes before it."""
        name, identifier = experiment.name, experiment.id
        yield from every(lambda before: self._runs.list(experiment=name, limit=MOST, before=before))
        yield from every(lambda before: self._logged_models.list(identifier, limit=MOST, before=before))
        yield from every(lambda before: self._traces.list(identifier, limit=MOST, before=before))

    def _owned(self, owner: str, child: str) -> Iterator[Artifact | StepResult]:
        kind = PURGEABLE.get(kind_of(child))
        if kind not in (Artifact, StepResult):
            return
        body = self._kept.body(child)
        if body is not None:
            part = msgspec.json.decode(body, type=kind)
            if isinstance(part, Artifact | StepResult) and part.run == owner:
                yield part
