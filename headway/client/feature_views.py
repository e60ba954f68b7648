"""Feature views, over a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.lifecycle.feature_views.records import (
    DefineFeatures,
    Feature,
    FeatureView,
    LookedUp,
    LookUp,
    Materialisation,
    WhenStale,
)


class FeatureViews:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def define(
        self, name: str, *, source: str, entity: str | Sequence[str], event_time: str,
        features: Sequence[str] | Mapping[str, str], known_at: str = "", ttl_s: float | None = None,
        when_stale: str = WhenStale.NULL,
    ) -> FeatureView:  # fmt: skip
        """Define the feature view `name`, or its next version; the one there is if it says the same.

        `features` are columns of the dataset `source`, or a dict of names and expressions over its columns (polars'
        SQL), each of which looks at its own row alone.
        """
        given = features if isinstance(features, Mapping) else dict.fromkeys(features, "")
        command = DefineFeatures(
            name=name, source=source, entity=(entity,) if isinstance(entity, str) else tuple(entity),
            event_time=event_time, features=tuple(Feature(name=each, expression=text) for each, text in given.items()),
            known_at=known_at, ttl_s=ttl_s, when_stale=WhenStale(when_stale),
        )  # fmt: skip
        return self._connection.post("/v1/feature-views", FeatureView, command)

    def get(self, reference: str) -> FeatureView:
        """By id, `name` (the newest) or `name@number`."""
        return self._connection.get(f"/v1/feature-views/{segment(reference)}", FeatureView)

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[FeatureView]:
        return self._connection.get("/v1/feature-views", Page[FeatureView], limit=limit, before=before)

    def materialise(self, reference: str, *, version: str = "", as_of: datetime | None = None) -> Materialisation:
        """Make the newest values of each entity ready to be looked up, as of a moment, now if left out."""
        body = {"version": version, "as_of": as_of}
        return self._connection.post(f"/v1/feature-views/{segment(reference)}/materialise", Materialisation, body)

    def materialisations(self, reference: str, *, limit: int = 100, before: str | None = None) -> Page[Materialisation]:
        where = f"/v1/feature-views/{segment(reference)}/materialisations"
        return self._connection.get(where, Page[Materialisation], limit=limit, before=before)

    def look_up(self, reference: str, entities: Sequence[Mapping[str, Any]]) -> LookedUp:
        """What is known of entities now, each a dict of the view's entity columns, in their order."""
        command = LookUp(entities=tuple(dict(each) for each in entities))
        return self._connection.post(f"/v1/feature-views/{segment(reference)}/look-up", LookedUp, command)
