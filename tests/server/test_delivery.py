"""The way of a change over HTTP: each step by who may take it, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.kernel.access import Role
from headway.lifecycle.changes.records import Stage
from headway.lifecycle.gates.records import Outcome
from tests.server.test_routes import PROJECT
from tests.server.world import World, declare, drive, judge, open_world, posted, train


@pytest.fixture
def fresh(home: Path) -> Iterator[World]:
    opened = open_world(home)
    declare(opened)
    yield opened
    opened.close()


def judged(world: World) -> int:
    """The number of a change that its gate has let pass."""
    ids = train(world.client(Role.AUTHOR))
    change = posted(
        world.client(Role.AUTHOR), "/v1/changes", {"deployment": "arrivals", "model_version": ids["model_version"]}
    )
    judge(world, drive(world, change["id"]))
    drive(world, change["id"])
    number: int = change["number"]
    return number


def test_nobody_approves_their_own_change(fresh: World) -> None:
    number = judged(fresh)
    own = fresh.client(Role.AUTHOR).post(f"/v1/changes/{number}/approve", json={"reason": "mine"})
    assert own.status_code == 403
    agreed = fresh.client(Role.OWNER).post(f"/v1/changes/{number}/approve", json={"reason": "good"})
    assert agreed.status_code == 201
    again = fresh.client(Role.APPROVER).get(f"/v1/changes/{number}/approvals").json()["items"]
    assert [(each["actor"], each["decision"], each["reason"]) for each in again] == [("a owner", "agree", "good")]
    assert drive(fresh, str(number)).stage is Stage.ROLLING_OUT


def test_a_declined_change_is_rejected(fresh: World) -> None:
    number = judged(fresh)
    declined = fresh.client(Role.APPROVER).post(f"/v1/changes/{number}/decline", json={"reason": "not now"})
    assert declined.json()["decision"] == "decline"
    change = drive(fresh, str(number))
    assert change.stage is Stage.REJECTED
    assert "not now" in change.reason
    late = fresh.client(Role.APPROVER).post(f"/v1/changes/{number}/approve", json={"reason": "yet"})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "illegal_move")


def test_what_the_gate_does_not_pass_is_not_released(fresh: World) -> None:
    ids = train(fresh.client(Role.AUTHOR))
    body = {"deployment": "arrivals", "model_version": ids["model_version"]}
    change = posted(fresh.client(Role.AUTHOR), "/v1/changes", body)
    judge(fresh, drive(fresh, change["id"]), Outcome.UNPROVEN)
    assert drive(fresh, change["id"]).stage is Stage.REJECTED
    assert fresh.client(Role.READER).get("/v1/releases").json()["items"] == []


def test_lineage_leads_from_a_release_to_its_data_and_back(delivered: tuple[World, dict[str, str]]) -> None:
    world, ids = delivered
    reader = world.client(Role.READER)
    up = reader.get(f"/v1/lineage/{ids['release']}").json()["up"]
    assert ids["dataset_version"] in {edge["parent"] for edge in up}
    down = reader.get(f"/v1/lineage/{ids['dataset_version']}").json()["down"]
    assert ids["release"] in {edge["child"] for edge in down}


def test_a_project_that_was_applied_is_kept_and_applying_it_again_changes_nothing(fresh: World) -> None:
    operator = fresh.client(Role.OPERATOR)
    assert operator.put("/v1/project", content=PROJECT).status_code == 200
    assert operator.get("/v1/project").text == PROJECT
    entries = len(operator.get("/v1/ledger?limit=1000").json())
    assert operator.put("/v1/project", content=PROJECT).status_code == 200
    assert len(operator.get("/v1/ledger?limit=1000").json()) == entries
    environment = operator.get("/v1/environments/staging").json()
    assert environment["gate"] == [{"check": "accuracy", "settings": {}}]
    assert [trigger["name"] for trigger in operator.get("/v1/triggers").json()["items"]] == ["again", "daily", "hook"]


def test_a_project_with_a_mistake_changes_nothing(fresh: World) -> None:
    operator = fresh.client(Role.OPERATOR)
    entries = len(operator.get("/v1/ledger?limit=1000").json())
    refused = operator.put("/v1/project", content=PROJECT.replace('environment = "staging"', 'environment = "stagign"'))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_settings")
    assert "staging" in refused.json()["error"]["message"]
    assert len(operator.get("/v1/ledger?limit=1000").json()) == entries
    assert operator.get("/v1/project").status_code == 404
