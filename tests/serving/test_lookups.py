"""A model that is asked by its entities: the model server looks up what training has joined, and to the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from headway.errors import HeadwayError
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import ModelVersion
from headway.sdk import join_on
from headway.serving.offline.replay import replay_all
from headway.serving.offline.skew import skew
from tests.serving.delivered import Delivered, delivered
from tests.serving.processes import Server

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
TTL = 20 * DAY
FEATURES = ("distance", "amount", "per_night", "visits")
CONTRACT = Contract(
    columns=(
        ColumnRule(name="distance", kind=Kind.FLOAT),
        ColumnRule(name="amount", kind=Kind.FLOAT, nulls=1.0),
        ColumnRule(name="per_night", kind=Kind.FLOAT, nulls=1.0, default=-1.0),
        ColumnRule(name="visits", kind=Kind.FLOAT),
        ColumnRule(name="late", kind=Kind.INT, use=Use.LABEL),
    ),
    closed=False,
)


def orders() -> pl.DataFrame:
    random, rows = np.random.default_rng(1), 200
    at = np.sort(random.uniform(0, 100, rows))
    return pl.DataFrame(
        {
            "customer": random.integers(0, 8, rows), "at": [START + each * DAY for each in at],
            "amount": random.lognormal(size=rows), "nights": random.integers(1, 7, rows),
        }
    )  # fmt: skip


def shops() -> pl.DataFrame:
    return pl.DataFrame(
        {"shop": ["n", "s"], "open": [True, False], "since": [START - DAY] * 2, "visits": [0.1, 7.0]}
    )  # fmt: skip


def bookings(seed: int) -> pl.DataFrame:
    random, rows = np.random.default_rng(seed), 300
    return pl.DataFrame(
        {
            "customer": random.integers(0, 8, rows), "shop": random.choice(["n", "s"], rows),
            "asked_at": [START + each * DAY for each in random.uniform(10, 100, rows)],
            "distance": random.normal(size=rows), "late": random.integers(0, 2, rows),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    with delivered(tmp_path_factory.mktemp("lookups")) as opened:
        client = opened.client
        client.datasets.add("orders", orders())
        client.datasets.add("shops", shops())
        client.feature_views.define(
            "customers", source="orders", entity="customer", event_time="at", ttl_s=TTL.total_seconds(),
            features={"amount": "", "per_night": "amount / nights"},
        )  # fmt: skip
        client.feature_views.define(
            "shops", source="shops", entity="shop", event_time="since", features=["visits", "open"]
        )
        for name, seed in (("bookings", 1), ("later", 2)):
            client.datasets.add(
                name, join_on(client, bookings(seed), ["customers", "shops"], time="asked_at"), contract=CONTRACT
            )
        yield opened


@pytest.fixture(scope="module")
def version(world: Delivered) -> ModelVersion:
    rows = world.client.datasets.read("bookings")
    model = HistGradientBoostingClassifier(max_iter=8).fit(rows.select(FEATURES).to_numpy(), rows["late"].to_numpy())
    with world.run() as run:
        return run.log_model(
            "lateness", model, training=["bookings"], evaluation="later", example=rows.select(FEATURES),
            feature_views=["customers", "shops@1"],
        )  # fmt: skip


@pytest.fixture(scope="module")
def server(world: Delivered, version: ModelVersion) -> Server:
    world.declare("late", "lateness")
    world.ship(version, "late")
    return world.serve("late")


@pytest.fixture
def fresh(world: Delivered, server: Server) -> Server:
    """What is known after 50 days."""
    publish(world, server, START + 50 * DAY)
    return server


def publish(world: Delivered, server: Server, at: datetime) -> None:
    for view in ("customers", "shops"):
        world.client.feature_views.materialise(view, as_of=at)
    server.reroute(world.platform.deployments.routing("late"))


def ask(server: Server, at: datetime | None = None, **body: Any) -> tuple[int, Any]:
    told = {"event_at": at.isoformat()} if at else {}
    return server.call("POST", "/v1/predict/late", {"features": {"distance": 0.5}} | told | body)


def captured(world: Delivered, server: Server, prediction: str) -> dict[str, Any]:
    rows = world.bring_back(server, "late")
    return rows.filter(pl.col("_prediction") == prediction).row(0, named=True)


def test_the_version_came_from_its_views(world: Delivered, version: ModelVersion) -> None:
    views = [world.client.feature_views.get(name).id for name in ("customers", "shops")]
    assert list(version.feature_views) == views
    parents = {edge.parent for edge in world.platform.lineage.parents(version.id)}
    assert {*views} <= parents


@pytest.mark.parametrize(
    ("views", "told"),
    [
        (["custmers"], "no feature view 'custmers'"),
        (["others"], "others@1 has no feature that the model takes"),
        (["customers", "twins"], "feature 'amount' is in customers@1 and in twins@1"),
    ],
)
def test_views_that_do_not_fit_are_refused(
    world: Delivered, version: ModelVersion, views: list[str], told: str
) -> None:
    """A version with the same bytes of the same run is the one that is there, so it is another run."""
    define = world.client.feature_views.define
    define("others", source="shops", entity="shop", event_time="since", features=["open"])
    define("twins", source="orders", entity="customer", event_time="at", features=["amount"])
    rows = world.client.datasets.read("bookings")
    model = HistGradientBoostingClassifier(max_iter=2).fit(rows.select(FEATURES).to_numpy(), rows["late"].to_numpy())
    with world.run() as run, pytest.raises(HeadwayError, match=told):
        run.log_model(
            "lateness", model, training=["bookings"], evaluation="later", example=rows.select(FEATURES),
            feature_views=views,
        )  # fmt: skip


def test_before_anything_is_materialised(server: Server) -> None:
    status, answer = ask(server, entities={"customer": 1, "shop": "n"})
    assert (status, answer["fields"]) == (422, ["amount", "per_night"])
    assert "customers@1 was not materialised yet" in answer["error"]


def test_what_is_looked_up_is_what_training_joins_to_the_bit(world: Delivered, server: Server, tmp_path: Path) -> None:
    """A hundred days replayed through the server: what it looked up is what a join of the whole gives later."""
    random, asked = np.random.default_rng(3), list[dict[str, Any]]()
    for day in range(10, 100, 6):
        moment = START + day * DAY
        publish(world, server, moment)
        for customer in range(9):  # one of whom nothing is known
            name, shop, distance = f"p-{day}-{customer}", str(random.choice(["n", "s"])), float(random.normal())
            entities = {"customer": customer, "shop": shop}
            status, answer = ask(server, moment, entities=entities, features={"distance": distance}, id=name)
            assert status == 200, answer
            asked.append({"prediction": name, "asked_at": moment, "distance": distance} | entities)
    rows = world.bring_back(server, "late").filter(pl.col("_prediction").str.starts_with("p-"))
    client, joined = world.client, join_on(world.client, pl.DataFrame(asked), ["customers", "shops"], time="asked_at")
    joined = joined.with_columns(pl.col("per_night").fill_null(-1.0))  # the contract's default
    both = rows.join(joined, left_on="_prediction", right_on="prediction", suffix="_joined")
    assert both.height == len(asked)
    for name in FEATURES:
        mine, theirs = both[name], both[f"{name}_joined"].cast(pl.Float32)
        assert mine.equals(theirs.alias(name)), name
        assert mine.n_unique() > (1 if name == "visits" else 30), name
    assert 0 < both["amount"].null_count() < both.height
    client.datasets.add("asked", joined.select("prediction", *FEATURES))
    found = skew(client, "late", "asked", "prediction", start=START, end=START + 365 * DAY)
    assert [(each.feature, each.different) for each in found.features] == [(name, 0) for name in FEATURES]
    again = replay_all(client, "late", start=START, end=START + 365 * DAY)
    assert again.identical == again.rows >= len(asked)


def test_features_that_are_given_stand(world: Delivered, fresh: Server) -> None:
    at = START + 50 * DAY
    given = {"distance": 0.5, "amount": 12.5}
    assert ask(fresh, at, entities={"customer": 1, "shop": "n"}, features=given, id="given")[0] == 200
    row = captured(world, fresh, "given")
    assert (row["amount"], row["visits"]) == (12.5, np.float32(0.1))
    assert row["per_night"] not in (None, -1.0)
    assert row["_filled"] is None


def test_views_of_which_nothing_is_said_are_left_alone(world: Delivered, fresh: Server) -> None:
    at = START + 50 * DAY
    status, answer = ask(fresh, at, entities={"customer": 1})
    assert (status, answer["fields"]) == (422, ["visits"])
    whole = {"distance": 0.5, "amount": None, "visits": 3.0}
    assert ask(fresh, at, features=whole, id="whole")[0] == 200
    assert captured(world, fresh, "whole")["_filled"] == ["per_night"]
    assert ask(fresh, at, features=whole, entities={"shop": "nowhere"})[0] == 200, "nothing of it is needed"


@pytest.mark.parametrize(
    ("entities", "fields", "told"),
    [
        ({"customer": 1, "shop": "nowhere"}, ["visits"], "shops@1 of [\"nowhere\"] is not known; bring the values"),
        ({"custmer": 1}, ["custmer"], "no entity is 'custmer', did you mean 'customer'"),
        ({"customer": 1, "shop": [1]}, [], "'shop' needs a number or a text"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_up_is_named(
    fresh: Server, entities: dict[str, Any], fields: list[str], told: str
) -> None:
    status, answer = ask(fresh, START + 50 * DAY, entities=entities)
    assert (status, answer["fields"]) == (422, fields)
    assert told.partition(",")[0] in answer["error"]


def test_a_request_for_nothing_is_none(fresh: Server) -> None:
    for body in ({}, {"entities": {}}, {"entities": 3}, {"features": None}):
        assert fresh.call("POST", "/v1/predict/late", body)[0] == 400, body


def test_values_that_are_too_old_are_missing(world: Delivered, fresh: Server) -> None:
    """The contract lets `amount` be missing and has a default for `per_night`."""
    entities = {"customer": 1, "shop": "n"}
    assert ask(fresh, START + 90 * DAY, entities=entities, id="old")[0] == 200
    row = captured(world, fresh, "old")
    assert (row["amount"], row["per_night"], row["_filled"]) == (None, -1.0, ["per_night"])
    assert ask(fresh, START - 9 * DAY, entities={"customer": 1, "shop": "n"})[1]["fields"] == ["visits"]
    assert ask(fresh, entities={"customer": 1, "shop": "n"}, id="now")[0] == 200
    assert captured(world, fresh, "now")["amount"] is None, "by the clock all of 2026 is old, or still to come"


def test_the_description_names_the_entities(fresh: Server) -> None:
    document = fresh.call("GET", "/v1/openapi.json")[1]
    schema = document["paths"]["/v1/predict/late"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["features"]
    assert schema["properties"]["features"]["required"] == ["distance"]
    assert list(schema["properties"]["entities"]["properties"]) == ["customer", "shop"]


def test_newer_values_come_without_a_new_generation(world: Delivered, fresh: Server) -> None:
    before = world.platform.deployments.routing("late")
    world.client.datasets.add("shops", shops().with_columns(visits=pl.Series([11.0, 12.0])))
    world.client.feature_views.materialise("shops")
    after = world.platform.deployments.routing("late")
    assert after == before.but(views=after.views)
    assert after.views != before.views
    active = fresh.status()["generation"]
    fresh.route(after.but(generation=active))
    entities = {"customer": 1, "shop": "n"}
    asked = 0

    def swapped() -> bool:
        nonlocal asked
        asked += 1
        status, _ = ask(fresh, START + 50 * DAY, entities=entities, id=f"swap-{asked}")
        assert status == 200, "requests are answered before, during and after"
        return bool(captured(world, fresh, f"swap-{asked}")["visits"] == 11.0)

    fresh.wait(swapped)
    assert fresh.status()["generation"] == active


def test_only_the_newest_values_are_kept(world: Delivered, fresh: Server) -> None:
    client = world.client
    for _ in range(2):
        client.feature_views.materialise("customers", as_of=START + 60 * DAY)
    done = client.feature_views.materialisations("customers").items
    assert [bool(each.snapshot) for each in done] == [True] + [False] * (len(done) - 1)


def test_a_file_that_was_changed_is_refused_and_the_one_before_serves_on(world: Delivered, fresh: Server) -> None:
    table = world.platform.deployments.routing("late")
    customers = table.views[0]
    path = world.application.home.blobs / customers.snapshot[3:5] / customers.snapshot[5:]
    bad = path.read_bytes()[:-1] + b"x"
    digest = "b3:" + "0" * 64
    wrong = path.parent.parent / "00" / ("0" * 62)
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_bytes(bad)
    views = (customers.but(snapshot=digest), *table.views[1:])
    fresh.route(table.but(views=views, generation=7777))
    fresh.wait(lambda: "was changed" in fresh.status()["error"])
    assert ask(fresh, START + 50 * DAY, entities={"customer": 1, "shop": "n"})[0] == 200
    wrong.unlink()


def test_asked_by_the_entity_alone_and_too_old_a_value_is_refused_by_field_and_age(world: Delivered) -> None:
    client = world.client
    client.feature_views.define(
        "strict", source="orders", entity="customer", event_time="at", ttl_s=60.0, when_stale="refuse",
        features={"amount": "", "per_night": "amount / nights"},
    )  # fmt: skip
    rows = client.datasets.read("bookings")
    taken = rows.select("amount", "per_night")
    model = HistGradientBoostingClassifier(max_iter=3).fit(taken.to_numpy(), rows["late"].to_numpy())
    with world.run() as run:
        made = run.log_model(
            "strict", model, training=["bookings"], evaluation="later", example=taken,
            feature_views=["strict"],
        )  # fmt: skip
    world.declare("strict", "strict")
    world.ship(made, "strict")
    client.feature_views.materialise("strict", as_of=START + 100 * DAY)
    server = world.serve("strict")
    last = orders().filter(pl.col("customer") == 1)["at"].max()
    assert isinstance(last, datetime)
    for after_s, status in ((59, 200), (61, 422)):
        body = {
            "entities": {"customer": 1},
            "event_at": (last + timedelta(seconds=after_s)).isoformat(),
        }  # fmt: skip
        found, answer = server.call("POST", "/v1/predict/strict", body)
        assert found == status, answer
    described = server.call("GET", "/v1/openapi.json")[1]["paths"]["/v1/predict/strict"]["post"]["requestBody"]
    assert described["content"]["application/json"]["schema"]["required"] == []
    assert answer["fields"] == ["amount", "per_night"]
    assert "strict@1 of [1] is 61 s old, and may be 60 s at most" in answer["error"]


def test_a_model_without_views_looks_nothing_up(world: Delivered) -> None:
    rows = world.client.datasets.read("bookings")
    model = HistGradientBoostingClassifier(max_iter=4).fit(rows.select(FEATURES).to_numpy(), rows["late"].to_numpy())
    with world.run() as run:
        made = run.log_model("bare", model, training=["bookings"], evaluation="later", example=rows.select(FEATURES))
    world.declare("bare", "bare")
    world.ship(made, "bare")
    server = world.serve("bare")
    status, answer = server.call("POST", "/v1/predict/bare", {"entities": {"customer": 1}, "features": {}})
    assert (status, answer["fields"]) == (422, ["customer"])
    assert "looks nothing up" in answer["error"]
