"""What a feature view may be, what its keys are, and what a lookup answers. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from headway.errors import FeaturesStale, Invalid
from headway.kernel.naming import checked_name, nearest
from headway.kernel.records import encode
from headway.lifecycle.feature_views.records import DefineFeatures, FeatureView, Found, OnlineRow, Scalar, WhenStale

MOST_FEATURES = 1000
MOST_LOOKED_UP = 1000


def checked_definition(command: DefineFeatures) -> DefineFeatures:
    """Raises `Invalid` for names that cannot be, or are there twice, and for a `ttl_s` that is no time."""
    checked_name(command.name, "feature view")
    if not command.entity:
        raise Invalid(f"feature view {command.name!r} needs an entity: the columns that say what a row is about")
    if not 1 <= len(command.features) <= MOST_FEATURES:
        raise Invalid(f"feature view {command.name!r} needs 1 to {MOST_FEATURES} features, not {len(command.features)}")
    names = [*command.entity, *(checked_name(feature.name, "feature") for feature in command.features)]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise Invalid(f"feature view {command.name!r} has {twice[0]!r} twice; give each feature a name of its own")
    if command.ttl_s is not None and not 0 < command.ttl_s < math.inf:
        raise Invalid(f"ttl_s of {command.name!r} is to be seconds above 0, or left out, and not {command.ttl_s!r}")
    return command


def entity_key(entity: tuple[Scalar, ...]) -> str:
    """What an entity is found by: the same for 1 and 1.0, which tables take for one another."""
    return encode([int(each) if isinstance(each, float) and each.is_integer() else each for each in entity]).decode()


def asked_entity(view: FeatureView, given: Mapping[str, Any]) -> tuple[Scalar, ...]:
    """Raises `Invalid` unless `given` has a value for each entity column of the view, and nothing else."""
    for name in given:
        if name not in view.entity:
            raise Invalid(f"{view.label} has no entity column {name!r}{nearest(name, view.entity)}")
    values = tuple(given.get(name) for name in view.entity)
    for name, value in zip(view.entity, values, strict=True):
        if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
            raise Invalid(f"{view.label} is looked up by {', '.join(view.entity)}: {name!r} needs a number or a text")
    return values


def is_too_old(view: FeatureView, row: OnlineRow, at: datetime) -> bool:
    return view.ttl_s is not None and row.age_s(at) > view.ttl_s


def found(view: FeatureView, row: OnlineRow | None, now: datetime) -> Found:
    """What a lookup at `now` says of one entity; raises `FeaturesStale` where the view refuses what is too old."""
    names = [feature.name for feature in view.features]
    if row is None:
        return Found(values=dict.fromkeys(names))
    age_s = row.age_s(now)
    if not is_too_old(view, row, now):
        return Found(values=dict(zip(names, row.values, strict=True)), event_at=row.event_at, age_s=age_s)
    if view.when_stale is WhenStale.REFUSE:
        raise FeaturesStale(
            f"{view.label} has nothing of {entity_key(row.entity)} that is not older than {view.ttl_s:g} s; add newer "
            "rows to its source and materialise it again"
        )
    return Found(values=dict.fromkeys(names), event_at=row.event_at, age_s=age_s, stale=True)
