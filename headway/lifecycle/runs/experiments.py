"""What one can do with experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway.errors import AlreadyExists, Invalid, NotFound, Refused
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.naming import nearest
from headway.lifecycle.runs.records import Experiment
from headway.lifecycle.runs.rules import checked_tags, checked_title
from headway.lifecycle.runs.store import ExperimentStore, RunStore

MOST_RUNS_RENAMED = 10_000


class ExperimentService:
    def __init__(self, journal: Journal, store: ExperimentStore, runs: RunStore, clock: Clock, ids: Ids) -> None:
        self._journal, self._store, self._runs, self._clock, self._ids = journal, store, runs, clock, ids

    def create(self, name: str, *, by: Actor, tags: Mapping[str, str] | None = None) -> Experiment:
        """A new experiment; raises `AlreadyExists` when one, deleted or not, has the name."""
        by.must(Permission.WRITE)
        checked_title(name, "experiment")
        with self._journal.act(by.name, "experiment.create") as act:
            known = self._store.named(name)
            if known is not None:
                state = "exists already" if known.deleted_at is None else "is deleted: restore it, or choose another"
                raise AlreadyExists(f"experiment {name!r} {state}")
            now = self._clock.now()
            made = Experiment(
                id=self._ids(Experiment.prefix),
                created_at=now,
                updated_at=now,
                name=name,
                tags=checked_tags(tags or {}),
            )
            return act.save(self._store, made)

    def get(self, identifier: str) -> Experiment:
        found = self._store.get(identifier)
        if found is None:
            raise NotFound(f"no experiment {identifier[:100]!r}")
        return found

    def find(self, reference: str) -> Experiment:
        """By id or by name; raises `NotFound`."""
        found = self._store.get(reference) or self._store.named(reference)
        if found is None:
            known = nearest(reference, (each.name for each in self.every()))
            raise NotFound(f"no experiment {reference[:200]!r}{known}; `headway experiment list` shows what there is")
        return found

    def named(self, name: str) -> Experiment | None:
        return self._store.named(name)

    def every(self) -> Sequence[Experiment]:
        """All of them, those that are deleted too, newest first."""
        page = self._store.all(limit=1000)
        found = list(page.items)
        while page.next:
            page = self._store.all(limit=1000, before=page.next)
            found += page.items
        return found

    def tag(self, identifier: str, tags: Mapping[str, str | None], *, by: Actor) -> Experiment:
        """Set tags; one of None is taken away."""
        by.must(Permission.WRITE)
        set_to = checked_tags({key: value for key, value in tags.items() if value is not None})
        with self._journal.act(by.name, "experiment.tag") as act:
            found = self.get(identifier)
            kept = {key: value for key, value in (found.tags | set_to).items() if tags.get(key, "") is not None}
            return act.save(self._store, found.but(tags=kept, updated_at=self._clock.now()))

    def delete(self, identifier: str, *, by: Actor) -> Experiment:
        """Put an experiment and its runs aside; it can be restored."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "experiment.delete") as act:
            found, now = self.get(identifier), self._clock.now()
            return act.save(self._store, found.but(deleted_at=now, updated_at=now))

    def restore(self, identifier: str, *, by: Actor) -> Experiment:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "experiment.restore") as act:
            return act.save(self._store, self.get(identifier).but(deleted_at=None, updated_at=self._clock.now()))

    def rename(self, identifier: str, name: str, *, by: Actor) -> Experiment:
        """Give it another name, and its runs with it. Raises `AlreadyExists` for a name that is taken, `Refused` for
        an experiment of more than 10 000 runs."""
        by.must(Permission.WRITE)
        checked_title(name, "experiment")
        with self._journal.act(by.name, "experiment.rename") as act:
            found = self.get(identifier)
            if found.deleted_at is not None:
                raise Invalid(f"experiment {found.name!r} is deleted; restore it before it is renamed")
            if found.name == name:
                return found
            if self._store.named(name) is not None:
                raise AlreadyExists(f"experiment {name!r} exists already")
            before = None
            for _ in range(MOST_RUNS_RENAMED // 1000):
                page = self._runs.list(experiment=found.name, limit=1000, before=before)
                for run in page.items:
                    act.save(self._runs, run.but(experiment=name))
                before = page.next
                if before is None:
                    return act.save(self._store, found.but(name=name, updated_at=self._clock.now()))
            raise Refused(f"an experiment of more than {MOST_RUNS_RENAMED} runs keeps its name")
