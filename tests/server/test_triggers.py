"""Triggers over HTTP and the command line, signed requests, and `kill -9` of a real server at any moment."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from headway.cli.main import main
from headway.kernel.access import Role
from headway.kernel.clock import SystemClock
from headway.lifecycle.changes.hooks import signed
from headway.storage.sql.stores import open_stores
from tests.server.serving import up
from tests.server.world import World, open_world

SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
PROJECT = """
[project]
name = "orders"
[pipelines.train]
entry = "pipeline:train"
[models.orders]
[environments.production]
[deployments.orders]
environment = "production"
model = "orders"
[triggers.partner]
on = "webhook"
pipeline = "train"
deployment = "orders"
takes = { country = "text", days = "int" }
params = { country = "FR", asked = "${delivery}" }
most_open = 100
[triggers.push]
on = "commit"
source = "main"
paths = ["pipelines/**"]
pipeline = "train"
deployment = "orders"
params = { commit = "${commit}" }
most_open = 100
[triggers.nightly]
on = "schedule"
source = "30 2 * * *"
time_zone = "Europe/Berlin"
pipeline = "train"
deployment = "orders"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    opened = open_world(tmp_path_factory.mktemp("triggers") / ".headway")
    opened.client(Role.OPERATOR).put("/v1/project", content=PROJECT).raise_for_status()
    yield opened
    opened.close()


def secret(client: httpx2.Client, name: str) -> str:
    made: str = client.post(f"/v1/triggers/{name}/secret", json={}).raise_for_status().json()["secret"]
    return made


def send(client: httpx2.Client, key: str, identifier: str, body: bytes = b"{}", **change: str) -> httpx2.Response:
    headers = signed(key, identifier, datetime.now(UTC), body) | change
    return client.post("/v1/triggers/partner/webhook", content=body, headers=headers)


def test_a_trigger_is_shown_without_its_secret(world: World) -> None:
    operator = world.client(Role.OPERATOR)
    assert secret(operator, "partner").startswith("whsec_")
    listed = operator.get("/v1/triggers").json()["items"]
    assert [each["name"] for each in listed] == ["nightly", "partner", "push"]
    shown = operator.get("/v1/triggers/nightly").json()
    assert len(shown["next_due"]) == 5
    assert all(
        each["sealed_secret"] == "" for each in [*listed, operator.get("/v1/triggers/partner").json()["trigger"]]
    )
    assert operator.post("/v1/triggers/nightly/secret", json={}).status_code == 409
    assert operator.get("/v1/triggers/nigthly").status_code == 404


def test_a_signed_request_opens_one_change_with_the_params_it_brings(world: World) -> None:
    operator, anybody = world.client(Role.OPERATOR), world.client(None)
    key = secret(operator, "partner")
    body = json.dumps({"country": "DE", "days": 3}).encode()
    heard = send(anybody, key, "msg-1", body).raise_for_status().json()
    assert heard["fired"] is True
    change = operator.get(f"/v1/changes/{heard['change']}").json()
    assert change["params"] == {"country": "DE", "days": "3", "asked": "msg-1"}
    assert (change["cause"], change["opened_by"], change["why"]) == ("webhook", "headway", "webhook msg-1")
    again = send(anybody, key, "msg-1", b"{}").raise_for_status().json()
    assert (again["fired"], again["reason"], again["change"]) == (False, "it was sent before", heard["change"])
    assert operator.get("/v1/triggers/partner/firings?state=opened").json()["items"][0]["change"] == change["id"]
    old = key
    key = secret(operator, "partner")
    assert send(anybody, old, "msg-2").status_code == 403
    assert send(anybody, key, "msg-2").json()["fired"] is True


BAD: list[tuple[dict[str, str], bytes, int]] = [
    ({"webhook-id": "other"}, b"{}", 403),
    ({"webhook-timestamp": "1"}, b"{}", 403),
    ({"webhook-signature": "v1,AAAA"}, b"{}", 403),
    ({}, b'{"country": 1}', 400),
    ({}, b'{"contry": "DE"}', 400),
    ({}, b"[]", 400),
]


@pytest.mark.parametrize(("change", "body", "status"), BAD)
def test_what_a_signed_request_may_not_be(world: World, change: dict[str, str], body: bytes, status: int) -> None:
    key = secret(world.client(Role.OPERATOR), "partner")
    answer = send(world.client(None), key, "msg-bad", body, **change)
    assert (answer.status_code, "error" in answer.json()) == (status, True)
    items = world.client(Role.READER).get("/v1/triggers/partner/firings").json()["items"]
    assert all("msg-bad" not in each["key"] for each in items)


