"""Which server is found, and which token goes to it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from headway.client.connect import connect
from headway.client.home import find_home, running_server
from headway.errors import Unreachable


class Local:
    """Opens nothing, but remembers where and what it was asked."""

    def __init__(self) -> None:
        self.homes, self.tokens = list[Path](), list[str | None]()

    def __call__(self, home: Path) -> httpx2.BaseTransport:
        self.homes.append(home)
        return httpx2.MockTransport(self._answer)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.tokens.append(request.headers.get("authorization"))
        return httpx2.Response(200, json={"version": "1"})


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def note(home: Path, url: str, pid: int) -> None:
    (home / "server.json").write_text(json.dumps({"url": url, "pid": pid}))


def test_in_process_when_nothing_runs(home: Path) -> None:
    local = Local()
    connect(home=home, local=local, env={}).version()
    assert local.homes == [home]
    assert local.tokens == ["Bearer hw_owner"]


def test_the_server_of_the_home_comes_first(home: Path, listener: str) -> None:
    note(home, listener, os.getpid())
    assert connect(home=home, env={}).url == listener


@pytest.mark.parametrize("gone", ["pid", "socket", "garbage"])
def test_a_note_of_a_dead_server_counts_for_nothing(home: Path, listener: str, gone: str) -> None:
    note(home, "http://127.0.0.1:9" if gone == "socket" else listener, 2**22 + 1 if gone == "pid" else os.getpid())
    if gone == "garbage":
        (home / "server.json").write_text("{")
    assert running_server(home) is None


def test_named_beats_environment_beats_home(home: Path, listener: str) -> None:
    note(home, listener, os.getpid())
    env = {"HEADWAY_URL": "http://127.0.0.1:2"}
    assert connect(home=home, env=env).url == "http://127.0.0.1:2"
    assert connect("http://127.0.0.1:1", home=home, env=env).url == "http://127.0.0.1:1"


def test_no_server_and_none_allowed(home: Path) -> None:
    with pytest.raises(Unreachable, match="headway up"):
        connect(home=home, env={})


@pytest.mark.parametrize(
    ("token", "env", "sent"),
    [
        (None, {}, "Bearer hw_owner"),
        (None, {"HEADWAY_TOKEN": "hw_env"}, "Bearer hw_env"),
        ("hw_named", {"HEADWAY_TOKEN": "hw_env"}, "Bearer hw_named"),
    ],
)
def test_which_token(home: Path, token: str | None, env: dict[str, str], sent: str) -> None:
    local = Local()
    connect(home=home, token=token, local=local, env=env).version()
    assert local.tokens == [sent]


@pytest.mark.parametrize(
    ("url", "sent"), [("http://example.org", False), ("http://127.0.0.1:1", True), ("http://127.evil.org", False)]
)
def test_the_owners_token_goes_to_no_other_machine(home: Path, url: str, sent: bool) -> None:
    client = connect(url, home=home, env={})
    assert ("authorization" in client._connection._http.headers) is sent


def test_where_the_home_is(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_home(start=deep, env={}) == deep / ".headway"
    (tmp_path / "headway.toml").touch()
    assert find_home(start=deep, env={}) == tmp_path / ".headway"
    assert find_home(start=deep, env={"HEADWAY_HOME": str(tmp_path / "h")}) == tmp_path / "h"
    assert find_home(tmp_path / "x", start=deep, env={"HEADWAY_HOME": str(tmp_path / "h")}) == tmp_path / "x"
