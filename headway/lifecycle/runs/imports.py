"""Taking over what another tracker knows, in two steps: `begin`, and, once points and files have followed, `settle`.

What was begun and never settled is taken again by the next import; what was settled and has not changed is left alone.
Ids follow from the source's own ids, so that nothing comes twice, from whatever address it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway.errors import Conflict, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids, derived
from headway.kernel.journal import Act, Journal
from headway.kernel.naming import checked_path
from headway.lifecycle.runs.imported import (
    BEGUN,
    SEEN,
    SOURCE,
    SOURCE_ID,
    Brought,
    ImportedArtifact,
    ImportedExperiment,
    ImportedLoggedModel,
    ImportedRun,
    ImportedTrace,
)
from headway.lifecycle.runs.logged import LoggedModel, LoggedModelState
from headway.lifecycle.runs.records import Artifact, Experiment, Run, RunState
from headway.lifecycle.runs.rules import check_texts, checked_title
from headway.lifecycle.runs.store import ArtifactStore, ExperimentStore, LoggedModelStore, RunStore, TraceStore
from headway.lifecycle.runs.traces import Trace


class RunImportService:
    """`source` is where something was read; the ledger gives it as the reason of each write."""

    def __init__(
        self, journal: Journal, experiments: ExperimentStore, runs: RunStore, artifacts: ArtifactStore,
        models: LoggedModelStore, traces: TraceStore, blobs: BlobStore, clock: Clock, ids: Ids,
    ) -> None:  # fmt: skip
        self._journal, self._experiments, self._runs, self._artifacts = journal, experiments, runs, artifacts
        self._models, self._traces, self._blobs, self._clock, self._ids = models, traces, blobs, clock, ids

    def experiment(self, told: ImportedExperiment, source: str, *, by: Actor) -> Experiment:
        """The experiment of this name, made if need be, with the tags it has there. Raises `Conflict` for one that was
        deleted here alone."""
        by.must(Permission.WRITE)
        checked_title(told.name, "experiment")
        check_texts(told.tags)
        with self._journal.act(by.name, "experiment.import", why=f"from {source}") as act:
            known, now = self._experiments.named(told.name), self._clock.now()
            if known is not None and known.deleted_at is not None and not told.deleted:
                raise Conflict(f"experiment {told.name!r} is deleted here; restore it, and import again")
            before = known or Experiment(
                id=derived(Experiment.prefix, told.created_at, told.name), created_at=told.created_at, name=told.name,
                tags={SOURCE: source, SOURCE_ID: told.source_id},
            )  # fmt: skip
            after = before.but(tags=before.tags | told.tags)
            if told.deleted and after.deleted_at is None and SOURCE in after.tags:
                after = after.but(deleted_at=now)
            return after if after == known else act.save(self._experiments, after.but(updated_at=now))

    def begin_runs(self, told: Sequence[ImportedRun], source: str, *, by: Actor) -> list[Brought]:
        """See that each run is there and takes points, until it is settled."""
        by.must(Permission.WRITE)
        found = []
        with self._journal.act(by.name, "run.import", why=f"from {source}") as act:
            for each in told:
                known = self._runs.get(each.id)
                before = known.tags if known else {}
                seen = _seen(before, each.digest)
                begun = _begun(each, known, source, by)
                if not seen and begun != known:
                    act.save(self._runs, begun)
                found.append(Brought(id=each.id, seen=seen, begun=before.get(SEEN) == f"{BEGUN}{each.digest}"))
        return found

    def settle_runs(self, told: Sequence[ImportedRun], source: str, *, by: Actor) -> list[Brought]:
        """Say of runs that were begun what their source says, now that their points and files are here."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "run.import", why=f"from {source}") as act:
            for each in told:
                known = self._runs.get(each.id)
                if known is None:
                    raise NotFound(f"run {each.id} was not begun; begin it first")
                deleted_at = (known.deleted_at or self._clock.now()) if each.deleted else None
                after = _as_told(each, known).but(deleted_at=deleted_at)
                if after != known:
                    act.save(self._runs, after, came_from=[each.parent])
        return [Brought(id=each.id, seen=bool(each.digest)) for each in told]

    def artifacts(self, told: Sequence[ImportedArtifact], source: str, *, by: Actor) -> None:
        """Name blobs as files of what was begun; the same again changes nothing."""
        by.must(Permission.WRITE)
        for each in told:
            checked_path(each.name)
            if not self._blobs.has(checked_digest(each.blob)):
                raise NotFound(f"no blob {each.blob}; put it first")
        with self._journal.act(by.name, "artifact.import", why=f"from {source}") as act:
            for each in told:
                known = self._artifacts.named(each.owner, each.name)
                if known is None or known.blob != each.blob or known.removed_at is not None:
                    self._keep(act, known, each)

    def _keep(self, act: Act, known: Artifact | None, told: ImportedArtifact) -> None:
        artifact = Artifact(
            id=known.id if known else self._ids(Artifact.prefix), created_at=self._clock.now(), run=told.owner,
            name=told.name, blob=told.blob, size=told.size, media_type=told.media_type,
        )  # fmt: skip
        act.save(self._artifacts, artifact, came_from=[told.owner])

    def begin_models(self, told: Sequence[ImportedLoggedModel], source: str, *, by: Actor) -> list[Brought]:
        """See that each logged model is there; one that is new is pending until it is settled."""
        by.must(Permission.WRITE)
        found = []
        with self._journal.act(by.name, "logged_model.import", why=f"from {source}") as act:
            for each in told:
                known = self._models.get(each.id)
                if known is None:
                    tags = {SOURCE: source, SOURCE_ID: each.source_id}
                    begun = self._model(each, tags).but(state=LoggedModelState.PENDING)
                    act.save(self._models, begun, came_from=[each.run])
                found.append(Brought(id=each.id, seen=known is not None and _seen(known.tags, each.digest)))
        return found

    def settle_models(self, told: Sequence[ImportedLoggedModel], source: str, *, by: Actor) -> list[Brought]:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "logged_model.import", why=f"from {source}") as act:
            for each in told:
                known = self._models.get(each.id)
                if known is None:
                    raise NotFound(f"logged model {each.id} was not begun; begin it first")
                tags = _tags(known.tags, each.tags, each.digest)
                after = self._model(each, tags).but(deleted_at=known.deleted_at)
                if after != known:
                    act.save(self._models, after, came_from=[each.run])
        return [Brought(id=each.id, seen=bool(each.digest)) for each in told]

    def _model(self, told: ImportedLoggedModel, tags: Mapping[str, str]) -> LoggedModel:
        check_texts(told.params)
        check_texts(told.tags)
        experiment = self._experiments.named(told.experiment)
        if experiment is None:
            raise NotFound(f"no experiment {told.experiment[:100]!r}; import it first")
        return LoggedModel(
            id=told.id, created_at=told.created_at, updated_at=told.updated_at,
            name=checked_title(told.name, "logged model"), experiment=experiment.id, run=told.run, kind=told.kind,
            state=told.state, params=told.params, tags=dict(tags), metrics=told.metrics,
        )  # fmt: skip

    def traces(self, told: Sequence[ImportedTrace], source: str, *, by: Actor) -> list[Brought]:
        """Keep traces; one that is the same already is left alone, and `seen`."""
        by.must(Permission.WRITE)
        found = []
        with self._journal.act(by.name, "trace.import", why=f"from {source}") as act:
            for each in told:
                known = self._traces.of(each.request)
                after = self._trace(each, known, source)
                if after != known:
                    act.save(self._traces, after)
                found.append(Brought(id=after.id, seen=after == known))
        return found

    def _trace(self, told: ImportedTrace, known: Trace | None, source: str) -> Trace:
        check_texts(told.tags)
        experiment = self._experiments.named(told.experiment)
        if experiment is None:
            raise NotFound(f"no experiment {told.experiment[:100]!r}; import it first")
        return Trace(
            id=known.id if known else derived(Trace.prefix, told.created_at, told.request),
            created_at=known.created_at if known else told.created_at, request=told.request, experiment=experiment.id,
            told=told.told, tags=(known.tags if known else {SOURCE: source}) | told.tags,
            assessments=(known.assessments if known else {}) | told.assessments,
            deleted_at=known.deleted_at if known else None,
        )  # fmt: skip


