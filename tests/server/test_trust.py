"""Registered models become versions that gates judge; what may hold code is let in by nobody but an operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.errors import AlreadyExists, Invalid, NotFound, NotTrusted
from headway.kernel.access import SYSTEM, Role
from headway.kernel.records import encode
from headway.lifecycle.changes.records import OpenChange, Stage
from headway.lifecycle.models.records import ModelFolder
from tests.server.world import (
    SIGNATURE,
    World,
    declare,
    drive,
    judge,
    open_world,
    posted,
    put_blob,
    register,
    registered_version,
    train,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(tmp_path / ".headway")
    yield opened
    opened.close()


@pytest.fixture
def body(world: World) -> dict[str, Any]:
    ids = train(world.client(Role.AUTHOR))
    blob = register(world, ids["run"])
    return registered_version(blob, {"signature": SIGNATURE, "task": "binary"})


def test_it_keeps_its_number_its_run_and_what_was_logged(world: World, body: dict[str, Any]) -> None:
    author = world.client(Role.AUTHOR)
    version = posted(author, "/v1/models/versions", body)
    assert (version["model"], version["number"], version["form"], version["as_logged"]) == (
        "crafted",
        1,
        "mlflow",
        True,
    )
    assert (version["run"] != "", version["registered_by"]) == (True, "mia")
    assert posted(author, "/v1/models/versions", body) == version
    assert len(world.application.platform.registry.versions("crafted")) == 1
    other = {**body, "signature": {**SIGNATURE, "inputs": []}}
    assert author.post("/v1/models/versions", json=other).json()["error"]["code"] == AlreadyExists.code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"registration": "crafted@2"}, NotFound.code),
        ({"registration": "late@1"}, NotFound.code),
        ({"model": "late"}, Invalid.code),
        ({"blob": "files"}, Invalid.code),
        ({"blob": "nonsense"}, Invalid.code),
        ({"blob": "missing"}, NotFound.code),
    ],
)
def test_what_is_not_what_was_registered(
    world: World, body: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    author = world.client(Role.AUTHOR)
    files = world.application.platform.models.registered("crafted@1").files
    made = {
        "files": encode(ModelFolder(files=files[:1])),
        "nonsense": b"no list",
        "missing": encode(ModelFolder(files=(files[0].but(blob="b3:" + "0" * 64),))),
    }
    if "blob" in changes:
        changes = {"blob": put_blob(author, made[changes["blob"]])}
    answer = author.post("/v1/models/versions", json={**body, **changes})
    assert (answer.status_code in (400, 404), answer.json()["error"]["code"]) == (True, code), answer.text


def test_only_an_operator_trusts_and_only_with_a_reason(world: World, body: dict[str, Any]) -> None:
    author, operator = world.client(Role.AUTHOR), world.client(Role.OPERATOR)
    version = posted(author, "/v1/models/versions", body)
    path = "/v1/models/versions/crafted@1/trust"
    refused = author.get(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, NotTrusted.code)
    assert "headway model trust crafted@1 --why" in refused.json()["error"]["message"]
    assert author.post(path, json={"why": "let me"}).status_code == 403
    assert operator.post(path, json={"why": " "}).status_code == 400
    trust = posted(operator, path, {"why": "we trained it"})
    assert trust["blob"] == version["blob"]
    assert posted(operator, path, {"why": "again"}) == trust
    assert author.get(path).json() == trust
    assert operator.post("/v1/models/versions/late@1/trust", json={"why": "x"}).status_code == 400
    assert author.get("/v1/models/versions/late@1/trust").status_code == 404


def test_trust_is_taken_back_and_given_anew(world: World, body: dict[str, Any]) -> None:
    author, operator = world.client(Role.AUTHOR), world.client(Role.OPERATOR)
    posted(author, "/v1/models/versions", body)
    path, back = "/v1/models/versions/crafted@1/trust", "/v1/models/versions/crafted@1/distrust"
    assert operator.post(back, json={"why": "never given"}).status_code == 400
    given = posted(operator, path, {"why": "we trained it"})
    assert author.post(back, json={"why": "mine"}).status_code == 403
    assert operator.post(back, json={"why": " "}).status_code == 400
    taken = operator.post(back, json={"why": "its pickle phones home"}).json()
    assert (taken["id"], taken["withdrawn_why"]) == (given["id"], "its pickle phones home")
    assert operator.post(back, json={"why": "again"}).json() == taken
    refused = author.get(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, NotTrusted.code)
    assert "phones home" in refused.json()["error"]["message"]
    anew = posted(operator, path, {"why": "read line by line"})
    assert (anew["id"], anew["withdrawn_at"], anew["why"]) == (given["id"], None, "read line by line")
    assert author.get(path).json() == anew


def test_what_serves_goes_on_without_trust_and_nothing_new_begins(world: World, body: dict[str, Any]) -> None:
    declare(world)
    author, platform = world.client(Role.AUTHOR), world.application.platform
    for name in ("crafts", "more-crafts"):
        platform.deployments.declare(name, "production", "crafted", by=SYSTEM)
    version = posted(author, "/v1/models/versions", body)["id"]
    platform.models.trust("crafted@1", "we trained it", by=SYSTEM)
    opened = platform.changes.open(OpenChange(deployment="crafts", model_version=version), by=SYSTEM)
    release = platform.releases.sign(opened.id, version, "production", authors=(), by=SYSTEM, break_glass="it burns")
    rollout = platform.rollouts.start("crafts", release.id, by=SYSTEM)
    platform.rollouts.advance(rollout.id, 0, "first step", by=SYSTEM)
    platform.models.distrust("crafted@1", "its pickle phones home", by=SYSTEM)
    [route] = platform.deployments.routing("crafts").routes
    assert route.trust.startswith("tu_")
    with pytest.raises(NotTrusted):
        platform.rollouts.start("more-crafts", release.id, by=SYSTEM)
    other = platform.changes.open(OpenChange(deployment="more-crafts", model_version=version), by=SYSTEM)
    with pytest.raises(NotTrusted):
        platform.releases.sign(other.id, version, "production", authors=(), by=SYSTEM, break_glass="it burns")


def test_no_release_without_trust(world: World, body: dict[str, Any]) -> None:
    """Not by a passed gate either, nor by break-glass."""
    declare(world)
    author, platform = world.client(Role.AUTHOR), world.application.platform
    platform.deployments.declare("crafts", "production", "crafted", by=SYSTEM)
    version = posted(author, "/v1/models/versions", body)["id"]
    opened = platform.changes.open(OpenChange(deployment="crafts", model_version=version), by=SYSTEM)
    with pytest.raises(NotTrusted):
        platform.releases.sign(opened.id, version, "production", authors=(), by=SYSTEM, break_glass="it burns")
    judge(world, drive(world, opened.id))
    drive(world, opened.id)
    posted(world.client(Role.APPROVER), f"/v1/changes/{opened.number}/approve", {"reason": "good"})
    with pytest.raises(NotTrusted):
        drive(world, opened.id)
    platform.models.trust("crafted@1", "we trained it", by=SYSTEM)
    change = drive(world, opened.id)
    assert change.stage is Stage.ROLLING_OUT
    platform.rollouts.advance(change.rollout, 0, "first step", by=SYSTEM)
    [route] = platform.deployments.routing("crafts").routes
    assert route.trust.startswith("tu_")


def test_who_registered_it_is_an_author_who_may_not_approve(world: World, body: dict[str, Any]) -> None:
    declare(world)
    platform = world.application.platform
    platform.deployments.declare("crafts", "production", "crafted", by=SYSTEM)
    posted(world.client(Role.AUTHOR), "/v1/models/versions", body)
    change = platform.changes.open(OpenChange(deployment="crafts", model_version="crafted@1"), by=SYSTEM)
    assert "mia" in platform.changes.authors(change)
