"""What one can do with what is no longer wanted: put it aside, take it back, or purge it for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway.errors import NotFound, Refused
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import kind_of
from headway.kernel.journal import Act, Journal, Keeps
from headway.kernel.paging import Page
from headway.kernel.records import Record, digest
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.datasets.store import DatasetStore
from headway.lifecycle.models.records import Model, ModelVersion, Registration
from headway.lifecycle.models.registry import RegistryService
from headway.lifecycle.models.store import ModelStore
from headway.lifecycle.retention.family import Families
from headway.lifecycle.retention.records import Purged, Standing, Tombstone
from headway.lifecycle.retention.rules import (
    WORDS,
    checked_reason,
    must_be_aside,
    must_be_free,
    name_of,
    numbered_after,
    put_aside,
)
from headway.lifecycle.retention.store import KeptRecords, TombstoneStore
from headway.lifecycle.runs.experiments import ExperimentService
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.logged_models import LoggedModelService
from headway.lifecycle.runs.records import Artifact, Experiment, Run
from headway.lifecycle.runs.service import RunService
from headway.lifecycle.runs.traces import Trace
from headway.lifecycle.runs.tracing import TraceService

_AT_ONCE = 200
"""Records that one act purges at most: other writers wait no longer than that."""


@dataclass(frozen=True)
class Tracking:
    """What things are put aside with."""

    registry: RegistryService
    experiments: ExperimentService
    runs: RunService
    logged_models: LoggedModelService
    traces: TraceService


@dataclass(frozen=True)
class RetentionStores:
    """`of` are the stores of what can be put aside, by id prefix."""

    kept: KeptRecords
    tombstones: TombstoneStore
    datasets: DatasetStore
    models: ModelStore
    of: Mapping[str, Keeps[Any]]


class RetentionService:
    """Things are named by their id, which says what kind they are of."""

    def __init__(
        self, journal: Journal, stores: RetentionStores, families: Families, tracking: Tracking, clock: Clock
    ) -> None:
        self._journal, self._stores, self._families, self._tracking = journal, stores, families, tracking
        self._clock = clock

    def delete(self, identifier: str, *, by: Actor) -> Standing:
        """Put something aside: it is shown no more, and can be restored until it is purged. A version of a dataset or a
        model is refused while anything came from it."""
        by.must(Permission.WRITE)
        record = self._families.record(identifier)
        if not put_aside(record):
            self._put_aside(record, by)
        return _standing(self._families.record(identifier))

    def _put_aside(self, record: Record, by: Actor) -> None:
        """By the service of its stage, with the rules that it has there."""
        services = self._tracking
        if isinstance(record, DatasetVersion | ModelVersion):
            self._set_deleted(record, by)
        elif isinstance(record, Experiment):
            services.experiments.delete(record.id, by=by)
        elif isinstance(record, Run):
            services.runs.delete(record.id, by=by)
        elif isinstance(record, LoggedModel):
            services.logged_models.delete(record.id, by=by)
        elif isinstance(record, Trace):
            services.traces.delete(record.request, by=by)
        elif isinstance(record, Model):
            services.registry.delete(record.name, by=by)
        elif isinstance(record, Registration):
            services.registry.remove(record.model, record.number, by=by)
        else:
            raise Refused(f"{name_of(record)} is deleted with what it belongs to, not by itself")

    def restore(self, identifier: str, *, by: Actor) -> Standing:
        """Take back what was put aside; what was not stays as it is."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "record.restore") as act:
            record = self._families.record(identifier)
            store = self._stores.of.get(kind_of(identifier))
            if store is not None and put_aside(record):
                record = record.but(**{"removed_at" if isinstance(record, Artifact) else "deleted_at": None})
                act.save(store, record)
            return _standing(record)

    def purge(self, identifier: str, why: str, *, by: Actor) -> Purged:
        """Remove something that was put aside, with its parts, for good; what is left of each is a tombstone.

        Needs the right to operate. Raises `Refused` for what is in use, or what anything that is kept came from. The
        bytes go with the next collection. Cut short, it is finished by saying it again.
        """
        by.must(Permission.OPERATE)
        checked_reason(why)
        found = self._families.record(identifier)
        members = self._families.members(found)
        inside = {member.id for member in members}
        must_be_aside(found)
        must_be_free(found, self._families.dependents(members, inside), "purged")
        for start in range(0, len(members), _AT_ONCE):
            group = members[start : start + _AT_ONCE]
            with self._journal.act(by.name, "record.purge", why=why) as act:
                must_be_aside(self._families.record(found.id))  # it may have been taken back, or built on, meanwhile
                must_be_free(found, self._families.dependents(group, inside), "purged")
                for member in group:
                    self._bury(act, member.id, found.id, by, why)
        return Purged(tombstone=self.tombstone(identifier), records=len(members))

    def expire(self, identifiers: Sequence[str], why: str, *, by: Actor) -> int:
        """Purge what has had its time, in one act, whether it was deleted or not; tells how many went. What something
        came from stays."""
        by.must(Permission.OPERATE)
        gone = 0
        with self._journal.act(by.name, "record.expire", why=why) as act:
            for identifier in identifiers:
                if self._stores.kept.body(identifier) is None:  # it went as a part of another
                    continue
                members = self._families.members(self._families.record(identifier))
                if not self._families.dependents(members, {member.id for member in members}):
                    for member in members:
                        self._bury(act, member.id, identifier, by, why)
                    gone += 1
        return gone

    def tombstones(self, kind: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Tombstone]:
        return self._stores.tombstones.list(kind, limit=limit, before=before)

    def tombstone(self, identifier: str) -> Tombstone:
        found = self._stores.tombstones.get(identifier)
        if found is None:
            raise NotFound(f"nothing with the id {identifier[:100]!r} was purged")
        return found

    def _set_deleted(self, record: Record, by: Actor) -> None:
        with self._journal.act(by.name, f"{WORDS[type(record)]}.delete") as act:
            must_be_free(record, self._families.dependents([record], ()), "deleted")
            aside = self._families.record(record.id).but(deleted_at=self._clock.now())
            act.save(self._stores.of[record.prefix], aside)

    def _bury(self, act: Act, identifier: str, whole: str, by: Actor, why: str) -> None:
        """Let go of one record, and put a tombstone in its place, which the ledger seals under the same id."""
        record, body = self._families.record(identifier), self._stores.kept.body(identifier)
        if isinstance(record, DatasetVersion):
            self._keep_number(act, self._stores.datasets, self._stores.datasets.named(record.dataset), record.number)
        elif isinstance(record, ModelVersion | Registration):
            self._keep_number(act, self._stores.models, self._stores.models.named(record.model), record.number)
        self._stores.kept.remove(identifier)
        tombstone = Tombstone(
            id=identifier, created_at=self._clock.now(), kind=record.prefix, name=name_of(record),
            made_at=record.created_at, sealed=digest(body or b""), purged_by=by.name, why=why,
            purged_with="" if identifier == whole else whole,
        )  # fmt: skip
        act.save(self._stores.tombstones, tombstone)

    def _keep_number(self, act: Act, store: Keeps[Any], line: Record | None, number: int) -> None:
        if line is not None and numbered_after(line, number) != line:
            act.save(store, numbered_after(line, number))


def _standing(record: Record) -> Standing:
    return Standing(id=record.id, kind=record.prefix, name=name_of(record), deleted=put_aside(record))
