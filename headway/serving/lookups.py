"""Features that a request leaves out, looked up by entity: in files that the control plane ships, as it ships models.

A value counts at the moment of the event, or of arrival where the request names none: a row that holds only later is
not used, and one that is older than the view's `ttl_s` is what the view says it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from headway.engines.feature_views.snapshots import Snapshot
from headway.errors import BadTensor, Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.feature_views.records import FeatureView, OnlineRow, Scalar, WhenStale
from headway.lifecycle.feature_views.rules import asked_entity, entity_key, is_too_old
from headway.serving.tensors import Inputs


class LoadedView(NamedTuple):
    """`snapshot` is None before the view was materialised."""

    view: FeatureView
    snapshot: Snapshot | None


class LookUps:
    """The feature views of one release."""

    def __init__(self, views: Sequence[LoadedView], inputs: Inputs) -> None:
        self._inputs = inputs
        known = {*inputs.columns}
        self._views = [
            (each, [feature.name for feature in each.view.features if feature.name in known]) for each in views
        ]
        self.entities = tuple(dict.fromkeys(name for each in views for name in each.view.entity))
        self.features = frozenset[str]().union(*(taken for _, taken in self._views))

    def completed(self, entities: Mapping[str, Any], features: Mapping[str, Any], at: datetime) -> dict[str, Any]:
        """`features`, which stand as they are, and of those that are looked up the ones that it lacks.

        A view of whose entity nothing is said is left alone. Raises `BadTensor` naming each feature of which nothing
        is known that can be used, and why; one with a default, or that may be missing, is None.
        """
        if strange := [name[:200] for name in entities if name not in self.entities]:
            raise BadTensor(f"no entity is {strange[0]!r}{nearest(strange[0], self.entities)}", unknown=strange[:10])
        whole = dict(features)
        for loaded, taken in self._views:
            lacking = [name for name in taken if name not in features]
            if lacking and any(name in entities for name in loaded.view.entity):
                whole |= self._found(loaded, lacking, entities, at)
        return whole

    def _found(
        self, loaded: LoadedView, lacking: Sequence[str], entities: Mapping[str, Any], at: datetime
    ) -> dict[str, Scalar]:
        view, snapshot = loaded
        try:
            asked = asked_entity(view, {name: entities[name] for name in view.entity if name in entities})
        except Invalid as error:
            raise BadTensor(str(error), missing=[name for name in view.entity if name not in entities]) from None
        if snapshot is None:
            raise BadTensor(f"{_named(lacking)}: {view.label} was not materialised yet", missing=list(lacking))
        row = snapshot.find(entity_key(asked))
        reason = unusable(view, row, at)
        known = dict(zip((each.name for each in view.features), row.values, strict=True)) if row and not reason else {}
        found = {name: known.get(name) for name in lacking}
        refuses = view.when_stale is WhenStale.REFUSE and row is not None and is_too_old(view, row, at)
        wanting = [name for name in lacking if found[name] is None and (refuses or not self._inputs.may_lack(name))]
        if wanting:
            told = f"{view.label} of {entity_key(asked)[:200]} {reason or 'has no value'}"
            raise BadTensor(f"{_named(wanting)}: {told}; bring the values with the request", missing=wanting)
        return found


def unusable(view: FeatureView, row: OnlineRow | None, at: datetime) -> str:
    """Why the values of `row` do not count at a moment; empty if they do."""
    if row is None:
        return "is not known"
    if row.event_at > at:
        return f"holds only from {row.event_at.isoformat()} on"
    if is_too_old(view, row, at):
        return f"is {row.age_s(at):.0f} s old, and may be {view.ttl_s:g} s at most"
    return ""


def _named(features: Sequence[str]) -> str:
    return f"features are missing: {', '.join(features[:10])}"
