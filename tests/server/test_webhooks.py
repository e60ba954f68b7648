"""Webhooks over the native API and the command line, and through `kill -9` of a real server."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from headway.cli.main import main
from headway.client.client import Client
from headway.client.http import Connection
from headway.kernel.access import Role
from headway.lifecycle.webhooks.rules import signature
from tests.engines.receivers import receiving
from tests.server.serving import up
from tests.server.world import World

HOOK = {"name": "chat", "url": "https://hooks.invalid/x?token=abc", "events": ["change.settled"]}


def test_a_secret_is_shown_once(world: World) -> None:
    operator = world.client(Role.OPERATOR)
    added = operator.post("/v1/webhooks", json=HOOK).json()
    assert added["secret"].startswith("whsec_")
    given = operator.post("/v1/webhooks", json={**HOOK, "name": "given", "secret": "my own"}).json()
    assert given["secret"] == "my own"
    listed = operator.get("/v1/webhooks").json()["items"]
    assert [(each["name"], each["signed"], each["sealed_secret"]) for each in listed] == [
        ("given", True, ""), ("chat", True, "")
    ]  # fmt: skip
    assert operator.get("/v1/webhooks/chat").json()["id"] == added["webhook"]["id"]
    tried = operator.post(f"/v1/webhooks/{added['webhook']['id']}/test", json={}).json()
    assert (tried["status"], bool(tried["error"])) == (0, True)
    for name in ("chat", "given"):
        assert operator.delete(f"/v1/webhooks/{name}").json()["state"] == "removed"
        assert operator.get(f"/v1/webhooks/{name}/deliveries").status_code == 404


BAD = [
    ({**HOOK, "url": "http://hooks.invalid/"}, 400, "invalid"),
    ({**HOOK, "url": "https://127.0.0.1/"}, 422, "refused"),
    ({**HOOK, "url": "https://169.254.169.254/latest/meta-data"}, 422, "refused"),
    ({**HOOK, "url": "https://0x7f.1/"}, 400, "invalid"),
    ({**HOOK, "events": []}, 400, "invalid"),
    ({**HOOK, "events": ["change.setled"]}, 400, "invalid"),
    ({**HOOK, "name": ""}, 400, "invalid"),
    ({**HOOK, "sealed_secret": "x"}, 400, "invalid"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD)
def test_what_is_no_webhook(world: World, body: object, status: int, code: str) -> None:
    answer = world.client(Role.OPERATOR).post("/v1/webhooks", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_mlflows_clients_see_only_what_mlflow_has_a_name_for(world: World) -> None:
    operator, base = world.client(Role.OPERATOR), "/api/2.0/mlflow/webhooks"
    mixed = operator.post("/v1/webhooks", json={**HOOK, "name": "mixed", "events": ["change.opened", "prompt.created"]})
    own = operator.post("/v1/webhooks", json={**HOOK, "name": "own"})
    listed = operator.get(base).json()["webhooks"]
    assert [(each["name"], each["events"]) for each in listed] == [
        ("mixed", [{"entity": "PROMPT", "action": "CREATED"}])
    ]  # fmt: skip
    path = f"{base}/{mixed.json()['webhook']['id']}"
    operator.patch(path, json={"events": [{"entity": "PROMPT_TAG", "action": "SET"}]}).raise_for_status()
    assert operator.get("/v1/webhooks/mixed").json()["events"] == ["prompt_tag.set", "change.opened"]
    assert operator.get(f"{base}/{own.json()['webhook']['id']}").status_code == 404
    for each in ("mixed", "own"):
        operator.delete(f"/v1/webhooks/{each}").raise_for_status()


def test_a_webhook_through_the_command_line_and_kill_9(tmp_path: Path) -> None:
    with receiving() as receiver, up(tmp_path / ".headway", "--webhook-host", receiver.listing) as server:
        name, secret = "chat", _said(server.client, "add", "chat", receiver.url, "--event", "registered_model.created")
        assert _said(server.client, "test", name) == "delivered: status 200"
        receiver.got.clear()
        reached, go_on = threading.Event(), threading.Event()

        def hold(answer: BaseHTTPRequestHandler) -> None:
            reached.set()
            go_on.wait(20)
            answer.close_connection = True

        receiver.answers = [hold]
        for model in ("a", "b", "c"):
            _create(server.client, model)
        assert reached.wait(20)
        server.kill_and_start()  # while the first one is under way
        receiver.until(4)
        go_on.set()
        _create(server.client, "d")
        receiver.until(5)
        _until_all_delivered(server.client, 4)
        assert [json.loads(body)["data"]["name"] for _, _, body in receiver.got] == ["a", "a", "b", "c", "d"]
        ids = [headers["x-mlflow-delivery-id"] for _, headers, _ in receiver.got]
        assert (ids[0] == ids[1], len(set(ids))) == (True, 4)
        for _, headers, body in receiver.got:
            signed = signature(secret, headers["x-mlflow-delivery-id"], headers["x-mlflow-timestamp"], body)
            assert headers["x-mlflow-signature"] == signed
        assert "registered_model.created" in _said(server.client, "deliveries", name)
        assert "signed   yes" in _said(server.client, "show", name)
        assert name in _said(server.client, "list")
        _said(server.client, "remove", name)
        assert "no webhooks" in _said(server.client, "list")


def _said(client: httpx2.Client, *arguments: str) -> str:
    token = client.headers["authorization"].removeprefix("Bearer ")
    done = CliRunner().invoke(
        main, ["webhook", *arguments, "--url", str(client.base_url)], env={"HEADWAY_TOKEN": token}
    )
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def _create(client: httpx2.Client, model: str) -> None:
    client.post("/api/2.0/mlflow/registered-models/create", json={"name": model}).raise_for_status()


def _until_all_delivered(client: httpx2.Client, count: int) -> None:
    token = client.headers["authorization"].removeprefix("Bearer ")
    end = time.monotonic() + 20
    with Client(Connection(str(client.base_url), token)) as sdk:
        while [each.state for each in sdk.webhooks.deliveries("chat").items] != ["delivered"] * count:
            assert time.monotonic() < end
            time.sleep(0.02)
