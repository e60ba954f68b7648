"""Serving for real: one server a home, found while it runs, gone without a trace, whole after a kill."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headway.errors import AlreadyExists, BadSettings, Unavailable
from headway.kernel.records import digest
from headway.kernel.version import VERSION
from headway.server.app import compose
from headway.server.home import Home
from headway.server.local import local_token, local_transport
from headway.server.settings import Settings
from headway.server.up import serve
from tests.server.serving import LAST_WORDS, ended, running, served, start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with served(tmp_path_factory.mktemp("server") / ".headway") as client:
        yield client


def test_a_blob_is_streamed_kept_and_given_back(server: httpx2.Client) -> None:
    data = os.urandom(3 << 20)

    def chunks() -> Iterator[bytes]:
        for place in range(0, len(data), 100_000):
            yield data[place : place + 100_000]

    answer = server.put(f"/v1/blobs/{digest(data)}", content=chunks())
    assert (answer.status_code, answer.json()) == (201, {"digest": digest(data), "size": len(data)})
    assert server.get(f"/v1/blobs/{digest(data)}").content == data
    assert server.head(f"/v1/blobs/{digest(data)}").status_code == 200
    assert server.head(f"/v1/blobs/{digest(b'else')}").status_code == 404


def test_a_body_over_the_limit_gets_its_answer_and_the_connection_lives_on(server: httpx2.Client) -> None:
    answer = server.post("/v1/runs", content=b'{"experiment":"' + b"e" * (17 << 20) + b'"}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    answer = server.post("/v1/runs", content=iter([b"x" * (1 << 20)] * 17))
    assert answer.status_code == 413
    assert server.get("/health").json() == {"status": "ok", "version": VERSION}


def test_an_upload_that_is_cut_off_leaves_nothing(server: httpx2.Client) -> None:
    url, token = server.base_url, server.headers["authorization"]
    head = f"PUT /v1/blobs/{digest(b'whole')} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n"
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(head.encode() + b"Content-Length: 5\r\n\r\nwho")
    assert server.head(f"/v1/blobs/{digest(b'whole')}").status_code == 404


def test_what_is_no_http_harms_nobody(server: httpx2.Client) -> None:
    with socket.create_connection((server.base_url.host, server.base_url.port or 80)) as connection:
        connection.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert b"400" in connection.recv(1000)
    assert server.get("/health").status_code == 200


def test_many_writers_at_once_all_get_through(server: httpx2.Client) -> None:
    answers: list[int] = []

    def write(number: int) -> None:
        with httpx2.Client(base_url=server.base_url, headers=server.headers) as client:
            answers.extend(client.post("/v1/runs", json={"experiment": f"many{number}"}).status_code for _ in range(5))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [201] * 40
    assert server.post("/v1/ledger/verify").status_code == 200


def test_it_says_where_it_is_stops_when_told_and_leaves_all_as_it_was(home: Path) -> None:
    first = start(home)
    url = running(home, first).url
    headers = {"authorization": f"Bearer {local_token(home)}"}
    run = httpx2.post(f"{url}/v1/runs", json={"experiment": "e"}, headers=headers).json()
    with pytest.raises(AlreadyExists, match=re.escape(f"already at {url} (pid {first.pid})")):
        serve_on(home)
    assert ended(first) == (0, LAST_WORDS)
    assert not Home(home).server.exists()

    second = start(home)
    url = running(home, second).url
    assert httpx2.get(f"{url}/v1/runs/{run['id']}", headers=headers).json() == run
    second.kill()
    second.communicate()
    assert Home(home).server.exists()

    third = start(home)
    url = running(home, third).url
    assert httpx2.get(f"{url}/v1/runs/{run['id']}", headers=headers).json() == run
    assert httpx2.post(f"{url}/v1/ledger/verify", headers=headers).json()["entries"] > 3
    assert ended(third, signal.SIGINT) == (0, LAST_WORDS)


def serve_on(home: Path, **said: Any) -> None:
    application = compose(Settings(home=home, **said))
    try:
        serve(application)
    finally:
        application.close()


def test_where_it_cannot_listen_is_said_and_nothing_is_left_behind(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} is taken; choose another"):
            serve_on(home, port=port)
    with pytest.raises(BadSettings, match=r"cannot listen on 203\.0\.113\.7:0"):
        serve_on(home, host="203.0.113.7", port=0)
    assert not Home(home).server.exists()


def test_the_home_is_for_its_owner_alone(home: Path) -> None:
    local_transport(home).close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "tokens").stat().st_mode) == 0o700
    for name in ("owner", "worker", "gatekeeper"):
        assert stat.S_IMODE((home / "tokens" / name).stat().st_mode) == 0o600
