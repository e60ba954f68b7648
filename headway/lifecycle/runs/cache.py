"""The results of steps, found again by key, and the graphs that ran."""

from __future__ import annotations

from collections.abc import Sequence

from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_name
from headway.kernel.paging import Page
from headway.lifecycle.runs.records import (
    Code,
    KeyParts,
    LastResult,
    Output,
    Pipeline,
    PipelineNode,
    RunState,
    StepResult,
    StepState,
)
from headway.lifecycle.runs.store import PipelineStore, RunStore, StepResultStore

_LOOKED_BACK = 5
"""So many runs of a pipeline are looked at for what each of its steps last gave, until one has finished."""
_WITH_RESULT = (StepState.DONE, StepState.CACHED)


class PipelineService:
    def __init__(
        self,
        journal: Journal,
        store: PipelineStore,
        results: StepResultStore,
        runs: RunStore,
        blobs: BlobStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._results, self._runs = journal, store, results, runs
        self._blobs, self._clock, self._ids = blobs, clock, ids

    def result(self, key: str) -> StepResult | None:
        """What the step with this key gave, if all of it is still kept."""
        found = self._results.keyed(key)
        return found if found and self._is_whole(found) else None

    def last_results(self, pipeline: str) -> list[LastResult]:
        """What each step of a pipeline gave when it last ran, or was found, as far as all of it is still kept. Those of
        its newest runs count, the newest first, up to one that has finished."""
        keys: dict[str, str] = {}
        for run in self._runs.list(experiment=pipeline, limit=_LOOKED_BACK).items:
            if run.pipeline == pipeline:
                for step in self._runs.steps(run.id):
                    if step.state in _WITH_RESULT:
                        keys.setdefault(step.step, step.key)
                if run.state is RunState.FINISHED:
                    break
        found = self._results.among(list(dict.fromkeys(keys.values())))
        whole = {key: result for key, result in found.items() if self._is_whole(result)}
        return [LastResult(step=step, result=whole[key]) for step, key in keys.items() if key in whole]

    def _is_whole(self, result: StepResult) -> bool:
        return all(self._blobs.has(output.blob) for output in result.outputs)

    def keep(
        self, key: str, step: str, run: str, outputs: Sequence[Output], made_of: KeyParts | None = None, *, by: Actor
    ) -> StepResult:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "step.keep") as act:
            code = [made_of.parts] if made_of and made_of.parts else []
            must_be_kept(self._blobs, *(output.blob for output in outputs), *code)
            known = self._results.keyed(key)
            result = StepResult(
                id=known.id if known else self._ids(StepResult.prefix),
                created_at=self._clock.now(),
                key=key,
                step=step,
                run=run,
                outputs=tuple(outputs),
                made_of=made_of,
            )
            return act.save(self._results, result, came_from=[run])

    def record(self, name: str, nodes: Sequence[PipelineNode], code: Code, *, by: Actor) -> Pipeline:
        """Remember the graph of a pipeline as it ran; the same graph again is the same record. Raises `Invalid` for
        what cannot name a pipeline."""
        by.must(Permission.WRITE)
        checked_name(name, "pipeline")
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