def test_nobody_learns_which_triggers_there_are(world: World) -> None:
    anybody, headers = world.client(None), signed("whsec_AAAA", "a", datetime.now(UTC), b"{}")
    answers = [
        anybody.post(f"/v1/triggers/{name}/webhook", content=b"{}", headers=headers) for name in ("nightly", "no-such")
    ]
    assert answers[0].status_code == answers[1].status_code == 403
    assert answers[0].json() == answers[1].json()
    assert anybody.get("/v1/triggers/partner/webhook").status_code in (404, 405)
    assert anybody.post("/v1/triggers/partner/fire", json={}).status_code == 401
    assert anybody.post("/v1/triggers/partner/webhook/", content=b"{}").status_code == 401
    large = anybody.post("/v1/triggers/partner/webhook", content=b" " * ((5 << 20) + 1))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")


def push(world: World, key: str, body: dict[str, Any], event: str = "push") -> dict[str, Any]:
    data = json.dumps(body).encode()
    mac = hmac.new(key.encode(), data, hashlib.sha256).hexdigest()
    headers = {"x-github-event": event, "x-hub-signature-256": f"sha256={mac}", "content-type": "application/json"}
    answer: dict[str, Any] = (
        world.client(None).post("/v1/triggers/push/webhook", content=data, headers=headers).raise_for_status().json()
    )
    return answer


def test_a_push_opens_one_change_for_its_commit(world: World) -> None:
    operator = world.client(Role.OPERATOR)
    key = secret(operator, "push")
    commit = {"id": SHA, "timestamp": "2026-01-01T11:00:00+01:00", "message": "better", "added": ["pipelines/a.py"],
              "modified": [], "removed": []}  # fmt: skip
    body = {"ref": "refs/heads/main", "after": SHA, "commits": [commit], "pusher": {"name": "ada"}}
    assert push(world, key, {}, "ping")["fired"] is False
    assert "not to dev" in push(world, key, body | {"ref": "refs/heads/dev"})["reason"]
    untouched = body | {"commits": [commit | {"added": ["README.md"]}]}
    assert push(world, key, untouched)["reason"] == "no file that it listens to was touched"
    heard = push(world, key, body)
    change = operator.get(f"/v1/changes/{heard['change']}").json()
    assert (change["commit"], change["committed_at"], change["cause"]) == (SHA, "2026-01-01T10:00:00Z", "commit")
    assert (change["why"], change["params"]) == (f"ada pushed {SHA[:12]} to main: better", {"commit": SHA})
    gitlab = {"x-gitlab-event": "Push Hook", "x-gitlab-token": key}
    again = world.client(None).post("/v1/triggers/push/webhook", json=body, headers=gitlab).json()
    assert (again["fired"], again["change"]) == (False, change["id"])


def test_who_may_do_what(world: World) -> None:
    author, reader = world.client(Role.AUTHOR), world.client(Role.READER)
    assert reader.post("/v1/triggers/nightly/fire", json={}).status_code == 403
    for verb, body in (("pause", {"why": "x"}), ("resume", {}), ("secret", {})):
        assert author.post(f"/v1/triggers/nightly/{verb}", json=body).status_code == 403
    fired = author.post("/v1/triggers/nightly/fire", json={"key": "k", "why": "now"}).json()
    assert (fired["state"], fired["by"]) == ("opened", "a author")
    assert author.post("/v1/triggers/nightly/fire", json={"key": "k"}).json() == fired
    assert author.post("/v1/triggers/nightly/fire", json={"key": "a b"}).status_code == 400
    waiting = author.post("/v1/triggers/nightly/fire", json={}).json()
    assert waiting["state"] == "waiting"
    assert "still open" in reader.get("/v1/triggers/nightly").json()["held_by"]


def test_a_change_for_a_commit_is_opened_once(world: World) -> None:
    author = world.client(Role.AUTHOR)
    body = {"deployment": "orders", "pipeline": "train", "commit": "a" * 40, "committed_at": "2026-01-01T00:00:00Z"}
    first = author.post("/v1/changes", json=body).json()
    assert (first["cause"], first["commit"]) == ("commit", "a" * 40)
    assert author.post("/v1/changes", json=body).json() == first
    assert author.post("/v1/changes", json=body | {"commit": "b" * 40}).json()["id"] != first["id"]
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for wrong in ({"commit": "main"}, {"commit": "", "committed_at": late}, {"commit": "c" * 40, "committed_at": late}):
        assert author.post("/v1/changes", json=body | wrong).status_code == 400


def said(client: httpx2.Client, *arguments: str) -> str:
    token = client.headers["authorization"].removeprefix("Bearer ")
    done = CliRunner().invoke(
        main, ["trigger", *arguments, "--url", str(client.base_url)], env={"HEADWAY_TOKEN": token}
    )
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def until(look: Any, what: str) -> None:
    end = time.monotonic() + 60
    while not look():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.slow
