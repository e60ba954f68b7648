"""Taking over what another registry knows: models, and their versions under the numbers they have there."""

from __future__ import annotations

from headway.errors import Conflict
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import derived
from headway.kernel.journal import Act, Journal
from headway.lifecycle.models.imported import BroughtModel, ImportedModel, ImportedVersion
from headway.lifecycle.models.records import Model, Registration
from headway.lifecycle.models.registry import check_model_name, checked_about, checked_model_tags
from headway.lifecycle.models.store import ModelStore, ModelVersionStore, RegistrationStore
from headway.lifecycle.runs.imported import SOURCE


class ModelImportService:
    def __init__(
        self, journal: Journal, models: ModelStore, versions: ModelVersionStore, registrations: RegistrationStore,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._journal, self._models, self._versions, self._registrations = journal, models, versions, registrations
        self._clock = clock

    def model(self, told: ImportedModel, source: str, *, by: Actor) -> BroughtModel:
        """A model and its versions as their source tells them; the same again changes nothing.

        A number that another version has here, one that was made here or read elsewhere, is left to it and told.
        Raises `Conflict` for a model that was deleted here.
        """
        by.must(Permission.WRITE)
        check_model_name(told.name)
        with self._journal.act(by.name, "model.import", why=f"from {source}") as act:
            known = self._models.named(told.name)
            if known is not None and known.deleted_at is not None:
                raise Conflict(f"model {told.name!r} is deleted here; create it again, and import again")
            results = {version.number: self._version(act, told, version, source, by) for version in told.versions}
            taken = tuple(number for number, written in results.items() if written is None)
            after = self._model(told, known, source, set(results) - set(taken))
            if after != known:
                act.save(self._models, after)
            return BroughtModel(id=after.id, written=sum(map(bool, results.values())), taken=taken)

    def _model(self, told: ImportedModel, known: Model | None, source: str, ours: set[int]) -> Model:
        before = known or Model(
            id=derived(Model.prefix, told.created_at, told.name), created_at=told.created_at,
            updated_at=told.updated_at, name=told.name, tags={SOURCE: source},
        )  # fmt: skip
        aliases = {alias: number for alias, number in told.aliases.items() if number in ours}
        after = before.but(
            about=checked_about(told.about) or before.about, tags=before.tags | checked_model_tags(told.tags),
            aliases=before.aliases | aliases,
        )  # fmt: skip
        return after if known is None or after == known else after.but(updated_at=self._clock.now())

    def _version(
        self, act: Act, told: ImportedModel, version: ImportedVersion, source: str, by: Actor
    ) -> bool | None:  # fmt: skip
        """Whether it was written; None when its number is another's."""
        identifier = derived(Registration.prefix, version.created_at, f"{told.name}/{version.number}")
        known = self._registrations.of(told.name, version.number)
        if self._versions.of(told.name, version.number) is not None or (known and known.id != identifier):
            return None
        after = Registration(
            id=identifier, created_at=version.created_at, updated_at=version.updated_at, model=told.name,
            number=version.number, source=version.source, run=version.run, logged_model=version.logged_model,
            run_link=version.run_link, about=checked_about(version.about), stage=version.stage,
            tags=(known.tags if known else {SOURCE: source}) | checked_model_tags(version.tags),
            registered_by=version.registered_by or by.name, deleted_at=known.deleted_at if known else None,
        )  # fmt: skip
        if after == known:
            return False
        act.save(self._registrations, after, came_from=[version.run, version.logged_model])
        return True
