"""What one can do with traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headway.errors import Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.lifecycle.runs.rules import checked_tags
from headway.lifecycle.runs.store import ExperimentStore, TraceStore
from headway.lifecycle.runs.traces import Trace


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
        if found is None:
            raise NotFound(f"no trace {request[:100]!r}")
        return found

    def within(self, experiments: Sequence[str]) -> Sequence[Trace]:
        """All traces of the experiments with these ids, newest first."""
        found: list[Trace] = []
        for experiment in experiments:
            page = self._store.list(experiment, limit=1000)
            found += page.items
            while page.next:
                page = self._store.list(experiment, limit=1000, before=page.next)
                found += page.items
        return sorted(found, key=lambda trace: trace.id, reverse=True)

    def tag(self, request: str, tags: Mapping[str, str | None], *, by: Actor) -> Trace:
        """Set tags; one of None is taken away."""
        found = self.get(request)
        given = checked_tags({key: value for key, value in tags.items() if value is not None})
        kept = {key: value for key, value in (found.tags | given).items() if tags.get(key, "") is not None}
        return self.keep(request, found.experiment, found.told, kept, by=by)
