"""Feature views: what may be defined, and what a lookup answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headway.errors import Conflict, FeaturesStale, Forbidden, Invalid, NotFound
from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.ledger import verify
from headway.kernel.records import encode
from headway.lifecycle.datasets.records import AddVersion
from headway.lifecycle.datasets.schema import ColumnSummary, Kind, Summary
from headway.lifecycle.feature_views.records import DefineFeatures, Feature, LookUp, OnlineRow, WhenStale
from headway.lifecycle.feature_views.rules import checked_definition, entity_key
from headway.testing.memory_platform import OpenedPlatform, open_platform

VIEW = DefineFeatures(
    name="customers", source="orders", entity=("customer",), event_time="at", features=(Feature(name="amount"),)
)


@pytest.fixture
def opened() -> OpenedPlatform:
    opened = open_platform()
    table(opened, 1)
    return opened


def table(opened: OpenedPlatform, number: int, *rows: tuple[Any, float, Any]) -> None:
    """Adds a version of the source; a row is an entity, its age in seconds and the amount."""
    columns = (ColumnSummary(name="amount", kind=Kind.FLOAT, nulls=0),)
    data = encode(Summary(rows=number, columns=columns))
    now = opened.clock.now()
    opened.tables.newest[data] = tuple(
        OnlineRow(entity=(entity,), event_at=now - timedelta(seconds=age_s), values=(amount,))
        for entity, age_s, amount in rows
    )
    blob = opened.platform.blobs.put(data)
    opened.platform.datasets.add(AddVersion(dataset="orders", blob=blob), by=SYSTEM)


def asked(*customers: Any) -> LookUp:
    return LookUp(entities=tuple({"customer": each} for each in customers))


def test_the_same_definition_is_the_same_version_and_another_is_the_next(opened: OpenedPlatform) -> None:
    views = opened.platform.feature_views
    first = views.define(VIEW, by=SYSTEM)
    assert (first.label, first.definition) == ("customers@1", VIEW)
    assert views.define(VIEW, by=SYSTEM) == first
    second = views.define(VIEW.but(ttl_s=60.0), by=SYSTEM)
    assert second.label == "customers@2"
    assert views.get("customers") == views.get(second.id) == second
    assert views.get("customers@1") == first
    assert views.list().items == (second, first)
    assert [edge.parent for edge in opened.platform.lineage.parents(first.id)] == [
        opened.platform.datasets.version("orders").id
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "no name"}, "cannot name a feature view"),
        ({"entity": ()}, "needs an entity"),
        ({"features": ()}, "1 to 1000 features"),
        ({"features": (Feature(name="customer"),)}, "has 'customer' twice"),
        ({"features": (Feature(name="a b"),)}, "cannot name a feature"),
        ({"ttl_s": 0.0}, "above 0"),
        ({"ttl_s": float("inf")}, "above 0"),
        ({"ttl_s": float("nan")}, "above 0"),
    ],
)
def test_what_cannot_be_defined(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid, match=told):
        checked_definition(VIEW.but(**changes))


def test_a_source_is_there_and_is_named_without_a_number(opened: OpenedPlatform) -> None:
    with pytest.raises(NotFound):
        opened.platform.feature_views.define(VIEW.but(source="odrers"), by=SYSTEM)
    with pytest.raises(Invalid, match="by its name alone"):
        opened.platform.feature_views.define(VIEW.but(source="orders@1"), by=SYSTEM)
    with pytest.raises(NotFound, match="feature-view list"):
        opened.platform.feature_views.get("customers")


def test_readers_define_and_materialise_nothing(opened: OpenedPlatform) -> None:
    reader = Actor(name="a reader", role=Role.READER)
    with pytest.raises(Forbidden):
        opened.platform.feature_views.define(VIEW, by=reader)
    opened.platform.feature_views.define(VIEW, by=SYSTEM)
    with pytest.raises(Forbidden):
        opened.platform.feature_views.materialise("customers", by=reader)


def test_only_what_differs_is_written_and_what_is_gone_is_removed(opened: OpenedPlatform) -> None:
    views = opened.platform.feature_views
    views.define(VIEW, by=SYSTEM)
    with pytest.raises(Conflict, match="feature-view materialise customers@1"):
        views.look_up("customers", asked(1))
    table(opened, 2, (1, 10, 5.0), (2, 20, 6.0), ("x", 30, None))
    done = views.materialise("customers", by=SYSTEM)
    assert (done.entities, done.written, done.removed) == (3, 3, 0)
    table(opened, 3, (1, 10, 5.0), (2, 5, 7.0))
    done = views.materialise("customers", by=SYSTEM)
    assert (done.entities, done.written, done.removed) == (2, 1, 1)
    answer = views.look_up("customers", asked(2, 1.0, "x", 3, 2))
    assert [found.values["amount"] for found in answer.found] == [7.0, 5.0, None, None, 7.0]
    assert [found.age_s for found in answer.found] == [5.0, 10.0, None, None, 5.0]
    assert answer.version == done.version
    back = views.materialise("customers", version="2", by=SYSTEM)
    assert views.look_up("customers", asked("x", 2)).found[1].values == {"amount": 6.0}
    assert views.materialisations("customers").items[0] == back
    assert verify(opened.stores.ledger)


def test_what_is_too_old_is_nothing_or_refused_as_declared(opened: OpenedPlatform) -> None:
    views = opened.platform.feature_views
    views.define(VIEW.but(ttl_s=60.0), by=SYSTEM)
    strict = views.define(VIEW.but(ttl_s=60.0, when_stale=WhenStale.REFUSE), by=SYSTEM)
    table(opened, 2, (1, 50, 5.0))
    for each in ("customers@1", strict.id):
        views.materialise(each, by=SYSTEM)
    assert views.look_up(strict.id, asked(1)).found[0].values == {"amount": 5.0}
    opened.clock.advance(10)
    assert not views.look_up("customers@1", asked(1)).found[0].stale
    opened.clock.advance(1)
    (stale,) = views.look_up("customers@1", asked(1)).found
    assert (stale.values, stale.stale, stale.age_s) == ({"amount": None}, True, 61.0)
    with pytest.raises(FeaturesStale, match=r"\[1\] that is not older than 60 s"):
        views.look_up(strict.id, asked(1))
    assert views.look_up(strict.id, asked(2)).found[0].values == {"amount": None}


def test_a_moment_of_the_past_may_be_asked_for_and_none_of_the_future(opened: OpenedPlatform) -> None:
    views, now = opened.platform.feature_views, opened.clock.now()
    views.define(VIEW, by=SYSTEM)
    table(opened, 2, (1, 50, 5.0))
    assert views.materialise("customers", as_of=now - timedelta(seconds=51), by=SYSTEM).entities == 0
    with pytest.raises(Invalid, match="still to come"):
        views.materialise("customers", as_of=now + timedelta(seconds=1), by=SYSTEM)


@pytest.mark.parametrize(
    ("entity", "told"),
    [
        ({}, "'customer' needs a number or a text"),
        ({"customer": None}, "'customer' needs"),
        ({"customer": [1]}, "'customer' needs"),
        ({"customer": float("nan")}, "'customer' needs"),
        ({"customre": 1}, "did you mean 'customer'"),
    ],
)
def test_who_cannot_be_looked_up(opened: OpenedPlatform, entity: dict[str, Any], told: str) -> None:
    opened.platform.feature_views.define(VIEW, by=SYSTEM)
    opened.platform.feature_views.materialise("customers", by=SYSTEM)
    with pytest.raises(Invalid, match=told):
        opened.platform.feature_views.look_up("customers", LookUp(entities=(entity,)))
    with pytest.raises(Invalid, match="at most 1000"):
        opened.platform.feature_views.look_up("customers", asked(*range(1001)))


def test_keys_tell_apart_what_tables_do() -> None:
    assert entity_key((1,)) == entity_key((1.0,))
    assert len({entity_key(each) for each in ((1,), ("1",), (True,), (1.5,), (1, 1), ("1,1",))}) == 6
