"""What one can do with traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from headway.errors import Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.paging import MOST, Page, every
from headway.lifecycle.runs.rules import checked_tags
from headway.lifecycle.runs.spans import LOCATION_TAG, STORED, summary, tags_of
from headway.lifecycle.runs.store import ExperimentStore, TraceStore
from headway.lifecycle.runs.traces import Span, Trace, TraceWalk

MOST_ASSESSMENTS, MOST_SPANS, MOST_RUNS = 1000, 10_000, 100


def checked_request(request: str) -> str:
    if not 0 < len(request) <= 250:
        raise Invalid("a trace has an id of 1 to 250 characters")
    return request


class TraceService:
    def __init__(
        self, journal: Journal, store: TraceStore, experiments: ExperimentStore, clock: Clock, ids: Ids
    ) -> None:
        self._journal, self._store, self._experiments, self._clock, self._ids = journal, store, experiments, clock, ids

    def keep(
        self, request: str, experiment: str, told: Mapping[str, Any], tags: Mapping[str, str], *, by: Actor,
        assessments: Mapping[str, dict[str, Any]] | None = None,
    ) -> Trace:  # fmt: skip
        """Keep what a client tells of the whole of a trace; the same request again replaces what was told, and adds to
        its tags and assessments."""
        by.must(Permission.WRITE)
        checked_request(request)
        with self._journal.act(by.name, "trace.keep") as act:
            known = self._known(request, experiment)
            thought = known.assessments | dict(assessments or {})
            if len(thought) > MOST_ASSESSMENTS:
                raise Invalid(f"a trace holds at most {MOST_ASSESSMENTS} assessments")
            trace = known.but(
                experiment=experiment, told=dict(told), tags=known.tags | checked_tags(tags), settled=True,
                deleted_at=None, assessments=thought,
            )  # fmt: skip
            return act.save(self._store, trace)

    def add_spans(
        self, experiment: str, spans: Sequence[Span], told: Mapping[str, Any], tags: Callable[[str], dict[str, str]], *,
        by: Actor,
    ) -> Sequence[Trace]:  # fmt: skip
        """Keep spans, and with them a trace for each request that is new: `told` and `tags(request)` are what it begins
        with. A span that is sent again is replaced. Raises `Invalid` for more than 10,000 spans of one trace."""
        by.must(Permission.WRITE)
        given: dict[str, dict[str, Span]] = {}
        for span in spans:
            given.setdefault(checked_request(span.request), {})[span.id] = span
        with self._journal.act(by.name, "trace.add_spans") as act:
            kept = self._store.spans(list(given))
            self._store.put_spans([span for new in given.values() for span in new.values()])
            found = []
            for request, new in given.items():
                known = self._known(request, experiment)
                every = list(({span.id: span for span in kept[request]} | new).values())
                if len(every) > MOST_SPANS:
                    raise Invalid(f"a trace holds at most {MOST_SPANS} spans")
                trace = known.but(
                    tags=checked_tags(tags(request) | tags_of(every) | known.tags) | {LOCATION_TAG: STORED}
                )
                if not known.settled:
                    trace = trace.but(told=summary(request, {**told, **known.told}, every))
                found.append(trace if trace == known else act.save(self._store, trace))
            return found

    def spans(self, requests: Sequence[str]) -> dict[str, list[Span]]:
        """By request, in the order in which they began."""
        return self._store.spans(requests)

    def _known(self, request: str, experiment: str) -> Trace:
        if self._experiments.get(experiment) is None:
            raise NotFound(f"no experiment {experiment[:100]!r}")
        known = self._store.of(request)
        if known is not None:
            return known
        now = self._clock.now()
        return Trace(id=self._ids(Trace.prefix), created_at=now, request=request, experiment=experiment)

    def get(self, request: str) -> Trace:
        found = self._store.of(request)
        if found is None or found.deleted_at is not None:
            raise NotFound(f"no trace {request[:100]!r}")
        return found

    def walk(self, question: TraceWalk) -> Sequence[Trace]:
        """Traces by their begin; one that does not fit the question may be among them, one that does is never left
        out."""
        return self._store.walk(question)

    def within(self, experiments: Sequence[str]) -> Sequence[Trace]:
        """All traces of the experiments with these ids, newest first."""
        found: list[Trace] = []
        for experiment in experiments:
            found += every(partial(self._kept, experiment))
        return sorted((trace for trace in found if trace.deleted_at is None), key=lambda trace: trace.id, reverse=True)

    def _kept(self, experiment: str, before: str | None) -> Page[Trace]:
        return self._store.list(experiment, limit=MOST, before=before)

    def tag(self, request: str, tags: Mapping[str, str | None], *, by: Actor) -> Trace:
        """Set tags; one of None is taken away."""
        given = checked_tags({key: value for key, value in tags.items() if value is not None})

        def changed(trace: Trace) -> Trace:
            merged = trace.tags | given
            return trace.but(tags={key: value for key, value in merged.items() if tags.get(key, "") is not None})

        return self._change(request, "trace.tag", by, changed)

    def assess(
        self, request: str, change: Callable[[dict[str, dict[str, Any]]], dict[str, dict[str, Any]]], *, by: Actor
    ) -> Trace:
        """Change what is thought of a trace: `change` makes the assessments by id from those there are. Raises
        `Invalid` for more than 1000 of one trace."""

        def changed(trace: Trace) -> Trace:
            kept = change(dict(trace.assessments))
            if len(kept) > MOST_ASSESSMENTS:
                raise Invalid(f"a trace holds at most {MOST_ASSESSMENTS} assessments")
            return trace.but(assessments=kept)

        return self._change(request, "trace.assess", by, changed)

    def link(self, request: str, run: str, *, by: Actor) -> Trace:
        """Say that it belongs to a run, besides others; raises `Invalid` for more than 100 runs."""

        def changed(trace: Trace) -> Trace:
            runs = tuple(dict.fromkeys((*trace.runs, run)))
            if len(runs) > MOST_RUNS:
                raise Invalid(f"a trace belongs to at most {MOST_RUNS} runs")
            return trace.but(runs=runs)

        return self._change(request, "trace.link", by, changed)

    def delete(self, request: str, *, by: Actor) -> Trace:
        return self._change(request, "trace.delete", by, lambda trace: trace.but(deleted_at=self._clock.now()))

    def _change(self, request: str, verb: str, by: Actor, changed: Callable[[Trace], Trace]) -> Trace:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, verb) as act:
            return act.save(self._store, changed(self.get(request)))
