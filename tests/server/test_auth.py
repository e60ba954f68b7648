"""Who may do what: nothing without a token but what is public, and each role what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from headway.errors import BadSettings
from headway.kernel.access import SYSTEM, Permission, Role
from headway.server.api import routed
from headway.server.app import compose
from headway.server.auth import PUBLIC
from headway.server.local import LocalTransport
from headway.server.openapi import routes_of
from headway.server.settings import Auth, Settings
from headway.testing.memory import FrozenClock
from tests.server.world import World

MAY = {
    Role.READER: {Permission.READ},
    Role.AUTHOR: {Permission.READ, Permission.WRITE, Permission.LABEL},
    Role.APPROVER: {Permission.READ, Permission.APPROVE},
    Role.OPERATOR: {Permission.READ, Permission.WRITE, Permission.LABEL, Permission.OPERATE},
    Role.OWNER: set(Permission) - {Permission.JUDGE},
    Role.WORKER: {Permission.READ, Permission.WRITE, Permission.LABEL, Permission.CAPTURE},
    Role.GATEKEEPER: {Permission.READ, Permission.JUDGE},
}
DIGEST = "b3:" + "0" * 64
DAY = "2026-01-01T00:00:00Z"
STEERING = ("pause", "resume", "advance", "roll-back")
SIGNATURE = {"inputs": [], "outputs": [], "score": "s"}
MODEL = {
    "model": "m",
    "blob": DIGEST,
    "signature": SIGNATURE,
    "task": "binary",
    "run": "r",
    "training": [],
    "evaluation": "e",
}

TAKES: list[tuple[Permission, str, str, object]] = [
    (Permission.READ, "GET", "/v1/status", None),
    (Permission.READ, "GET", "/metrics", None),
    (Permission.READ, "GET", "/v1/ledger", None),
    (Permission.WRITE, "POST", "/v1/runs", {"experiment": "e"}),
    (Permission.WRITE, "POST", "/v1/runs/r/log", {}),
    (Permission.WRITE, "POST", "/v1/runs/r/move", {"state": "finished"}),
    (Permission.WRITE, "POST", "/v1/runs/r/claim", {"holder": "h"}),
    (Permission.WRITE, "POST", "/v1/runs/r/steps", {"steps": []}),
    (Permission.WRITE, "POST", "/v1/runs/r/logs", {"step": "a", "text": "b"}),
    (Permission.WRITE, "POST", "/v1/runs/r/resume", None),
    (Permission.WRITE, "POST", "/v1/runs/r/artifacts", {"name": "n", "blob": DIGEST}),
    (Permission.WRITE, "POST", "/v1/pipelines", {"name": "p", "nodes": []}),
    (Permission.WRITE, "PUT", "/v1/pipelines/results/k", {"step": "s", "run": "r", "outputs": []}),
    (Permission.WRITE, "POST", "/v1/datasets/versions", {"dataset": "d", "blob": DIGEST}),
    (Permission.WRITE, "POST", "/v1/models/versions", MODEL),
    (Permission.WRITE, "POST", "/v1/changes", {"deployment": "d", "pipeline": "p"}),
    (Permission.WRITE, "PUT", f"/v1/blobs/{DIGEST}", {}),
    (Permission.LABEL, "POST", "/v1/labels", {"labels": [{"prediction": "p", "value": 1.0}]}),
    (Permission.CAPTURE, "PUT", f"/v1/deployments/d/segments/{DIGEST}", {}),
    (Permission.JUDGE, "POST", "/v1/gates/verdicts", {"environment": "e", "model_version": "m", "findings": {}}),
    *((Permission.OPERATE, "POST", f"/v1/rollouts/r/{verb}", {"reason": "r"}) for verb in STEERING),
    (Permission.OPERATE, "POST", "/v1/rollouts", {"deployment": "d", "release": "r"}),
    (Permission.OPERATE, "POST", "/v1/deployments/d/pin", {"release": "r", "why": "w", "keys": ["k"]}),
    (Permission.OPERATE, "POST", "/v1/deployments/d/unpin", {"why": "w"}),
    (Permission.OPERATE, "POST", "/v1/deployments/d/shadow", {"release": "r"}),
    (Permission.OPERATE, "POST", "/v1/deployments/d/unshadow", {"why": "w"}),
    (Permission.OPERATE, "POST", "/v1/deployments/d/fallback", {"constant": {"score": 1.0}}),
    (Permission.OPERATE, "POST", "/v1/deployments/d/unfallback", {"why": "w"}),
    (Permission.OPERATE, "POST", "/v1/alerts/a/acknowledge", {}),
    (Permission.OPERATE, "POST", "/v1/alerts/a/resolve", {}),
    (Permission.OPERATE, "PUT", "/v1/project", {}),
    (Permission.WRITE, "POST", "/v1/records/rn_0/delete", None),
    (Permission.WRITE, "POST", "/v1/records/rn_0/restore", None),
    (Permission.OPERATE, "POST", "/v1/records/rn_0/purge", {"why": "w"}),
    (Permission.OPERATE, "POST", "/v1/gc", {"dry_run": True}),
    (Permission.READ, "GET", "/v1/usage", None),
    (Permission.OPERATE, "POST", "/v1/changes/1/cancel", {"reason": "r"}),
    (Permission.WRITE, "POST", "/v1/triggers/t/fire", {}),
    (Permission.WRITE, "POST", "/v1/triggers/t/backfill", {"since": DAY, "until": DAY}),
    (Permission.OPERATE, "POST", "/v1/triggers/t/pause", {"why": "w"}),
    (Permission.OPERATE, "POST", "/v1/triggers/t/resume", {}),
    (Permission.OPERATE, "POST", "/v1/triggers/t/secret", {}),
    (Permission.BREAK_GLASS, "POST", "/v1/changes", {"deployment": "d", "pipeline": "p", "break_glass": "fire"}),
    (Permission.GRANT, "GET", "/v1/tokens", None),
    (Permission.GRANT, "POST", "/v1/tokens", {"name": "", "role": "reader"}),
    (Permission.GRANT, "DELETE", "/v1/tokens/nobody", None),
]  # fmt: skip


@pytest.mark.parametrize("role", Role)
def test_each_role_may_do_what_it_is_for(world: World, role: Role) -> None:
    client = world.client(role)
    for permission, method, path, body in TAKES:
        answer = client.request(method, path, json=body) if body is not None else client.request(method, path)
        refused = answer.status_code == 403
        needs = {permission, Permission.WRITE} if permission is Permission.BREAK_GLASS else {permission}
        assert refused != (needs <= MAY[role]), (role, method, path, answer.text)


def test_every_route_but_the_public_ones_needs_a_token(world: World) -> None:
    nobody, stranger = world.client(None), world.client(None)
    stranger.headers["authorization"] = "Bearer hw_" + "x" * 43
    public = set()
    for path, handler in routes_of(routed(world.application)):
        for method in handler.http_methods:
            for client in (nobody, stranger):
                answer = client.request(method, path)
                if answer.status_code != 401:
                    public.add(path)
                    assert answer.status_code != 200 or path in PUBLIC
                elif method != "HEAD":
                    assert answer.json()["error"]["code"] == "not_signed_in"
                    assert answer.headers["www-authenticate"].startswith("Bearer")
    signed = {"/v1/triggers/{ref}/webhook"}  # let in by the signature of its body
    assert public - signed == PUBLIC == {"/health", "/version", "/schema", "/schema/openapi.json"}
    assert signed < public


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/nothing", "/v1/runs/", "//v1/runs", "/health/", "/schema/x", "/Health"]
)
def test_what_is_not_there_is_not_public_either(world: World, path: str) -> None:
    assert world.client(None).get(f"http://localhost{path}").status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic b3duZXI6", "hw_secret", "Bearer \xe9"])
def test_what_is_no_token_lets_nobody_in(world: World, header: str) -> None:
    answer = world.client(None).get("/v1/me", headers={b"authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_a_revoked_token_ends_at_once_and_one_past_its_time_too(home: Path) -> None:
    clock = FrozenClock()
    application = compose(Settings(home=home), clock=clock)
    transport = LocalTransport(application)
    _, secret = application.platform.access.grant("short", Role.READER, by=SYSTEM, days=1)
    with httpx2.Client(transport=transport, base_url="http://localhost") as client:
        client.headers["authorization"] = f"Bearer {secret}"
        assert client.get("/v1/me").json() == {"name": "short", "role": "reader"}
        clock.advance(86_400)
        assert client.get("/v1/me").status_code == 401
        _, secret = application.platform.access.grant("long", Role.READER, by=SYSTEM)
        client.headers["authorization"] = f"Bearer {secret}"
        assert client.get("/v1/me").status_code == 200
        application.platform.access.revoke("long", by=SYSTEM)
        assert client.get("/v1/me").status_code == 401


def test_no_answer_holds_what_is_kept_of_a_secret(world: World) -> None:
    owner = world.client(Role.OWNER)
    granted = owner.post("/v1/tokens", json={"name": "shown once", "role": "reader"}).json()
    assert granted["secret"].startswith("hw_")
    assert granted["token"]["secret_sha256"] == ""
    listed = owner.get("/v1/tokens").json()["items"]
    assert {token["secret_sha256"] for token in listed} == {""}
    assert owner.delete("/v1/tokens/shown%20once").json()["secret_sha256"] == ""


HOSTS = [
    ("localhost", 200), ("localhost:7070", 200), ("127.0.0.1:1", 200), ("[::1]:7070", 200), ("LOCALHOST", 200),
    ("evil.example", 403), ("evil.example:7070", 403), ("localhost.evil.example", 403), ("127.0.0.1.nip.io", 403),
    ("", 403), ("[", 403), ("localhost@evil.example", 403),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_a_loopback_server_answers_to_local_names_only(world: World, host: str, status: int) -> None:
    assert world.client(Role.OWNER).get("/v1/me", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 201),
        ("http://localhost:9999", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_page_of_another_origin_cannot_write(world: World, origin: str, status: int) -> None:
    client = world.client(Role.OWNER)
    assert client.post("/v1/runs", json={"experiment": "e"}, headers={"origin": origin}).status_code == status
    assert client.get("/v1/me", headers={"origin": origin}).status_code == 200


@pytest.fixture
def open_house(home: Path) -> Iterator[tuple[httpx2.Client, World]]:
    application = compose(Settings(home=home, auth=Auth.NONE))
    transport = LocalTransport(application)
    with httpx2.Client(transport=transport, base_url="http://localhost") as client:
        yield client, World(application, transport, target=None, secrets={})  # type: ignore[arg-type]


def test_without_authentication_whoever_is_here_is_the_owner(open_house: tuple[httpx2.Client, World]) -> None:
    client, world = open_house
    me = client.get("/v1/me").json()
    assert me["role"] == "owner"
    assert me["name"]
    assert client.post("/v1/runs", json={"experiment": "e"}).json()["started_by"] == me["name"]
    gatekeeper = world.application.home.token("gatekeeper").read_text()
    as_gatekeeper = {"authorization": f"Bearer {gatekeeper}"}
    assert client.get("/v1/me", headers=as_gatekeeper).json()["role"] == "gatekeeper"
    assert client.get("/v1/me", headers={"authorization": "Bearer hw_wrong"}).status_code == 401
    assert client.get("/v1/me", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//", "\xe9"])
def test_an_origin_that_is_none_is_a_foreign_one(world: World, origin: str) -> None:
    answer = world.client(Role.OWNER).post(
        "/v1/runs", json={"experiment": "e"}, headers={b"origin": origin.encode("latin-1")}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


ALLOWED = [
    ("127.0.0.1", "ml.example", 200), ("127.0.0.1", "ML.example:7070", 200), ("127.0.0.1", "localhost:1", 200),
    ("127.0.0.1", "proxy:8443", 200), ("127.0.0.1", "proxy:8444", 403), ("127.0.0.1", "evil.example", 403),
    ("0.0.0.0", "ml.example", 200), ("0.0.0.0", "localhost", 200), ("0.0.0.0", "evil.example", 403),
    ("0.0.0.0", "ml.example.evil.example", 403), ("10.1.2.3", "10.1.2.3:7070", 200), ("10.1.2.3", "10.1.2.4", 403),
    ("10.1.2.3", "", 403),
]  # fmt: skip


@pytest.mark.parametrize(("listens", "host", "status"), ALLOWED)
def test_a_server_answers_to_the_names_that_its_operator_lists(
    home: Path, listens: str, host: str, status: int
) -> None:
    application = compose(Settings(home=home, host=listens, hosts=("ml.example", "proxy:8443")))
    with httpx2.Client(transport=LocalTransport(application), base_url="http://localhost") as client:
        assert client.get("/health", headers={"host": host}).status_code == status


@pytest.mark.parametrize("name", ["host", "origin", "authorization"])
def test_what_decides_is_told_once(world: World, name: str) -> None:
    client = world.client(Role.OWNER)
    mine = {"host": "localhost", "origin": "http://localhost", "authorization": client.headers["authorization"]}
    request = client.build_request("GET", "/v1/me")
    request.headers = httpx2.Headers([*mine.items(), (name, "other")])
    assert client.send(request).status_code == 400


def test_a_server_for_all_the_world_takes_any_name(home: Path) -> None:
    application = compose(Settings(home=home, host="0.0.0.0"))
    transport = LocalTransport(application)
    with httpx2.Client(transport=transport, base_url="http://ml.example") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/v1/me").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "ml.example", "127.0.0.1.nip.io"])
def test_it_refuses_to_be_open_to_others_without_authentication(home: Path, host: str) -> None:
    with pytest.raises(BadSettings, match="loopback only"):
        Settings(home=home, host=host, auth=Auth.NONE)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_may_be_open(home: Path, host: str) -> None:
    assert Settings(home=home, host=host, auth=Auth.NONE).loopback


def test_settings_say_what_is_wrong_with_them(home: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="port must be from 0 to 65535"):
        Settings(home=home, port=65_536)
    with pytest.raises(BadSettings, match="token or none, not 'of course'"):
        Settings.of(home, auth="of course")
    with pytest.raises(BadSettings, match=r"holds no headway\.toml"):
        Settings.of(home, project=tmp_path)
    with pytest.raises(BadSettings, match="most_json_bytes"):
        replace(Settings(home=home), most_json_bytes=0)
    for wrong in ("", "http://x", "A.example", "0x7f.1"):
        with pytest.raises(BadSettings, match="hosts that are allowed"):
            Settings(home=home, hosts=(wrong,))
        with pytest.raises(BadSettings, match="hosts that are allowed"):
            Settings(home=home, webhook_hosts=(wrong,))
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(BadSettings, match="cannot be the home"):
        compose(Settings(home=file / "home"))
