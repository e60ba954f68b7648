"""What one can do about space: say how long things are kept, and sweep out what has had its time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby, islice

from headway.errors import Conflict, Invalid, Refused
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.ledger import LedgerStore
from headway.kernel.paging import Page
from headway.kernel.quotas import Quotas
from headway.kernel.records import Record
from headway.lifecycle.models.records import Model
from headway.lifecycle.retention.collection import MOST_MISSING, Collection, Leftovers
from headway.lifecycle.retention.declared import Declared
from headway.lifecycle.retention.due import Due, due
from headway.lifecycle.retention.policy import Retention, RetentionPolicy
from headway.lifecycle.retention.records import Explained, Sweep, Swept, Tally, Usage
from headway.lifecycle.retention.service import RetentionService
from headway.lifecycle.retention.store import KeptRecords, PolicyStore, SweepStore
from headway.lifecycle.runs.records import Experiment

A_DAY_S = 86_400.0
MOST_EXPLAINED = 100_000
_LONGEST_S = 36_500 * A_DAY_S
_NO_QUOTAS = Quotas()
_AT_ONCE = 100
"""Records that one act lets go of at most."""


class SweepService:
    def __init__(
        self, journal: Journal, sweeps: SweepStore, policies: PolicyStore, declared: Declared, kept: KeptRecords,
        ledger: LedgerStore, blobs: BlobStore, leftovers: Leftovers, retention: RetentionService, clock: Clock,
        ids: Ids,
    ) -> None:  # fmt: skip
        self._journal, self._sweeps, self._policies, self._kept = journal, sweeps, policies, kept
        self._ledger, self._blobs, self._leftovers, self._retention = ledger, blobs, leftovers, retention
        self._declared, self._clock, self._ids = declared, clock, ids
        self._one = threading.Lock()

    def declare(self, policy: RetentionPolicy, quotas: Quotas = _NO_QUOTAS, *, by: Actor) -> None:
        """Let these hold from now on; what holds already is not written again."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "retention.declare") as act:
            if (policy, quotas) != (self.policy(), self.quotas()):
                now = self._clock.now()
                declared = Retention(
                    id=self._ids(Retention.prefix), created_at=now, policy=policy, quotas=quotas, declared_by=by.name
                )  # fmt: skip
                act.save(self._policies, declared)
        self._declared.forget()

    def policy(self) -> RetentionPolicy:
        """What holds now; everything is kept where none was declared."""
        declared = self._declared.now()
        return declared.policy if declared else RetentionPolicy()

    def quotas(self) -> Quotas:
        declared = self._declared.now()
        return declared.quotas if declared else Quotas()

    def usage(self) -> Usage:
        """What is kept, and how much may be."""
        return Usage(blobs=self._blobs.used(), quotas=self.quotas())

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Sweep]:
        """Sweeps that changed something, newest first."""
        return self._sweeps.list(limit=limit, before=before)

    def sweep(self, *, by: Actor, older_than_s: float = A_DAY_S, dry_run: bool = False, explain: int = 0) -> Swept:
        """Purge what the policy says, then collect blobs that no record has and that are older than `older_than_s`.

        With `dry_run` nothing is changed, and what would be purged still counts as a holder of its blobs. `explain` is
        how many blobs are explained in the answer. Raises `Conflict` while another sweep goes on here.
        """
        by.must(Permission.OPERATE)
        if not 0 <= older_than_s <= _LONGEST_S or not 0 <= explain <= MOST_EXPLAINED:
            raise Invalid(f"older_than_s is from 0 to {_LONGEST_S:.0f}, explain from 0 to {MOST_EXPLAINED}")
        if not self._one.acquire(blocking=False):
            raise Conflict("a collection goes on already; look again when it is done")
        try:
            return self._swept(by, older_than_s, dry_run, explain)
        finally:
            self._one.release()

    def _swept(self, by: Actor, older_than_s: float, dry_run: bool, explain: int) -> Swept:
        now, explained, seen = self._clock.now(), list[Explained](), Counter[str]()

        def tell(blob: Explained) -> None:
            seen["blobs"] += 1
            if len(explained) < explain:
                explained.append(blob)

        purged, refused = self._carry_out(by, dry_run)
        collection = Collection(
            self._journal, self._ledger, self._kept, self._blobs, now=now, older_than_s=older_than_s, dry_run=dry_run,
            explain=tell if explain else None,
        )  # fmt: skip
        collection.run(by)
        sweep = Sweep(
            id=self._ids(Sweep.prefix), created_at=now, swept_by=by.name, older_than_s=older_than_s, dry_run=dry_run,
            purged=dict(purged), refused=dict(refused), blobs=collection.tallies,
            leftovers=self._tidy(older_than_s, dry_run), missing=len(collection.missing),
        )  # fmt: skip
        if not dry_run and not sweep.idle:
            with self._journal.act(by.name, "sweep.record") as act:
                act.save(self._sweeps, sweep)
        missing = tuple(collection.missing[:MOST_MISSING])
        return Swept(
            sweep=sweep, missing=missing, explained=tuple(explained), unexplained=seen["blobs"] - len(explained)
        )  # fmt: skip

    def _carry_out(self, by: Actor, dry_run: bool) -> tuple[Counter[str], Counter[str]]:
        """What the policy has purged, and what it would have but something came from it; by rule."""
        purged, refused, policy = Counter[str](), Counter[str](), self.policy()
        sizes = {blob.digest: blob.size for blob in self._blobs.all()} if policy.step_results_bytes is not None else {}
        for (rule, kind), found in groupby(
            due(policy, self._clock.now(), self._kept, sizes), key=lambda each: (each.rule, type(each.record))
        ):
            why = f"retention: {rule} = {getattr(policy, rule):g}"
            for group in _in_groups(found, 1 if kind in (Experiment, Model) else _AT_ONCE):
                gone = len(group) if dry_run else self._purge(group, why, by)
                purged[rule] += gone
                refused[rule] += len(group) - gone
        return +purged, +refused

    def _purge(self, group: Sequence[Record], why: str, by: Actor) -> int:
        if type(group[0]) not in (Experiment, Model):
            return self._retention.expire([record.id for record in group], why, by=by)
        try:
            self._retention.purge(group[0].id, why, by=by)
        except Refused:
            return 0
        return 1

    def _tidy(self, older_than_s: float, dry_run: bool) -> Tally:
        """Remove what uploads left behind that were cut off: as old as blobs have to be."""
        tally, limit = Tally(), self._clock.now() - timedelta(seconds=older_than_s)
        for leftover in list(self._leftovers.found()):
            if leftover.at <= limit:
                tally = tally.plus(leftover.size)
                if not dry_run:
                    self._leftovers.remove(leftover.name)
        return tally


def _in_groups(found: Iterator[Due], size: int) -> Iterator[list[Record]]:
    while group := [each.record for each in islice(found, size)]:
        yield group
