"""Requests that other systems sign, to fire a trigger: who sent them, and what they ask for. Pure, tested by table.

A webhook is signed as https://www.standardwebhooks.com has it: id, time and body, so that none can be sent again.
Pushes are taken as GitHub and GitLab sign them, which name no time: a commit opens one change, however often it comes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from headway.errors import Forbidden, Invalid
from headway.kernel.naming import nearest
from headway.kernel.records import Value
from headway.lifecycle.changes.globs import globbed
from headway.lifecycle.changes.records import ParamKind

TOLERANCE = timedelta(minutes=5)
"""How far the time that a request names may be from ours."""
MOST_BYTES = 5 << 20
_PREFIX = "whsec_"
IDENTIFIER = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
_LONGEST = 1000
_KINDS: dict[ParamKind, tuple[type, ...]] = {
    ParamKind.TEXT: (str,), ParamKind.INT: (int,), ParamKind.FLOAT: (int, float), ParamKind.BOOL: (bool,)
}  # fmt: skip


class Push(Value):
    """Commits that arrived on a branch; the newest is `commit`."""

    branch: str
    commit: str
    committed_at: datetime | None = None
    by: str = ""
    title: str = ""
    paths: tuple[str, ...] | None = None
    """The files that they touch; None when not all are known."""


def fresh_secret() -> str:
    return _PREFIX + b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, identifier: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a request to fire a trigger."""
    timestamp = str(int(at.timestamp()))
    return {
        "webhook-id": identifier, "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + _signature(secret, identifier, timestamp, body),
    }  # fmt: skip


def delivery_of(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The id of a request that `secret` has signed; raises `Forbidden` for one that it has not, and for an old one."""
    identifier, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not IDENTIFIER.fullmatch(identifier) or not re.fullmatch(r"\d{1,12}", timestamp, re.ASCII):
        raise Forbidden("a request carries webhook-id, webhook-timestamp (seconds) and webhook-signature")
    expected = _signature(secret, identifier, timestamp, body)
    given = [each.partition(",")[2] for each in headers.get("webhook-signature", "").split(" ") if each[:3] == "v1,"]
    if not any(_same(each, expected) for each in given[:10]):
        raise Forbidden("the signature is not that of this trigger's secret over this id, time and body")
    if abs(now - datetime.fromtimestamp(int(timestamp), UTC)) > TOLERANCE:
        raise Forbidden(f"the request is signed for another time; it holds for {TOLERANCE.seconds} s")
    return identifier


def check_push(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raise `Forbidden` unless GitHub or GitLab sent this with `secret`."""
    if "x-hub-signature-256" in headers:
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        good = _same(headers["x-hub-signature-256"], expected)
    elif "webhook-signature" in headers:  # of a signing token, which newer GitLabs have
        good = bool(delivery_of(secret, headers, body, now))
    else:
        good = _same(headers.get("x-gitlab-token", ""), secret)
    if not good:
        raise Forbidden("neither X-Hub-Signature-256 (GitHub) nor X-Gitlab-Token (GitLab) is of this trigger's secret")


def push_of(headers: Mapping[str, str], body: bytes) -> Push | None:
    """What was pushed; None for an event that is no push to a branch. Raises `Invalid`."""
    event = headers.get("x-github-event") or headers.get("x-gitlab-event", "")
    if event not in ("push", "Push Hook"):
        return None
    said = _object(body)
    ref, commit = said.get("ref"), said.get("after")
    if not isinstance(ref, str) or not ref.startswith("refs/heads/") or not isinstance(commit, str):
        return None
    if not COMMIT.fullmatch(commit) or not commit.strip("0"):  # a branch that was deleted
        return None
    listed = said.get("commits")
    commits = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    newest = next((each for each in commits if each.get("id") == commit), {})
    pusher = said.get("pusher")
    by = pusher.get("name") if isinstance(pusher, dict) else said.get("user_username")
    return Push(
        branch=ref.removeprefix("refs/heads/"), commit=commit, committed_at=_moment(newest.get("timestamp")),
        by=by[:100] if isinstance(by, str) else "", title=_first_line(newest.get("message")),
        paths=_paths(said, commits),
    )  # fmt: skip


def touches(push: Push, globs: Collection[str]) -> bool:
    """Whether it touches a file that one of `globs` fits; what is not known to be untouched counts as touched."""
    if not globs or push.paths is None:
        return True
    patterns = [globbed(glob) for glob in globs]
    return any(pattern.fullmatch(path) for pattern in patterns for path in push.paths)


def brought(body: bytes, takes: Mapping[str, ParamKind]) -> dict[str, str]:
    """The params in a webhook's body, a JSON object; raises `Invalid` for one that is not declared or not of its
    kind."""
    given = _object(body or b"{}")
    for name, value in given.items():
        if name not in takes:
            known = nearest(name[:100], takes) or f"; it takes: {', '.join(sorted(takes)) or 'none'}"
            raise Invalid(f"this trigger takes no {name[:100]!r}{known}")
        kind = takes[name]
        if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind is not ParamKind.BOOL):
            raise Invalid(f"{name} must be {kind}, as the trigger declares")
        if isinstance(value, str) and len(value) > _LONGEST:
            raise Invalid(f"{name} has at most {_LONGEST} characters")
    return {name: v if isinstance(v, str) else msgspec.json.encode(v).decode() for name, v in given.items()}


def _signature(secret: str, identifier: str, timestamp: str, body: bytes) -> str:
    key = b64decode(secret.removeprefix(_PREFIX))
    return b64encode(hmac.new(key, f"{identifier}.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the body must be a JSON object (application/json): {error}") from error


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _first_line(text: Any) -> str:
    return text.splitlines()[0][:100] if isinstance(text, str) and text.strip() else ""


def _paths(said: Mapping[str, Any], commits: Iterable[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """GitLab sends at most twenty commits, and GitHub none for a branch that begins where another is."""
    listed = list(commits)
    total = said.get("total_commits_count", len(listed))
    if not listed or total != len(listed) or said.get("forced"):
        return None
    found: dict[str, None] = {}
    for commit in listed:
        for kind in ("added", "modified", "removed"):
            paths = commit.get(kind)
            if not isinstance(paths, list):
                return None
            found |= {path: None for path in paths if isinstance(path, str)}
    return tuple(found)
