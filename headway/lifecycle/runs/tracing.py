"""What one can do with traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from headway.errors import Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.paging import Page, page_token, place_in
from headway.kernel.records import Value
from headway.lifecycle.runs.rules import checked_tags
from headway.lifecycle.runs.store import ExperimentStore, TraceStore
from headway.lifecycle.runs.traces import Trace

MOST_ASSESSMENTS = 1000


class TracesOf(Value):
    """What is asked when traces are listed."""

    experiments: tuple[str, ...]


class TraceService:
    def __init__(
        self, journal: Journal, store: TraceStore, experiments: ExperimentStore, clock: Clock, ids: Ids
    ) -> None:
        self._journal, self._store, self._experiments, self._clock, self._ids = journal, store, experiments, clock, ids

    def keep(
        self, request: str, experiment: str, told: Mapping[str, Any], tags: Mapping[str, str], *, by: Actor
    ) -> Trace:
        """Keep what a client tells of a trace; the same request again replaces."""
        by.must(Permission.WRITE)
        if not 0 < len(request) <= 250:
            raise Invalid("a trace has an id of 1 to 250 characters")
        with self._journal.act(by.name, "trace.keep") as act:
            if self._experiments.get(experiment) is None:
                raise NotFound(f"no experiment {experiment[:100]!r}")
            known = self._store.of(request)
            trace = Trace(
                id=known.id if known else self._ids(Trace.prefix),
                created_at=known.created_at if known else self._clock.now(),
                request=request,
                experiment=experiment,
                told=dict(told),
                tags=checked_tags(tags),
            )
            return act.save(self._store, trace)

    def get(self, request: str) -> Trace:
        found = self._store.of(request)
        if found is None or found.deleted_at is not None:
            raise NotFound(f"no trace {request[:100]!r}")
        return found

    def page(self, experiments: Sequence[str], *, limit: int, after: str = "") -> Page[Trace]:
        """The traces of the experiments with these ids, newest first; `after` is the `next` of the page before."""
        question = TracesOf(experiments=tuple(experiments))
        before = str(place_in(after, question)[0][1]) if after else None
        newest = [self._newest(experiment, limit, before) for experiment in dict.fromkeys(experiments)]
        found = list(islice(merge(*newest, key=lambda trace: trace.id, reverse=True), limit + 1))
        following = page_token(question, ((0, found[limit - 1].id),)) if len(found) > limit else None
        return Page(items=tuple(found[:limit]), next=following)

    def _newest(self, experiment: str, limit: int, before: str | None) -> Iterator[Trace]:
        while True:
            page = self._store.list(experiment, limit=limit, before=before)
            yield from (trace for trace in page.items if trace.deleted_at is None)
            before = page.next
            if before is None:
                return

    def within(self, experiments: Sequence[str]) -> Sequence[Trace]:
        """All traces of the experiments with these ids, newest first."""
        found: list[Trace] = []
        for experiment in experiments:
            page = self._store.list(experiment, limit=1000)
            found += page.items
            while page.next:
                page = self._store.list(experiment, limit=1000, before=page.next)
                found += page.items
        return sorted((trace for trace in found if trace.deleted_at is None), key=lambda trace: trace.id, reverse=True)

    def tag(self, request: str, tags: Mapping[str, str | None], *, by: Actor) -> Trace:
        """Set tags; one of None is taken away."""
        given = checked_tags({key: value for key, value in tags.items() if value is not None})

        def changed(trace: Trace) -> Trace:
            merged = trace.tags | given
            return trace.but(tags={key: value for key, value in merged.items() if tags.get(key, "") is not None})

        return self._change(request, "trace.tag", by, changed)

    def assess(self, request: str, identifier: str, assessment: dict[str, Any] | None, *, by: Actor) -> Trace:
        """Keep what somebody thinks of a trace under an id, or, with None, take it away. Raises `Invalid` for more than
        1000 of one trace."""

        def changed(trace: Trace) -> Trace:
            kept = {key: value for key, value in trace.assessments.items() if key != identifier}
            if assessment is not None:
                kept[identifier] = assessment
            if len(kept) > MOST_ASSESSMENTS:
                raise Invalid(f"a trace holds at most {MOST_ASSESSMENTS} assessments")
            return trace.but(assessments=kept)

        return self._change(request, "trace.assess", by, changed)

    def delete(self, request: str, *, by: Actor) -> Trace:
        return self._change(request, "trace.delete", by, lambda trace: trace.but(deleted_at=self._clock.now()))

    def _change(self, request: str, verb: str, by: Actor, changed: Callable[[Trace], Trace]) -> Trace:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, verb) as act:
            return act.save(self._store, changed(self.get(request)))
