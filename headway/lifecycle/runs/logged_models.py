"""What one can do with logged models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from headway.errors import Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.paging import MOST, Page, every
from headway.lifecycle.runs.logged import LoggedModel, LoggedModelState, LogModel, ModelMetric
from headway.lifecycle.runs.rules import checked_tags, checked_title
from headway.lifecycle.runs.store import ExperimentStore, LoggedModelStore, RunStore

MOST_METRICS = 1000


class LoggedModelService:
    def __init__(
        self, journal: Journal, store: LoggedModelStore, experiments: ExperimentStore, runs: RunStore, clock: Clock,
        ids: Ids,
    ) -> None:  # fmt: skip
        self._journal, self._store, self._experiments, self._runs = journal, store, experiments, runs
        self._clock, self._ids = clock, ids

    def create(self, command: LogModel, *, by: Actor) -> LoggedModel:
        """Begin a logged model; its files follow, then `settle`."""
        by.must(Permission.WRITE)
        identifier = self._ids(LoggedModel.prefix)
        with self._journal.act(by.name, "logged_model.create") as act:
            if self._experiments.get(command.experiment) is None:
                raise NotFound(f"no experiment {command.experiment[:100]!r}")
            if command.run and self._runs.get(command.run) is None:
                raise NotFound(f"no run {command.run[:100]!r}")
            now = self._clock.now()
            model = LoggedModel(
                id=identifier, created_at=now, updated_at=now, experiment=command.experiment, run=command.run,
                name=checked_title(command.name or identifier, "logged model"), kind=command.kind,
                params=checked_tags(command.params), tags=checked_tags(command.tags),
            )  # fmt: skip
            return act.save(self._store, model, came_from=[command.run])

    def get(self, identifier: str, *, deleted: bool = False) -> LoggedModel:
        """Raises `NotFound`; for one that is deleted too, unless `deleted` is set."""
        found = self._store.get(identifier)
        if found is None or (found.deleted_at is not None and not deleted):
            raise NotFound(f"no logged model {identifier[:100]!r}")
        return found

    def within(self, experiments: Sequence[str]) -> Sequence[LoggedModel]:
        """All logged models of the experiments with these ids that are not deleted, newest first."""
        found: list[LoggedModel] = []
        for experiment in experiments:
            found += every(partial(self._kept, experiment))
        return sorted((model for model in found if model.deleted_at is None), key=lambda model: model.id, reverse=True)

    def _kept(self, experiment: str, before: str | None) -> Page[LoggedModel]:
        return self._store.list(experiment, limit=MOST, before=before)

    def settle(self, identifier: str, state: LoggedModelState, *, by: Actor) -> LoggedModel:
        """Say that its files are all there, or that they will not be."""
        return self._change(identifier, "logged_model.settle", by, lambda _: {"state": state})

    def tag(self, identifier: str, tags: Mapping[str, str | None], *, by: Actor) -> LoggedModel:
        """Set tags; one of None is taken away."""
        given = checked_tags({key: value for key, value in tags.items() if value is not None})

        def changed(model: LoggedModel) -> dict[str, object]:
            merged = model.tags | given
            return {"tags": {key: value for key, value in merged.items() if tags.get(key, "") is not None}}

        return self._change(identifier, "logged_model.tag", by, changed)

    def add_params(self, identifier: str, params: Mapping[str, str], *, by: Actor) -> LoggedModel:
        """Add params; one that has a value keeps it, and another value raises `Invalid`."""
        given = checked_tags(params)

        def changed(model: LoggedModel) -> dict[str, object]:
            different = next((key for key, value in given.items() if model.params.get(key, value) != value), None)
            if different is not None:
                raise Invalid(f"param {different!r} is {model.params[different]!r} already; params do not change")
            return {"params": model.params | given}

        return self._change(identifier, "logged_model.log", by, changed)

    def add_metrics(self, identifier: str, metrics: Sequence[ModelMetric], *, by: Actor) -> LoggedModel:
        """Add what was measured of it; the same again is kept once, and at most 1000 are kept."""

        def changed(model: LoggedModel) -> dict[str, object]:
            merged = tuple(dict.fromkeys((*model.metrics, *metrics)))
            if len(merged) > MOST_METRICS:
                raise Invalid(f"a logged model holds at most {MOST_METRICS} metrics; log a series to its run")
            return {"metrics": merged}

        return self._change(identifier, "logged_model.log", by, changed)

    def delete(self, identifier: str, *, by: Actor) -> LoggedModel:
        return self._change(identifier, "logged_model.delete", by, lambda _: {"deleted_at": self._clock.now()})

    def _change(
        self, identifier: str, verb: str, by: Actor, changes: Callable[[LoggedModel], dict[str, object]]
    ) -> LoggedModel:
        by.must(Permission.WRITE)
        with self._journal.act(by.name, verb) as act:
            model = self.get(identifier)
            return act.save(self._store, model.but(updated_at=self._clock.now(), **changes(model)))
