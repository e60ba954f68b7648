"""Registering what was logged, in whatever form: what other tools call a model registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from headway.errors import AlreadyExists, Invalid, NotFound, Refused
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.paging import MOST, every
from headway.lifecycle.models.announced import announce_alias, announce_model, announce_registration, announce_tags
from headway.lifecycle.models.records import Model, ModelVersion, Register, Registration
from headway.lifecycle.models.store import ModelStore, ModelVersionStore, RegistrationStore

LONGEST_NAME, LONGEST_ALIAS, LONGEST_KEY, LONGEST_VALUE, LONGEST_ABOUT = 256, 255, 250, 100_000, 100_000


class RegistryService:
    def __init__(
        self,
        journal: Journal,
        models: ModelStore,
        versions: ModelVersionStore,
        registrations: RegistrationStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._models, self._versions, self._registrations = journal, models, versions, registrations
        self._clock, self._ids = clock, ids

    def create(self, name: str, *, by: Actor, about: str = "", tags: Mapping[str, str] | None = None) -> Model:
        """A new model line; raises `AlreadyExists`. A deleted one comes back empty, and counts its versions on."""
        by.must(Permission.WRITE)
        check_model_name(name)
        fresh = {"about": checked_about(about), "tags": checked_model_tags(tags or {})}
        with self._journal.act(by.name, "model.create") as act:
            known, now = self._models.named(name), self._clock.now()
            if known is not None and known.deleted_at is None:
                raise AlreadyExists(f"there is a registered model {name!r} already")
            if known is not None:
                made = known.but(**fresh, updated_at=now, deleted_at=None)
            else:
                made = Model(id=self._ids(Model.prefix), created_at=now, updated_at=now, name=name, **fresh)  # type: ignore[arg-type]
            act.save(self._models, made)
            announce_model(act, made)
            return made

    def model(self, name: str) -> Model:
        found = self._models.named(name)
        if found is None or found.deleted_at is not None:
            raise NotFound(f"no registered model {name[:200]!r}")
        return found

    def models(self, among: Iterable[str] | None = None) -> Sequence[Model]:
        """All that are not deleted, or those of these names."""
        if among is not None:
            named = (self._models.named(name) for name in sorted(among))
            return [model for model in named if model is not None and model.deleted_at is None]
        page = self._models.all(limit=1000)
        found = list(page.items)
        while page.next:
            page = self._models.all(limit=1000, before=page.next)
            found += page.items
        return [model for model in found if model.deleted_at is None]

    def describe(self, name: str, about: str, *, by: Actor) -> Model:
        return self._change(name, "model.describe", by, lambda _: {"about": checked_about(about)})

    def tag(self, name: str, tags: Mapping[str, str | None], *, by: Actor) -> Model:
        """Set tags; one of None is taken away."""

        def announce(act: Act, model: Model) -> None:
            announce_tags(act, model, "ModelTag", model.id, tags, name=name)

        return self._change(name, "model.tag", by, lambda model: {"tags": _merged(model.tags, tags)}, announce)

    def alias(self, name: str, alias: str, number: int | None, *, by: Actor) -> Model:
        """Let `alias` name a version, or nothing any more. Raises `NotFound` for a version that is not there."""
        if not alias or len(alias) > LONGEST_ALIAS or alias.lower() == "latest" or _is_version(alias):
            raise Invalid(f"{alias[:100]!r} cannot be an alias: take 1 to {LONGEST_ALIAS} characters, not latest or v1")
        if number is not None:
            self.registered(name, number)

        def changed(model: Model) -> dict[str, object]:
            kept = {key: value for key, value in model.aliases.items() if key != alias}
            return {"aliases": kept if number is None else kept | {alias: number}}

        return self._change(
            name, "model.alias", by, changed, lambda act, model: announce_alias(act, model, alias, number)
        )

    def rename(self, name: str, new_name: str, *, by: Actor) -> Model:
        """Raises `AlreadyExists` for a name that is taken, `Refused` for a model that gates have judged."""
        by.must(Permission.WRITE)
        check_model_name(new_name)
        with self._journal.act(by.name, "model.rename") as act:
            model, now = self.model(name), self._clock.now()
            self._refuse_judged(name, "renamed")
            if self._models.named(new_name) is not None:
                raise AlreadyExists(f"there is a registered model {new_name!r} already")
            for registration in self._all_of(name):
                act.save(self._registrations, registration.but(model=new_name))
            return act.save(self._models, model.but(name=new_name, updated_at=now))

    def delete(self, name: str, *, by: Actor) -> None:
        """Put a model and its registrations aside; raises `Refused` for one that gates have judged."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "model.delete") as act:
            model, now = self.model(name), self._clock.now()
            self._refuse_judged(name, "deleted")
            for registration in self._all_of(name):
                if registration.deleted_at is None:
                    act.save(self._registrations, registration.but(deleted_at=now))
            act.save(self._models, model.but(deleted_at=now, aliases={}))

    def register(self, command: Register, *, by: Actor) -> Registration:
        """The next version of a model that there is."""
        by.must(Permission.WRITE)
        if not command.source:
            raise Invalid("a version needs a source: where its files are")
        with self._journal.act(by.name, "model.register") as act:
            model, now = self.model(command.model), self._clock.now()
            newest, judged = self._registrations.of(model.name), self._versions.of(model.name)
            given = (newest.number if newest else 0, judged.number if judged else 0, model.last_number)
            number = 1 + max(given)
            registration = Registration(
                id=self._ids(Registration.prefix), created_at=now, updated_at=now, model=model.name, number=number,
                source=command.source, run=command.run, logged_model=command.logged_model, run_link=command.run_link,
                about=checked_about(command.about), tags=checked_model_tags(command.tags), registered_by=by.name,
            )  # fmt: skip
            act.save(self._models, model.but(updated_at=now))
            act.save(self._registrations, registration, came_from=[command.run, command.logged_model])
            announce_registration(act, model, registration)
            return registration

    def registered(self, name: str, number: int) -> Registration | ModelVersion:
        """The version of this number, in whatever form; raises `NotFound`."""
        found = self._registrations.of(name, number)
        if found is not None and found.deleted_at is None:
            return found
        judged = self._versions.of(name, number) if found is None else None
        if judged is None or judged.deleted_at is not None:
            raise NotFound(f"registered model {name[:200]!r} has no version {number}")
        return judged

    def versions_of(self, names: Iterable[str]) -> Sequence[Registration | ModelVersion]:
        """All versions of these models in whatever form, newest first of each."""
        return [version for name in sorted(names) for version in self.versions(name)]

    def versions(self, name: str | None = None) -> Sequence[Registration | ModelVersion]:
        """All versions in whatever form, newest first."""
        kept = [registration for registration in self._all_of(name) if registration.deleted_at is None]
        versions = every(lambda before: self._versions.list(name, limit=MOST, before=before))
        judged = [each for each in versions if each.deleted_at is None and not each.registration]
        whole: list[Registration | ModelVersion] = [*kept, *judged]
        return sorted(whole, key=lambda version: (version.created_at, version.number), reverse=True)

    def amend(
        self, name: str, number: int, *, by: Actor, about: str | None = None, stage: str | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> Registration:  # fmt: skip
        """Describe a registration, move it to a stage, tag it. Raises `Refused` for a version that gates judge."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "model.amend") as act:
            found = self._registration(name, number)
            changes: dict[str, object] = {"tags": _merged(found.tags, tags)} if tags else {}
            changes |= {} if about is None else {"about": checked_about(about)}
            changes |= {} if stage is None else {"stage": stage}
            amended = act.save(self._registrations, found.but(updated_at=self._clock.now(), **changes))
            version = {"name": name, "version": str(number)}
            announce_tags(act, self.model(name), "ModelVersionTag", found.id, tags or {}, **version)
            return amended

    def remove(self, name: str, number: int, *, by: Actor) -> None:
        """Put a registration aside, with its aliases."""
        by.must(Permission.WRITE)
        with self._journal.act(by.name, "model.remove") as act:
            found, now = self._registration(name, number), self._clock.now()
            act.save(self._registrations, found.but(updated_at=now, deleted_at=now))
            model = self.model(name)
            kept = {alias: at for alias, at in model.aliases.items() if at != number}
            act.save(self._models, model.but(aliases=kept, updated_at=now))

    def _registration(self, name: str, number: int) -> Registration:
        found = self.registered(name, number)
        if isinstance(found, ModelVersion):
            raise Refused(f"{found.label} is what gates judge, and does not change; tag its model instead")
        return found

    def _change(
        self, name: str, verb: str, by: Actor, changes: Callable[[Model], dict[str, object]],
        announce: Callable[[Act, Model], None] = lambda act, model: None,
    ) -> Model:  # fmt: skip
        by.must(Permission.WRITE)
        with self._journal.act(by.name, verb) as act:
            model = self.model(name)
            changed = act.save(self._models, model.but(updated_at=self._clock.now(), **changes(model)))
            announce(act, changed)
            return changed

    def _refuse_judged(self, name: str, what: str) -> None:
        if self._versions.of(name) is not None:
            raise Refused(f"model {name!r} has versions that gates judge; it cannot be {what}")

    def _all_of(self, name: str | None) -> list[Registration]:
        page = self._registrations.list(name, limit=1000)
        found = list(page.items)
        while page.next:
            page = self._registrations.list(name, limit=1000, before=page.next)
            found += page.items
        return found


def check_model_name(name: str) -> None:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or set(name) & set("/:@"):
        raise Invalid(f"{name[:100]!r} cannot name a registered model: take printable characters other than / : @")


def _is_version(alias: str) -> bool:
    return alias[:1] in "vV" and alias[1:].isdecimal()


def checked_about(text: str) -> str:
    if len(text) > LONGEST_ABOUT:
        raise Invalid(f"a description has at most {LONGEST_ABOUT} characters, not {len(text)}")
    return text


def checked_model_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not 0 < len(key) <= LONGEST_KEY or len(value) > LONGEST_VALUE:
            raise Invalid(f"tag {key[:60]!r}: a key has 1 to {LONGEST_KEY} characters, a value at most {LONGEST_VALUE}")
    return dict(tags)


def _merged(old: Mapping[str, str], new: Mapping[str, str | None]) -> dict[str, str]:
    given = checked_model_tags({key: value for key, value in new.items() if value is not None})
    return {key: value for key, value in {**old, **given}.items() if new.get(key, "") is not None}