def _begun(told: ImportedRun, known: Run | None, source: str, by: Actor) -> Run:
    """The run as it takes points and files; one that is new is running meanwhile."""
    mark = f"{BEGUN}{told.digest}" if told.digest else ""
    if known is not None:
        return known.but(deleted_at=None, tags=_tags(known.tags, {}, mark))
    run = Run(
        id=told.id, created_at=told.started_at, experiment=told.experiment, started_by=by.name,
        tags={SOURCE: source, SOURCE_ID: told.source_id},
    )  # fmt: skip
    return _as_told(told.but(digest=mark), run).but(state=RunState.RUNNING, ended_at=None)


def _as_told(told: ImportedRun, run: Run) -> Run:
    check_texts(told.params)
    check_texts(told.tags)
    return run.but(
        name=told.name, state=told.state, parent=told.parent, user=told.user, params=told.params,
        tags=_tags(run.tags, told.tags, told.digest or _mark(run.tags)), inputs=told.inputs,
        models_read=told.models_read, models_written=told.models_written, started_at=told.started_at,
        ended_at=told.ended_at,
    )  # fmt: skip


def _mark(tags: Mapping[str, str]) -> str:
    """That it was begun, if it was: what was taken since is still what its source has."""
    return tags[SEEN] if tags.get(SEEN, "").startswith(BEGUN) else ""


def _tags(kept: Mapping[str, str], told: Mapping[str, str], digest: str) -> dict[str, str]:
    rest = {key: value for key, value in kept.items() if key != SEEN}
    said = {key: value for key, value in told.items() if key != SEEN}
    return rest | said | ({SEEN: digest} if digest else {})


def _seen(tags: Mapping[str, str], digest: str) -> bool:
    return bool(digest) and tags.get(SEEN) == digest
