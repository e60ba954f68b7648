"""Who may fire a trigger by a request, and what a request asks for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import Forbidden, HeadwayError, Invalid
from headway.lifecycle.changes.globs import glob_mistake, globbed
from headway.lifecycle.changes.hooks import (
    Push,
    brought,
    check_push,
    delivery_of,
    fresh_secret,
    push_of,
    signed,
    touches,
)
from headway.lifecycle.changes.records import ParamKind

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
BODY = b'{"test": 2432232314}'


def test_the_example_of_the_standard() -> None:
    """From the specification's own test vectors (standardwebhooks.com, libraries' tests)."""
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, BODY)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert delivery_of(SECRET, headers, BODY, at) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


BROKEN: list[tuple[dict[str, str], bytes, float]] = [
    ({"webhook-id": "other"}, BODY, 0),
    ({"webhook-id": ""}, BODY, 0),
    ({"webhook-id": "with space"}, BODY, 0),
    ({"webhook-timestamp": "x"}, BODY, 0),
    ({"webhook-timestamp": "1e9"}, BODY, 0),
    ({"webhook-timestamp": "9" * 13}, BODY, 0),
    ({"webhook-signature": ""}, BODY, 0),
    ({"webhook-signature": "v1,"}, BODY, 0),
    ({"webhook-signature": "v1,\u00e9"}, BODY, 0),
    ({"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}, BODY, 0),
    ({}, BODY + b" ", 0),
    ({}, BODY, 301),
    ({}, BODY, -301),
]


@pytest.mark.parametrize(("change", "body", "later_s"), BROKEN)
def test_what_is_not_let_in(change: dict[str, str], body: bytes, later_s: float) -> None:
    headers = signed(SECRET, "msg_1", NOW, BODY) | change
    with pytest.raises(Forbidden):
        delivery_of(SECRET, headers, body, NOW + timedelta(seconds=later_s))


def test_one_good_signature_among_several_is_enough() -> None:
    headers = signed(SECRET, "msg_1", NOW, BODY)
    headers["webhook-signature"] = f"v1a,x v1,AAAA {headers['webhook-signature']}"
    assert delivery_of(SECRET, headers, BODY, NOW + timedelta(seconds=299)) == "msg_1"


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_secret_lets_in_its_own_bodies_and_no_other(body: bytes, other: bytes) -> None:
    secret = fresh_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    headers = signed(secret, "a", NOW, body)
    assert delivery_of(secret, headers, body, NOW) == "a"
    for wrong, text in ((fresh_secret(), body), (secret, other + b"x" if other == body else other)):
        with pytest.raises(Forbidden):
            delivery_of(wrong, headers, text, NOW)


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
def test_no_header_brings_it_down(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        delivery_of(SECRET, headers, BODY, NOW)
    with pytest.raises(Forbidden):
        check_push(SECRET, headers, BODY, NOW)


def github(body: dict[str, Any], event: str = "push", secret: str = SECRET) -> tuple[dict[str, str], bytes]:
    data = json.dumps(body).encode()
    mac = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
    return {"x-github-event": event, "x-hub-signature-256": f"sha256={mac}"}, data


def test_githubs_own_example_of_a_signature() -> None:
    """From "Validating webhook deliveries" in GitHub's documentation."""
    mac = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    check_push("It's a Secret to Everybody", {"x-hub-signature-256": mac}, b"Hello, World!", NOW)
    with pytest.raises(Forbidden):
        check_push("It's a Secret to Everybody", {"x-hub-signature-256": mac}, b"Hello, World?", NOW)


def test_gitlabs_token_and_its_signing_token() -> None:
    check_push(SECRET, {"x-gitlab-token": SECRET}, b"{}", NOW)
    check_push(SECRET, signed(SECRET, "a", NOW, b"{}"), b"{}", NOW)
    for headers in ({"x-gitlab-token": SECRET + "x"}, {"x-gitlab-token": ""}, {}, signed(SECRET, "a", NOW, b"[]")):
        with pytest.raises(Forbidden):
            check_push(SECRET, headers, b"{}", NOW)


