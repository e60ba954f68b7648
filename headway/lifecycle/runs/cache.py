"""The results of steps, found again by key, and the graphs that ran."""

from __future__ import annotations

from collections.abc import Sequence

from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.paging import Page
from headway.lifecycle.runs.records import Code, Output, Pipeline, PipelineNode, StepResult
from headway.lifecycle.runs.store import PipelineStore, StepResultStore


class PipelineService:
    def __init__(
        self,
        journal: Journal,
        store: PipelineStore,
        results: StepResultStore,
        blobs: BlobStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._results = journal, store, results
        self._blobs, self._clock, self._ids = blobs, clock, ids

    def result(self, key: str) -> StepResult | None:
        """What the step with this key gave, if all of it is still kept."""
        found = self._results.keyed(key)
        return found if found and all(self._blobs.has(output.blob) for output in found.outputs) else None

    def keep(self, key: str, step: str, run: str, outputs: Sequence[Output], *, by: Actor) -> StepResult:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "step.keep") as act:
            must_be_kept(self._blobs, *(output.blob for output in outputs))
            known = self._results.keyed(key)
            result = StepResult(
                id=known.id if known else self._ids(StepResult.prefix),
                created_at=self._clock.now(),
                key=key,
                step=step,
                run=run,
                outputs=tuple(outputs),
            )
            return act.save(self._results, result, came_from=[run])

    def record(self, name: str, nodes: Sequence[PipelineNode], code: Code, *, by: Actor) -> Pipeline:
        """Remember the graph of a pipeline as it ran; the same graph again is the same record."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "pipeline.record") as act:
            known = self._store.named(name)
            if known and known.nodes == tuple(nodes) and known.code == code:
                return known
            made = Pipeline(
                id=self._ids(Pipeline.prefix), created_at=self._clock.now(), name=name, nodes=tuple(nodes), code=code
            )
            return act.save(self._store, made)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Pipeline]:
        return self._store.all(limit=limit, before=before)
