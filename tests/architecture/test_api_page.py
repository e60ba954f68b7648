"""`docs/api.md` has every route, role, status and limit; `docs/operations.md` every metric and variable."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from headway.kernel.access import Actor, Permission, Role
from headway.kernel.paging import MOST
from headway.lifecycle.predictions.service import MOST_LABELS
from headway.lifecycle.runs.rules import MOST_METRICS, MOST_TEXTS
from headway.server.api import routed
from headway.server.app import Application, compose
from headway.server.auth import PUBLIC
from headway.server.errors import STATUSES
from headway.server.metrics import exposition
from headway.server.openapi import routes_of
from headway.server.routing import query_fields
from headway.server.settings import MIB, Settings
from headway.serving.counters import CaptureStatus, ServerCounters
from headway.serving.http.app import App
from headway.serving.main import _parser
from headway.serving.process import build
from headway.serving.responder import TOTALS, Responder
from tests.architecture.documents import ROOT, below, codes, section

PAGE = "docs/api.md"
SERVER = "Model servers"


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    opened = compose(Settings(home=tmp_path_factory.mktemp("home") / ".headway"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def litestar(application: Application) -> Litestar:
    return routed(application)


def test_every_route_with_its_query(litestar: Litestar) -> None:
    known = {
        f"{method} {path}": list(query_fields(handler))
        for path, handler in routes_of(litestar)
        for method in handler.http_methods
    }
    told = {codes(row[0])[0]: codes(row[1]) for part in below(PAGE, "Routes") for row in part.rows}
    assert told == known


def test_the_public_routes_are_named() -> None:
    text = section(PAGE, "Authentication").text
    assert set(re.findall(r"`GET (/\S+)`", text)) == PUBLIC


def test_roles_and_what_they_may() -> None:
    told = {codes(row[0])[0]: codes(row[1]) for row in section(PAGE, "Roles").rows}
    assert told == {role: [each for each in Permission if Actor(name="", role=role).may(each)] for role in Role}


def test_statuses() -> None:
    told = {int(row[0]): codes(row[1])[0] for row in section(PAGE, "Errors").rows}
    assert told == {status: branch.code for status, branch in STATUSES.items()}


def test_limits(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    told = [row[1] for row in section(PAGE, "Limits").rows]
    bytes_ = (settings.most_json_bytes, settings.most_segment_bytes, settings.most_blob_bytes)
    assert told == [f"{each // MIB} MiB" for each in bytes_] + [
        str(each) for each in (MOST, MOST_LABELS, MOST_METRICS, MOST_TEXTS)
    ] + [f"{settings.most_query_s:g} s"]


def test_the_routes_of_a_model_server_are_there(tmp_path: Path) -> None:
    arguments = ["--routing", str(tmp_path / "routing.json"), "--blobs", str(tmp_path), "--spool", str(tmp_path)]
    responder = build(_parser().parse_args([*arguments, "--port", "1"]))
    assert isinstance(responder, Responder)
    app = App(responder)

    def status(method: str, path: str) -> int:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(app({"type": "http", "method": method, "path": path, "headers": []}, receive, send))
        return int(sent[0]["status"])

    told = [codes(row[0])[0].replace("{deployment}", "late").split() for row in section(PAGE, SERVER).rows]
    assert {
        f"{method} {path}": status(method, path) for method, path in told if status(method, path) in (404, 405)
    } == {}
    assert {*responder.about.fixed, *TOTALS} <= {path for _, path in told}
    assert status("GET", "/v2/health/well") == 404


def test_metrics_of_the_control_plane(application: Application) -> None:
    for file in (ROOT / "headway" / "server").rglob("*.py"):
        for name in re.findall(r'counters\.add\(\s*"(\w+)"', file.read_text()):
            application.counters.add(name)
    application.counters.request("GET", "/health", 200, 0.001)
    assert _told_metrics("control plane") == _types(exposition(application.platform, application.counters))


def test_metrics_of_a_model_server() -> None:
    assert _told_metrics("model server") == _types(ServerCounters().prometheus(CaptureStatus()))


def _types(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


def _told_metrics(whose: str) -> dict[str, str]:
    table = section("docs/operations.md", "Metrics").text.partition(f"| {whose} | type |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))


def test_environment_variables() -> None:
    told = {codes(row[0])[0] for row in section("docs/operations.md", "Settings").rows}
    sources = [file.read_text() for file in (ROOT / "headway").rglob("*.py")]
    assert told == {name for text in sources for name in re.findall(r"\bHEADWAY_[A-Z]+\b", text)}