GITHUB = {
    "ref": "refs/heads/main", "before": "0" * 40, "after": SHA, "pusher": {"name": "ada"},
    "commits": [
        {"id": "a" * 40, "timestamp": "2026-01-01T11:00:00+01:00", "message": "one", "added": ["a.py"], "modified": [],
         "removed": []},
        {"id": SHA, "timestamp": "2026-01-01T12:30:00+01:00", "message": "two\n\nmore", "added": [],
         "modified": ["data/x/y.csv"], "removed": ["b.py"]},
    ],
}  # fmt: skip
PUSH = Push(
    branch="main", commit=SHA, committed_at=datetime(2026, 1, 1, 11, 30, tzinfo=UTC), by="ada", title="two",
    paths=("a.py", "data/x/y.csv", "b.py"),
)  # fmt: skip
GITLAB = {
    "object_kind": "push", "ref": "refs/heads/main", "after": SHA, "user_username": "ada",
    "commits": GITHUB["commits"], "total_commits_count": 2,
}  # fmt: skip


def test_what_github_and_gitlab_say_of_a_push() -> None:
    assert push_of(*github(GITHUB)) == PUSH
    assert push_of({"x-gitlab-event": "Push Hook"}, json.dumps(GITLAB).encode()) == PUSH
    many = GITLAB | {"total_commits_count": 40}
    found = push_of({"x-gitlab-event": "Push Hook"}, json.dumps(many).encode())
    assert found is not None
    assert found.paths is None


NO_PUSH = [
    ({}, "ping"), (GITHUB | {"ref": "refs/tags/v1"}, "push"), (GITHUB | {"after": "0" * 40}, "push"),
    (GITHUB | {"after": "main"}, "push"), (GITHUB | {"after": None}, "push"), ({}, "push"), (GITHUB, "pull_request"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "event"), NO_PUSH)
def test_what_is_no_push(body: dict[str, Any], event: str) -> None:
    assert push_of(*github(body, event)) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"x=1", b"\xff", b"[" * 5000])
def test_what_is_no_object(body: bytes) -> None:
    with pytest.raises(Invalid, match="JSON object"):
        push_of({"x-github-event": "push"}, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*GITHUB, "forced", "total_commits_count"]), JSON))
def test_no_body_brings_it_down(body: dict[str, Any]) -> None:
    try:
        found = push_of({"x-github-event": "push"}, json.dumps(GITHUB | body).encode())
        assert found is None or found.commit
    except HeadwayError:
        pass


TOUCHES = [
    ((), True), (("*.py",), True), (("c.py", "data/**"), True), (("data/*.csv",), False), (("data/**/*.csv",), True),
    (("**/y.csv",), True), (("?.py",), True), (("x/*",), False), (("**",), True), (("A.py",), False),
]  # fmt: skip


@pytest.mark.parametrize(("globs", "touched"), TOUCHES)
def test_which_files_a_push_touches(globs: tuple[str, ...], touched: bool) -> None:
    assert touches(PUSH, globs) is touched
    assert touches(PUSH.but(paths=None), globs)


@pytest.mark.parametrize("glob", ["", "/etc/*", "../x", "a/../b", "a\\b", "a\0", "a" * 501])
def test_what_is_no_glob(glob: str) -> None:
    assert glob_mistake(glob)


@given(st.text(alphabet="ab/.*?[]{}()+", max_size=8), st.text(alphabet="ab/.", max_size=8))
def test_only_stars_and_marks_mean_something_in_a_glob(glob: str, path: str) -> None:
    found = globbed(glob).fullmatch(path) is not None
    if "*" not in glob and "?" not in glob:
        assert found is (glob == path)
    if "*" not in glob and found:
        assert len(path) == len(glob)


TAKES = {"country": ParamKind.TEXT, "days": ParamKind.INT, "share": ParamKind.FLOAT, "full": ParamKind.BOOL}


def test_what_a_webhook_brings() -> None:
    body = json.dumps({"country": "DE", "days": 3, "share": 1, "full": False}).encode()
    assert brought(body, TAKES) == {"country": "DE", "days": "3", "share": "1", "full": "false"}
    assert brought(b"", TAKES) == {}


@pytest.mark.parametrize(
    "body",
    [{"days": "3"}, {"days": 3.5}, {"days": True}, {"country": 1}, {"country": None}, {"share": "1"}, {"full": 1},
     {"counry": "DE"}, {"country": "x" * 1001}, {"days": [3]}],
)  # fmt: skip
def test_what_it_may_not_bring(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        brought(json.dumps(body).encode(), TAKES)
