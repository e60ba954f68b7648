"""Feature views by each way in: defined, joined to rows of the past, materialised, looked up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from headway.cli.invocation import Invocation
from headway.cli.main import main
from headway.client.client import Client
from headway.errors import Invalid
from headway.kernel.access import Role
from headway.sdk import join_on
from tests.client.conftest import client_of
from tests.server.world import World, open_world

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    opened = open_world(tmp_path_factory.mktemp("features") / ".headway")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def client(world: World, now: datetime) -> Client:
    client = client_of(world, Role.OWNER)
    orders = pl.DataFrame(
        {
            "customer": [1, 1, 2, 2, None],
            "ordered_at": [now - 9 * DAY, now - 2 * DAY, now - 5 * DAY, now + DAY, now - DAY],
            "amount": [10.0, 20.0, 30.0, 40.0, 50.0],
            "nights": [2, 4, 3, 1, 1],
        }
    )
    client.datasets.add("orders", orders)
    return client


@pytest.fixture(scope="module")
def headway(world: World, client: Client) -> Any:
    return lambda *arguments: CliRunner().invoke(main, arguments, obj=Invocation(client_of(world, Role.OWNER)))


def test_the_command_line_defines_materialises_and_looks_up(headway: Any) -> None:
    define = [
        "feature-view", "define", "customers", "--source", "orders", "--entity", "customer", "--event-time",
        "ordered_at", "--feature", "amount", "--feature", "per_night=amount / nights", "--ttl-s", "600000",
    ]  # fmt: skip
    done = headway(*define)
    assert (done.exit_code, done.output) == (0, "customers@1: 2 features of customer\n")
    assert headway(*define).output == done.output
    assert "not materialised" in headway("feature-view", "show", "customers").output
    early = headway("feature-view", "look-up", "customers", "customer=1")
    assert early.exit_code == 2
    done = headway("feature-view", "materialise", "customers")
    assert "2 entities as of" in done.output
    assert "1 rows hold only later" in done.output
    assert "1 rows have no entity or no time" in done.output
    shown = headway("feature-view", "look-up", "customers", "customer=1").output
    assert "per_night  5.0" in shown
    assert "2 d old" in shown
    assert "knows nothing of it" in headway("feature-view", "look-up", "customers", "customer=7").output
    told = json.loads(headway("feature-view", "look-up", "customers", "customer=2", "--json").output)
    assert told["found"][0]["values"] == {"amount": 30.0, "per_night": 10.0}
    assert "customers@1" in headway("feature-view", "list").output
    assert "2 entities as of" in headway("feature-view", "show", "customers").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--source", "odrers", "--entity", "customer", "--feature", "amount"], "no dataset version 'odrers'"),
        (["--source", "orders", "--entity", "custmer", "--feature", "amount"], "did you mean 'customer'"),
        (["--source", "orders", "--entity", "customer", "--feature", "x=SUM(amount)"], "its own row alone"),
        (["--source", "orders", "--entity", "customer", "--feature", "a", "--feature", "a"], "give it once"),
    ],
)
def test_a_wrong_turn_is_told_and_nothing_is_kept(headway: Any, client: Client, arguments: Any, told: str) -> None:
    before = client.feature_views.list()
    done = headway("feature-view", "define", "wrong", "--event-time", "ordered_at", *arguments)
    assert done.exit_code == 2
    assert told in done.output
    assert client.feature_views.list() == before


def test_the_sdk_joins_what_was_known_then(client: Client, now: datetime) -> None:
    view = client.feature_views.define(
        "customers", source="orders", entity="customer", event_time="ordered_at", features=["amount"],
        when_stale="refuse",
    )  # fmt: skip
    rows = pl.DataFrame(
        {"customer": [2, 1, 1, 3], "when": [now, now - 3 * DAY, now - 10 * DAY, now], "y": [0, 1, 0, 1]}
    )
    got = join_on(client, rows, ["customers"], time="when")
    assert got["amount"].to_list() == [30.0, 10.0, None, None]
    assert got.drop("amount").equals(rows)
    assert join_on(client, rows, [f"{view.label}=1"], time="when").equals(got)
    pandas = join_on(client, rows.to_pandas(), [view.id], time="when")
    assert type(pandas).__module__.startswith("pandas")
    assert pandas["amount"].fillna(-1).to_list() == [30.0, 10.0, -1, -1]
    with pytest.raises(Invalid, match="no column 'wehn'"):
        join_on(client, rows, ["customers"], time="wehn")


def test_online_and_training_agree_to_the_value_as_data_come_in(client: Client, now: datetime, tmp_path: Path) -> None:
    """Replays a year of days: what was looked up each day is what a join of the whole later gives to that day."""
    ages = list(range(360, 0, -24))
    whole = pl.DataFrame(
        {
            "customer": [age % 5 for age in ages], "at": [now - age * DAY for age in ages],
            "seen": [now - (age - age % 3 * 17) * DAY for age in ages], "v": [age / 7 for age in ages],
        }
    )  # fmt: skip
    client.datasets.add("history", whole)
    client.feature_views.define(
        "history", source="history", entity="customer", event_time="at", known_at="seen", features=["v"]
    )
    asked, answered = [], []
    for age in range(350, 0, -35):
        client.feature_views.materialise("history", as_of=now - age * DAY)
        found = client.feature_views.look_up("history", [{"customer": each} for each in range(5)]).found
        asked += [(each, now - age * DAY) for each in range(5)]
        answered += [each.values["v"] for each in found]
    rows = pl.DataFrame(asked, schema=["customer", "when"], orient="row")
    assert join_on(client, rows, ["history"], time="when")["v"].to_list() == answered
    assert len(set(answered)) > 5
