"""Every route that MLflow's own server has: answered here, or listed in docs/mlflow.md as one that is not."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import httpx2

from headway.kernel.access import Role
from tests.mlflow.test_protocol import ENDPOINTS
from tests.server.world import World

ROUTES = [tuple(line.split()) for line in (Path(__file__).parent / "routes.txt").read_text().splitlines()]
PAGE = (Path(__file__).parents[2] / "docs" / "mlflow.md").read_text()
_PREFIX = re.compile(r"/(?:ajax-)?api/[23]\.0/?mlflow/")


def unanswered() -> list[str]:
    """`METHOD path` or `path` patterns, without the prefix."""
    section = PAGE.partition("## What is not answered")[2].partition("\n## ")[0]
    return re.findall(r"`([^`]+)`", section.partition("|---|---|")[2])


def is_listed(method: str, path: str, patterns: list[str]) -> bool:
    rest = re.sub("<[^>]*>", "x", _PREFIX.sub("", path))
    return any(fnmatchcase(f"{method} {rest}" if " " in pattern else rest, pattern) for pattern in patterns)


def asked(client: httpx2.Client, method: str, path: str) -> str | None:
    url = re.sub("<[^>]*>", "x", path)
    content = None if method == "GET" else b"{}"
    answer = client.request(method, url, content=content, headers={"content-type": "application/json"})
    assert answer.status_code < 500, (method, path, answer.text)
    if answer.is_success:
        return None
    body = answer.json()
    assert body.keys() == {"error_code", "message"}, (method, path, answer.text)
    code: str = body["error_code"]
    return code


def test_every_route_is_answered_or_listed(world: World) -> None:
    patterns, wrong = unanswered(), []
    with world.client(Role.OWNER) as owner:
        for method, path in ROUTES:
            missing = asked(owner, method, path) == "ENDPOINT_NOT_FOUND"
            if missing is not is_listed(method, path, patterns):
                said = "neither answered nor listed" if missing else "answered, but listed"
                wrong.append(f"{method} {path} is {said}")
    assert not wrong, "\n".join(wrong)


def test_what_is_listed_exists() -> None:
    useless = [
        pattern for pattern in unanswered() if not any(is_listed(method, path, [pattern]) for method, path in ROUTES)
    ]
    assert not useless


def test_no_call_is_answered_that_mlflow_never_had() -> None:
    """But those of MLflow's application for accounts, and metrics of several runs, which its page asks for."""
    known = {_PREFIX.sub("", re.sub("<[^>]*>", "{}", path)) for _, path in ROUTES}
    besides = {re.sub("{[^}]*}", "{}", endpoint.path) for endpoint in ENDPOINTS} - known
    assert {path.partition("/")[0] for path in besides} <= {"users", "experiments", "registered-models", "metrics"}
