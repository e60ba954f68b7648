"""What one can do with runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from headway.errors import Conflict, LeaseLost, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.leases import Lease, LeaseStore
from headway.kernel.naming import checked_name, checked_path, nearest
from headway.kernel.paging import MOST, Page, checked
from headway.lifecycle.runs.curve import curves
from headway.lifecycle.runs.records import (
    AmendRun,
    Artifact,
    Experiment,
    LogBatch,
    Metric,
    Run,
    RunState,
    StartRun,
    StepLog,
    StepRun,
)
from headway.lifecycle.runs.room import Room
from headway.lifecycle.runs.rules import amended, checked_log, moved, must_be_active, must_be_open, resumed, with_logged
from headway.lifecycle.runs.search import (
    RUNS,
    CountRuns,
    RunCount,
    RunSearch,
    SearchRuns,
    parsed_filter,
    parsed_order,
)
from headway.lifecycle.runs.store import ArtifactStore, ExperimentStore, MetricStore, RunStore

LEASE_S = 10.0


class RunService:
    def __init__(
        self,
        journal: Journal,
        store: RunStore,
        metrics: MetricStore,
        experiments: ExperimentStore,
        artifacts: ArtifactStore,
        blobs: BlobStore,
        leases: LeaseStore,
        room: Room,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._experiments, self._artifacts = journal, store, experiments, artifacts
        self._metrics, self._blobs, self._leases, self._clock, self._ids = metrics, blobs, leases, clock, ids
        self._room = room

    def start(self, command: StartRun, *, by: Actor) -> Run:
        """Create a run; with a `change`, the run of this pipeline that the change has already is returned."""
        by.must(Permission.WRITE)
        now = self._clock.now()
        with self._journal.act(by.name, "run.start") as act:
            if command.change and not command.parent:
                known = self._store.list(change=command.change, parent="", limit=1).items
                if known:
                    return known[0]
            self._ensure_experiment(act, command.experiment)
            self._room.for_run(command.experiment)
            run = Run(
                id=self._ids(Run.prefix),
                created_at=now,
                experiment=command.experiment,
                name=command.name or command.pipeline,
                pipeline=command.pipeline,
                parent=command.parent,
                change=command.change,
                code=command.code,
                started_by=by.name,
                user=command.user,
            )
            run = with_logged(run, LogBatch(params=command.params, tags=command.tags))
            if command.running:
                run = moved(run, RunState.RUNNING, command.started_at or now)
            return act.save(self._store, run, came_from=[command.parent, command.change])

    def _ensure_experiment(self, act: Act, name: str) -> None:
        known = self._experiments.named(name)
        if known is not None and known.deleted_at is not None:
            raise Conflict(f"experiment {name!r} is deleted; restore it, or choose another")
        if known is None:
            checked_name(name, "experiment")
            made = Experiment(id=self._ids(Experiment.prefix), created_at=self._clock.now(), name=name)
            act.save(self._experiments, made)

    def get(self, identifier: str) -> Run:
        run = self._store.get(identifier)
        if run is None:
            raise NotFound(f"no run {identifier!r}; `headway run list` shows what there is")
        return run

    def list(
        self,
        *,
        experiment: str | None = None,
        parent: str | None = None,
        change: str | None = None,
        state: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Page[Run]:
        return self._store.list(
            experiment=experiment, parent=parent, change=change, state=state, limit=limit, before=before
        )

    def experiments(self, *, limit: int = 100, before: str | None = None) -> Page[Experiment]:
        return self._experiments.all(limit=limit, before=before)

    def search(self, command: SearchRuns) -> Page[Run]:
        """A page of the runs that fit, in the order asked for, without those that other pages hold, whatever is
        written meanwhile. Raises `Invalid` for a filter that cannot be read and for an `after` of another search,
        `NotFound` for an experiment that is not there."""
        question = self._question(command).but(
            order=parsed_order(command.order, RUNS), limit=checked(command.limit), after=command.after
        )
        return self.found(question)

    def found(self, question: RunSearch) -> Page[Run]:
        """As `search`, for a question that is read already."""
        return self._store.search(question)

    def count(self, command: CountRuns) -> RunCount:
        """How many runs fit. Raises `Invalid` for a filter that cannot be read, `NotFound` for an experiment that is
        not there."""
        return RunCount(runs=self._store.count(self._question(command)))

    def _question(self, command: CountRuns) -> RunSearch:
        names = command.experiments or tuple(self._known(deleted=command.deleted is not False))
        for name in command.experiments:
            if self._experiments.named(name) is None:
                known = nearest(name, self._known(deleted=True))
                raise NotFound(f"no experiment {name[:200]!r}{known}; `headway experiment list` shows what there is")
        return RunSearch(experiments=names, where=parsed_filter(command.where, RUNS), deleted=command.deleted)

    def _known(self, *, deleted: bool) -> Iterator[str]:
        before = None
        while True:
            page = self._experiments.all(limit=MOST, before=before)
            yield from (each.name for each in page.items if deleted or each.deleted_at is None)
            before = page.next
            if before is None:
                return

    def amend(self, identifier: str, amendment: AmendRun, *, by: Actor) -> Run:
        """Rename, tag, or add inputs and models; the same again changes nothing."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "run.amend") as act:
            run = self.get(identifier)
            after = amended(run, amendment)
            used = [use.model for use in (*amendment.models_read, *amendment.models_written)]
            return run if after == run else act.save(self._store, after, came_from=used)

    def resume(self, identifier: str, *, by: Actor) -> Run:
        """Let a run that is over go on; raises `Conflict` for one of a pipeline or a change."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "run.resume") as act:
            run = self.get(identifier)
            return act.save(self._store, resumed(run)) if run.over else run

    def delete(self, identifier: str, *, by: Actor) -> Run:
        """Put a run aside; it stays in the ledger and in lineage, and can be restored."""
        return self._set_deleted(identifier, self._clock.now(), "run.delete", by)

    def restore(self, identifier: str, *, by: Actor) -> Run:
        return self._set_deleted(identifier, None, "run.restore", by)

    def _set_deleted(self, identifier: str, at: datetime | None, verb: str, by: Actor) -> Run:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, verb) as act:
            run = self.get(identifier)
            if (run.deleted_at is None) is (at is None):
                return run
            return act.save(self._store, run.but(deleted_at=at))

    def log(self, identifier: str, batch: LogBatch, *, by: Actor, late: bool = False) -> None:
        """Add params, tags and metric points. Raises `Invalid` when the run is deleted, and `Conflict` when it is over,
        with `late` only when it belongs to a pipeline or a change besides."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "run.log") as act:
            run = self.get(identifier)
            must_be_active(run)
            must_be_open(run)
            if run.over and not late:
                raise Conflict(f"run {identifier} is {run.state}; start a new run to log more")
            logged = with_logged(run, batch)
            if logged is not run:
                act.save(self._store, logged)
            if batch.metrics:
                self._room.for_points(identifier, len(batch.metrics))
                self._metrics.add({(identifier, key): curve for key, curve in curves(batch.metrics).items()})

    def metrics(self, identifiers: Sequence[str]) -> dict[str, dict[str, float]]:
        """The last value of each metric, by run and key."""
        return self._metrics.latest(identifiers)

    def history(self, identifier: str, key: str, *, limit: int = 1000, after: int = 0) -> Sequence[tuple[int, Metric]]:
        self.get(identifier)
        return list(enumerate(self._metrics.curve(identifier, key, limit=limit, after=after).metrics(key), after + 1))

    def claim(self, identifier: str, holder: str) -> Lease:
        """Take or prolong the lease on a run; raises `LeaseLost` while another worker holds it."""
        self.get(identifier)
        lease = self._leases.take(f"run/{identifier}", holder, self._clock.now(), LEASE_S)
        if lease is None:
            raise LeaseLost(f"another worker holds run {identifier}")
        return lease

    def orphaned(self, identifier: str) -> bool:
        """Whether no worker holds the run now."""
        probe = self._leases.take(f"run/{identifier}", "probe", self._clock.now(), 0.0)
        return probe is not None

    def move(
        self, identifier: str, state: RunState, *, by: Actor, error: str = "", token: int | None = None,
        at: datetime | None = None,
    ) -> Run:  # fmt: skip
        """Move a run to `state`, now or `at` a time that has been.

        With `token`, only while that lease is the newest: a late worker gets `LeaseLost`.
        """
        by.must(Permission.WRITE)
        with self._journal.act(by.name, f"run.{state}", why=error[:1000]) as act:
            if token is not None and not self._leases.held(f"run/{identifier}", token):
                raise LeaseLost(f"run {identifier} was handed to another worker")
            run = self.get(identifier)
            after = moved(run, state, at or self._clock.now(), error[:4000])
            if after is not run:
                act.save(self._store, after)
                if after.over and (run.pipeline or run.change):  # nobody listens to the end of what was only tracked
                    act.emit("RunEnded", run.id, state=state, change=run.change)
            return after

    def progress(self, identifier: str, steps: Sequence[StepRun], *, by: Actor) -> None:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "run.progress"):
            self.get(identifier)
            self._store.put_steps(identifier, steps)

    def steps(self, identifier: str) -> Sequence[StepRun]:
        self.get(identifier)
        return self._store.steps(identifier)

    def add_log(self, identifier: str, step: str, text: str, *, by: Actor) -> StepLog:
        """Append a part of what a step printed. Raises `Invalid` for one that is too long."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "run.print"):
            self.get(identifier)
            at = self._clock.now()
            number = self._store.add_log(identifier, step, at, checked_log(text))
            return StepLog(number=number, step=step, at=at, text=text)

    def logs(self, identifier: str, *, step: str | None = None, after: int = 0, limit: int = 100) -> Sequence[StepLog]:
        """What the steps of a run, or one of them, have printed, behind the part numbered `after`."""
        self.get(identifier)
        return self._store.logs(identifier, step=step, after=after, limit=checked(limit))

    def add_artifact(self, identifier: str, name: str, blob: str, *, by: Actor, media_type: str = "") -> Artifact:
        """Name a blob as an output of a run; the same name again replaces. Raises `Invalid` for a name that leads
        elsewhere, because clients may write files by it."""
        by.must(Permission.WRITE)
        checked_path(name)
        size = len(self._blobs.get(checked_digest(blob)))
        with self._journal.act(by.name, "run.artifact") as act:
            self.get(identifier)
            must_be_kept(self._blobs, blob)
            known = self._artifacts.named(identifier, name)
            artifact = Artifact(
                id=known.id if known else self._ids(Artifact.prefix),
                created_at=self._clock.now(),
                run=identifier,
                name=name,
                blob=blob,
                size=size,
                media_type=media_type or "application/octet-stream",
            )
            return act.save(self._artifacts, artifact, came_from=[identifier])

    def artifacts(self, identifier: str) -> Sequence[Artifact]:
        self.get(identifier)
        return [artifact for artifact in self._artifacts.list(identifier) if artifact.removed_at is None]
