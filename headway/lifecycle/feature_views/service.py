"""What one can do with feature views."""

from __future__ import annotations

from datetime import datetime

from headway.errors import Conflict, Invalid, NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.naming import find_version
from headway.kernel.paging import Page
from headway.lifecycle.datasets.service import DatasetService
from headway.lifecycle.feature_views.records import (
    DefineFeatures,
    FeatureView,
    LookedUp,
    LookUp,
    Materialisation,
    Shipped,
)
from headway.lifecycle.feature_views.rules import MOST_LOOKED_UP, asked_entity, checked_definition, entity_key, found
from headway.lifecycle.feature_views.store import (
    FeatureViewStore,
    HistoryReader,
    MaterialisationStore,
    OnlineStore,
)


class FeatureViewService:
    def __init__(
        self, journal: Journal, store: FeatureViewStore, materialisations: MaterialisationStore, online: OnlineStore,
        datasets: DatasetService, blobs: BlobStore, reader: HistoryReader, clock: Clock, ids: Ids,
    ) -> None:  # fmt: skip
        self._journal, self._store, self._materialisations, self._online = journal, store, materialisations, online
        self._datasets, self._blobs, self._reader, self._clock, self._ids = datasets, blobs, reader, clock, ids

    def define(self, command: DefineFeatures, *, by: Actor) -> FeatureView:
        """The newest version if it says the same, or else the next one.

        The newest version of the source is read, so that what it cannot give is said now. Raises `Invalid` for that,
        `NotFound` for a source that is not there.
        """
        by.must(Permission.WRITE)
        checked_definition(command)
        there = self._store.of(command.name)
        if there is not None and there.definition == command:
            return there
        source = self._datasets.version(command.source)
        if source.dataset != command.source:
            raise Invalid(f"the source of a feature view is a dataset by its name alone: {source.dataset!r}")
        self._reader.latest(self._datasets.table(source), command, self._clock.now())
        with self._journal.act(by.name, "feature_view.define") as act:
            newest = self._store.of(command.name)
            view = FeatureView(
                id=self._ids(FeatureView.prefix), created_at=self._clock.now(),
                number=1 + (newest.number if newest else 0), name=command.name, source=command.source,
                entity=command.entity, event_time=command.event_time, features=command.features,
                known_at=command.known_at, ttl_s=command.ttl_s, when_stale=command.when_stale,
            )  # fmt: skip
            act.save(self._store, view, came_from=[source.id])
        return view

    def get(self, reference: str) -> FeatureView:
        """By id, `name` (the newest) or `name@number`."""
        view = find_version(reference, FeatureView.prefix, self._store, self._store.of)
        if view is None:
            raise NotFound(f"no feature view {reference!r}; `headway feature-view list` shows what there is")
        return view

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[FeatureView]:
        return self._store.all(limit=limit, before=before)

    def materialise(
        self, reference: str, *, version: str = "", as_of: datetime | None = None, by: Actor
    ) -> Materialisation:
        """Make the newest values of each entity ready to be looked up: those that a dataset version has as of a moment.

        `version` is a number of the source, the newest one if left out; `as_of` is now. The values of before are
        replaced as a whole, and only what differs is written. Raises `Invalid` for a moment that is still to come.
        """
        by.must(Permission.WRITE)
        view, now = self.get(reference), self._clock.now()
        as_of = as_of or now
        if as_of > now:
            raise Invalid(f"{as_of:%F %T} is still to come; what is known then cannot be said now")
        source = self._datasets.version(f"{view.source}@{version}" if version else view.source)
        latest = self._reader.latest(self._datasets.table(source), view.definition, as_of)
        rows = {entity_key(row.entity): row for row in latest.rows}
        snapshot = self._blobs.put(self._reader.packed(rows))
        with self._journal.act(by.name, "feature_view.materialise") as act:
            must_be_kept(self._blobs, snapshot)
            self._let_go(act, view)
            before = self._online.all(view.id)
            written = {key: row for key, row in rows.items() if before.get(key) != row}
            removed = [key for key in before if key not in rows]
            self._online.change(view.id, written, removed)
            done = Materialisation(
                id=self._ids(Materialisation.prefix), created_at=self._clock.now(), view=view.id, version=source.id,
                as_of=as_of, entities=len(rows), written=len(written), removed=len(removed), ahead=latest.ahead,
                incomplete=latest.incomplete, snapshot=snapshot,
            )  # fmt: skip
            act.save(self._materialisations, done, came_from=[view.id])
            act.emit("FeatureViewMaterialised", view.id, view=view.label, version=source.label)
        return done

    def _let_go(self, act: Act, view: FeatureView) -> None:
        """No longer keep the values of before."""
        last = self._materialisations.newest(view.id)
        if last is not None and last.snapshot:
            act.save(self._materialisations, last.but(snapshot=None))

    def shipped(self, reference: str) -> Shipped:
        """What model servers are told of a view."""
        view = self.get(reference)
        newest = self._materialisations.newest(view.id)
        if newest is None:
            return Shipped(view=view)
        return Shipped(view=view, snapshot=newest.snapshot or "", version=newest.version)

    def materialisations(self, reference: str, *, limit: int = 100, before: str | None = None) -> Page[Materialisation]:
        return self._materialisations.list(self.get(reference).id, limit=limit, before=before)

    def look_up(self, reference: str, command: LookUp) -> LookedUp:
        """What is known of entities now, in their order.

        Raises `Conflict` for a view that was never materialised, `FeaturesStale` where it refuses what is too old.
        """
        if len(command.entities) > MOST_LOOKED_UP:
            raise Invalid(f"at most {MOST_LOOKED_UP} entities are looked up at once, not {len(command.entities)}")
        view = self.get(reference)
        newest = self._materialisations.newest(view.id)
        if newest is None:
            raise Conflict(f"{view.label} was not materialised; run `headway feature-view materialise {view.label}`")
        keys = [entity_key(asked_entity(view, each)) for each in command.entities]
        rows, now = self._online.find(view.id, list(dict.fromkeys(keys))), self._clock.now()
        return LookedUp(
            view=view.id, version=newest.version, as_of=newest.as_of,
            found=tuple(found(view, rows.get(key), now) for key in keys),
        )  # fmt: skip
