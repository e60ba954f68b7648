"""Malformed input to the native API: a 4xx in its shape, and a server that goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar.handlers import HTTPRouteHandler
from uvicorn.server import ServerState

from headway.kernel.access import Role
from headway.kernel.records import digest
from headway.server.api import routed
from headway.server.connection import BoundedHttp
from headway.server.openapi import routes_of
from headway.server.routing import query_fields
from tests.server.odd import BODIES, PATHS, VALUES, as_json, odd_objects
from tests.server.serving import served
from tests.server.world import World, put_blob

JSON = {"content-type": "application/json"}
LEFT_OUT = {"/v1/blobs/{digest}"}


@pytest.fixture(scope="module")
def owner(world: World) -> Iterator[httpx2.Client]:
    with world.client(Role.OWNER) as client:
        yield client


@pytest.fixture(scope="module")
def handlers(world: World) -> list[tuple[str, HTTPRouteHandler]]:
    return list(routes_of(routed(world.application)))


@pytest.fixture(scope="module")
def good(owner: httpx2.Client) -> dict[str, Any]:
    """Fields that name what is there, so that the odd one is looked at."""
    run = owner.post("/v1/runs", json={"experiment": "odd"}).json()["id"]
    blob = put_blob(owner, b"odd")
    return {
        "identifier": run, "run": run, "blob": blob, "digest": blob, "ref": "odd", "name": "odd", "key": "k",
        "experiment": "odd", "dataset": "odd", "model": "odd", "holder": "h", "state": "running", "url": "https://a.example",
    }  # fmt: skip


def checked(answer: httpx2.Response, asked: object) -> None:
    assert answer.status_code < 500, (asked, answer.text)
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert answer.headers["content-type"] == "application/json", asked
        [(name, error)] = answer.json().items()
        assert (name, error.keys()) == ("error", {"code", "message", "details"}), (asked, answer.text)
        assert len(error["message"]) <= 2100


def test_a_body_of_any_kind(
    owner: httpx2.Client, handlers: list[tuple[str, HTTPRouteHandler]], good: dict[str, Any]
) -> None:
    for path, handler in handlers:
        if handler.parsed_data_field is None:
            continue
        for what, body in BODIES.items():
            (method,) = handler.http_methods
            answer = owner.request(method, path.format_map(good), content=body, headers=JSON)
            checked(answer, (path, what))
            if what not in ("nothing", "twice the same key"):
                assert answer.status_code in (400, 404), (path, what, answer.text)


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def test_an_odd_value_in_any_field(
    owner: httpx2.Client, handlers: list[tuple[str, HTTPRouteHandler]], good: dict[str, Any], every: int
) -> None:
    for path, handler in handlers:
        field = handler.parsed_data_field
        if field is None or path == "/v1/tokens":
            continue
        for body in odd_objects(field.annotation, good, every):
            (method,) = handler.http_methods
            checked(owner.request(method, path.format_map(good), content=body, headers=JSON), (path, body[:200]))
    assert owner.post("/v1/ledger/verify").is_success


def test_an_odd_part_of_any_path(
    owner: httpx2.Client, handlers: list[tuple[str, HTTPRouteHandler]], good: dict[str, Any]
) -> None:
    """Encoded once and twice, as a name of a thing: there is none, and no file is one."""
    odd = [*PATHS, "x" * 10_000, "\x00", "\u202e", "*", "?", "#", "%", " ", ".", "..", "%ff", "🙂"]
    for path, handler in handlers:
        name = next((part.strip("{}") for part in path.split("/") if part.startswith("{")), None)
        if name is None or path == "/v1/tokens/{name}":
            continue
        for number, value in enumerate(odd[len(path) % 2 :: 2]):
            encoded = quote(value, safe="") if number % 2 else quote(quote(value, safe=""), safe="")
            for method in handler.http_methods - {"PUT"}:
                asked = path.format_map({**good, name: encoded})
                answer = owner.request(method, asked, content=b"{}" if method == "POST" else None, headers=JSON)
                checked(answer, (method, asked[:200]))
                assert b"root:" not in answer.content


def test_an_odd_value_of_any_query(
    owner: httpx2.Client, handlers: list[tuple[str, HTTPRouteHandler]], good: dict[str, Any]
) -> None:
    odd = [json.loads(as_json(value)) for value in VALUES if isinstance(value, str | int | float)] + PATHS
    for path, handler in handlers:
        for start, name in enumerate(query_fields(handler)):
            for value in odd[start % 4 :: 4]:
                text = quote(str(value)[:2000].encode(errors="replace"), safe="")
                checked(owner.get(f"{path.format_map(good)}?{name}={text}"), (path, name, text))
            for raw in ("%ff", "%00", "%", "=", "&&", "1&" + name + "=2", "%ed%a0%80"):
                checked(owner.get(f"{path.format_map(good)}?{name}={raw}"), (path, name, raw))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]))
def test_any_path_and_query(owner: httpx2.Client, path: str, query: str, method: str) -> None:
    where = quote(path.encode(errors="surrogatepass"), safe="/%.")
    asked = quote(query.encode(errors="surrogatepass"), safe="=&%")
    for base in ("/", "/v1/", "/v1/runs/"):
        answer = owner.request(method, f"{base}{where.lstrip('/')}?{asked}", content=b"{}")
        assert answer.status_code < 500, answer.text


def test_a_file_is_kept_by_its_name_and_served_as_one(owner: httpx2.Client, world: World) -> None:
    """What somebody logged is a download, in a sandbox, whatever it says it is; no name leads out of the store."""
    run = owner.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    base = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts"
    for name in ("page.html", "picture.svg", "script.js", "sheet.xml", "no-type"):
        assert owner.put(f"{base}/{name}", content=b"<script>alert(1)</script>").is_success
        linked = f"/get-artifact?run_uuid={run}&path={name}"
        for answer in (owner.get(f"{base}/{name}"), owner.get(linked)):
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    before = sorted(file for file in world.application.home.folder.parent.rglob("*") if not file.is_file())
    for name in PATHS:
        for encoded in (quote(name, safe=""), quote(quote(name, safe=""), safe=""), name.replace("%", "%25")):
            answer = owner.put(f"{base}/{encoded}", content=b"x")
            assert answer.status_code < 500, (name, answer.text)
            read = owner.get(f"{base}/{encoded}")
            assert read.status_code < 500
            assert read.content == b"x" or read.status_code >= 400
            linked_ = owner.get(f"/get-artifact?run_uuid={run}&path={encoded}")
            assert linked_.content == b"x" or linked_.status_code >= 400
    folders = sorted(file for file in world.application.home.folder.parent.rglob("*") if not file.is_file())
    assert [each for each in folders if each not in before and "blobs" not in each.parts] == []


def test_a_bomb_of_zeros_is_no_json(owner: httpx2.Client) -> None:
    """Nothing is unpacked here, so nothing can burst."""
    bomb = gzip.compress(b"0" * 10_000_000)
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        answer = owner.post("/v1/runs", content=bomb, headers={**JSON, "content-encoding": coding})
        assert answer.status_code == 400
    kept = owner.put(f"/v1/blobs/{digest(bomb)}", content=bomb, headers={"content-encoding": "gzip"})
    assert kept.json()["size"] == len(bomb)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with served(tmp_path_factory.mktemp("malformed") / ".headway") as client:
        yield client


def said(server: httpx2.Client, *parts: bytes, first_s: float = 30, silence_s: float = 0.4) -> bytes:
    """What the server says to bytes on a connection of their own, until it ends it or is silent: for `first_s` before
    it has said anything, for `silence_s` later."""
    token = server.headers["authorization"].encode()
    head = b"Host: localhost\r\nAuthorization: " + token + b"\r\n"
    got = b""
    with socket.create_connection((server.base_url.host, server.base_url.port or 80), timeout=10) as line:
        try:
            for part in parts:
                line.sendall(part.replace(b"HEAD\r\n", head))
        except OSError:  # it has heard enough; what it said may still be read
            pass
        line.settimeout(first_s)
        try:
            while chunk := line.recv(65_536):
                got += chunk
                line.settimeout(silence_s)
        except OSError:
            pass
    return got


POST = b"POST /v1/runs HTTP/1.1\r\nHEAD\r\nContent-Type: application/json\r\n"
LIES = {
    "longer than it is": POST + b"Content-Length: 100\r\n\r\n{}",
    "shorter than it is": POST + b'Content-Length: 2\r\n\r\n{"experiment":"e"}',
    "below nothing": POST + b"Content-Length: -1\r\n\r\n{}",
    "no number": POST + b"Content-Length: many\r\n\r\n{}",
    "beyond 64 bits": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "told twice": POST + b"Content-Length: 2\r\nContent-Length: 18\r\n\r\n{}",
    "and chunked": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked badly": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
    "a bare line feed in a header": b"GET /v1/me HTTP/1.1\nHEAD\r\nX: a\x00b\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a path that is no ASCII": b"GET /v1/\xff\xfe HTTP/1.1\r\nHEAD\r\n\r\n",
    "a target that is no path": b"CONNECT evil.example:443 HTTP/1.1\r\nHEAD\r\n\r\n",
    "another host in the target": b"GET http://evil.example/v1/nothing HTTP/1.1\r\nHEAD\r\n\r\n",
    "two hosts": b"GET /v1/me HTTP/1.1\r\nHost: evil.example\r\nHEAD\r\n\r\n",
    "no host": b"GET /v1/me HTTP/1.1\r\n\r\n",
    "an upgrade": b"GET /v1/nothing HTTP/1.1\r\nHEAD\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}


UNANSWERED = {"longer than it is", "no HTTP"}
"""It waits for the rest."""


@pytest.mark.parametrize("what", LIES)
def test_a_request_that_is_none(server: httpx2.Client, what: str) -> None:
    request = LIES[what].replace(b"HEAD\r\n\r\n", b"HEAD\r\nConnection: close\r\n\r\n", 1)
    answer = said(server, request, first_s=0.4 if what in UNANSWERED else 30)
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert all(status < 500 for status in statuses), answer
    assert all(status >= 400 for status in statuses), answer
    assert statuses or what in UNANSWERED
    assert server.get("/health").is_success


def test_a_body_without_an_end(server: httpx2.Client) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b"x" * (1 << 20))
    endless = [POST + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 20]
    answer = said(server, *endless)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""  # which is lost when the rest of the body was not read
    assert server.get("/health").is_success


@pytest.mark.parametrize("size", [100_000, 5_000_000])
def test_headers_beyond_measure(server: httpx2.Client, size: int) -> None:
    for headers in (
        b"X: " + b"x" * size,
        b"X: y\r\n" * (size // 6),
        b"Cookie: " + os.urandom(size // 2).hex().encode(),
    ):
        answer = said(server, b"GET /v1/me HTTP/1.1\r\nHEAD\r\n", headers, b"\r\n\r\n")
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431"), answer[:200]
    assert server.get("/health").is_success


def test_many_who_say_nothing_do_not_stop_the_others(server: httpx2.Client) -> None:
    where = (server.base_url.host, server.base_url.port or 80)
    lines = [socket.create_connection(where) for _ in range(200)]
    try:
        for number, line in enumerate(lines):
            line.sendall(b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"[: 10 + number])
        assert server.get("/v1/status").is_success
    finally:
        for line in lines:
            line.close()
    assert server.get("/v1/status").is_success


def test_a_query_parameter_that_is_given_twice(owner: httpx2.Client) -> None:
    answer = owner.get("/v1/runs", params=[("limit", "5"), ("limit", "7")])
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "query parameter 'limit' is given more than once"


@pytest.mark.parametrize("path", ["/v1/runs", "/api/2.0/mlflow/runs/get", "/get-artifact"])
def test_ten_thousand_query_parameters(server: httpx2.Client, path: str) -> None:
    for count, statuses in ((10_000, (b"431",)), (5_000, (b"400", b"404"))):
        many = "&".join(f"a{number}=1" for number in range(count)).encode()
        answer = said(server, b"GET " + path.encode() + b"?" + many + b" HTTP/1.1\r\nHEAD\r\nConnection: close\r\n\r\n")
        assert answer[9:12] in statuses, answer[:300]


def test_a_large_body_behind_a_small_one_on_one_connection_is_no_large_head(server: httpx2.Client) -> None:
    """Bytes of a body are never counted as those of a head, however they come in pieces."""
    body = b"x" * 700_000
    name = digest(body).encode()
    put = b"PUT /v1/blobs/" + name + b" HTTP/1.1\r\nHEAD\r\nContent-Length: 700000\r\n\r\n" + body
    answer = said(server, put + put + b"GET /v1/me HTTP/1.1\r\nHEAD\r\nConnection: close\r\n\r\n", silence_s=30)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"201", b"201", b"200"]


class _Hasty(BoundedHttp):
    patience_s = 0.1


def test_a_request_that_stays_unfinished_is_ended_and_an_idle_connection_is_not() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        told.append(message["type"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def heard(request: bytes, wait_s: float) -> bytes | None:
        """None when the line is still open after `wait_s`."""
        loop = asyncio.get_running_loop()
        config = uvicorn.Config(app, log_config=None, lifespan="off")
        listener = await loop.create_server(lambda: _Hasty(config, ServerState(), {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(request)
        try:
            return await asyncio.wait_for(reader.read(), wait_s)
        except TimeoutError:
            return None
        finally:
            writer.close()
            listener.close()

    assert asyncio.run(heard(b"GET / HTTP/1.1\r\nX: ", 60)) == b""
    assert asyncio.run(heard(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", 60)) == b""
    assert asyncio.run(heard(b"GET / HTTP/1.1\r\n\r\n", 0.5)) is None
    assert told == ["http.disconnect", "http.request"]