def test_requests_that_are_sent_again_and_again_through_kill_9_open_one_change_each(tmp_path: Path) -> None:
    with up(tmp_path / ".headway") as server:
        server.client.put("/v1/project", content=PROJECT).raise_for_status()
        key = secret(server.client, "partner")
        chance, pending, lock = random.Random(5), [f"msg-{number}" for number in range(24)], threading.Lock()

        def sender() -> None:
            while True:
                with lock:
                    if not pending:
                        return
                    identifier = pending.pop()
                while True:  # as the standard has it: the same id until it is answered
                    try:
                        send(server.client, key, identifier).raise_for_status()
                        break
                    except (httpx2.HTTPError, RuntimeError):  # killed, or its client was closed meanwhile
                        time.sleep(0.01)

        senders = [threading.Thread(target=sender) for _ in range(3)]
        for each in senders:
            each.start()
        for _ in range(3):
            time.sleep(chance.random() * 0.1)
            server.kill_and_start()
        for each in senders:
            each.join(120)
            assert not each.is_alive()
        until(lambda: '"waiting":0' in server.client.get("/v1/triggers/partner").text, "all have their change")
        changes = server.client.get("/v1/changes?limit=1000").json()["items"]
        causes = Counter(change["caused_by"].rpartition("/")[2] for change in changes)
        assert causes == {f"msg-{number}": 1 for number in range(24)}
        assert server.client.post("/v1/ledger/verify").is_success


@pytest.mark.slow
def test_what_came_due_or_arrived_while_the_server_was_down_fires_once(tmp_path: Path) -> None:
    arriving, home, day = tmp_path / "in", tmp_path / ".headway", datetime.now(UTC) - timedelta(days=2)
    arriving.mkdir()
    day -= timedelta(days=(day.month, day.day) == (2, 29))  # which does not come each year
    yearly = f"0 12 {day.day} {day.month} *"
    text = PROJECT.replace('"30 2 * * *"', f'"{yearly}"').replace("Europe/Berlin", "UTC") + (
        '[triggers.skips]\non = "schedule"\nsource = "YEARLY"\ncatch_up = "none"\npipeline = "train"\n'
        'deployment = "orders"\n[triggers.files]\non = "file"\nsource = "*.csv"\nstable_s = 0.1\npipeline = "train"\n'
        'deployment = "orders"\nmost_open = 9\nparams = { file = "${file}" }\n'
    ).replace("YEARLY", yearly)
    with up(home, "--arrivals", str(arriving)) as server:
        server.client.put("/v1/project", content=text).raise_for_status()
        server.process.kill()
        server.process.wait()
        _backdate(home, days=4)
        (arriving / "a.csv").write_text("1")
        (arriving / "same.csv").write_text("1")
        for _ in range(2):
            server.kill_and_start()
            until(lambda: _states(server.client, "nightly") == ["opened"], "what came due is caught up with")
            until(lambda: _states(server.client, "files") == ["opened"], "the file has arrived")
            until(lambda: _states(server.client, "skips") == ["skipped"], "what was missed is skipped")
        assert "*.csv" in said(server.client, "list")
        (arriving / "b.csv").write_text("2")
        until(lambda: _states(server.client, "files") == ["opened", "opened"], "the next file has arrived")
        _through_the_command_line(server.client, day)


def _through_the_command_line(client: httpx2.Client, day: datetime) -> None:
    since, until_ = f"{day - timedelta(days=366):%Y-%m-%d}", f"{day:%Y-%m-%dT23:00}"
    dry = said(client, "backfill", "skips", "--from", since, "--to", until_, "--dry-run")
    assert "2 of 2 due times would wait for their turn" in dry
    assert "2 of 2 due times wait" in said(client, "backfill", "skips", "--from", since, "--to", until_)
    assert "0 of 2 due times wait" in said(client, "backfill", "skips", "--from", since, "--to", until_)
    assert "is paused" in said(client, "pause", "skips", "--why", "enough")
    assert "paused" in said(client, "show", "skips")
    assert "goes on" in said(client, "resume", "skips")
    assert "backfill" in said(client, "history", "skips")
    assert said(client, "secret", "partner").startswith("whsec_")
    assert "is open" in said(client, "fire", "partner", "-p", "asked=me")


def _states(client: httpx2.Client, name: str) -> list[str]:
    return [each["state"] for each in client.get(f"/v1/triggers/{name}/firings").json()["items"]]


def _backdate(home: Path, days: int) -> None:
    """Make the triggers some days older than they are, as if the server had been down since."""
    engine, journal, stores = open_stores(home / "headway.db", SystemClock(), home / "ledger.head")
    for trigger in stores.triggers.all():
        if trigger.on == "schedule":
            with journal.act("test", "trigger.declare") as act:
                act.save(stores.triggers, trigger.but(created_at=trigger.created_at - timedelta(days=days)))
    engine.close()
