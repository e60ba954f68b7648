"""Bad input of every kind: the right status, one JSON shape, a message that says what to do, nothing half-written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import errors
from headway.errors import HeadwayError
from headway.kernel.access import SYSTEM, Role
from headway.kernel.records import digest
from headway.lifecycle.rollouts.target import Endpoint
from headway.server.app import compose
from headway.server.errors import status_of
from headway.server.local import LocalTransport, local_token
from headway.server.settings import Settings
from tests.server.world import SIGNATURE, RunningTarget, World, put_blob, table

NO_RUN = "rn_00000000000000000000000000"
GOOD = {"experiment": "e"}

BAD = [
    # method, path, body, status, code, a part of the message
    ("POST", "/v1/runs", b"", 400, "invalid", "takes a JSON body"),
    ("POST", "/v1/runs", b"{", 400, "invalid", "no JSON"),
    ("POST", "/v1/runs", b"[]", 400, "invalid", "Expected `object`"),
    ("POST", "/v1/runs", b"\xff\xfe", 400, "invalid", "no JSON"),
    ("POST", "/v1/runs", b'{"experiment":"\xff"}', 400, "invalid", "UTF-8"),
    ("POST", "/v1/runs", b"{}", 400, "invalid", "missing required field `experiment`"),
    ("POST", "/v1/runs", b'{"experiment":3}', 400, "invalid", "$.experiment"),
    ("POST", "/v1/runs", b'{"experiment":"e","running":"yes"}', 400, "invalid", "$.running"),
    ("POST", "/v1/runs", b'{"experiment":"e","running":1}', 400, "invalid", "Expected `bool`"),
    ("POST", "/v1/runs", b'{"experiment":"e","paramz":{}}', 400, "invalid", "did you mean 'params'"),
    ("POST", "/v1/runs", b'{"experiment":"e","code":{"digset":""}}', 400, "invalid", "did you mean 'digest'"),
    ("POST", "/v1/runs", b'{"experiment":"../e"}', 400, "invalid", "cannot name a experiment"),
    ("POST", "/v1/runs", b'{"experiment":"e","params":' + b"[" * 90_000, 400, "invalid", "Expected `object`"),
    ("PUT", "/v1/pipelines/results/k", b'{"step":"s","run":"r","outputs":' + b"[" * 90_000, 400, "invalid", ""),
    ("POST", "/v1/gates/verdicts", b'{"findings":{"a":{"numbers":{"b":' + b"[" * 90_000, 400, "invalid", "too deeply"),
    ("POST", "/v1/runs", b'{"experiment":"' + b"e" * 100_000 + b'"}', 413, "too_large", "100000 bytes"),
    ("GET", "/v1/runs?limit=many", None, 400, "invalid", "limit: Expected `int`"),
    ("GET", "/v1/runs?limit=0", None, 400, "invalid", "limit must be from 1"),
    ("GET", f"/v1/runs?limit={10**30}", None, 400, "invalid", "limit"),
    ("GET", "/v1/runs?state=lost", None, 400, "invalid", "state: Invalid enum value 'lost'"),
    ("GET", "/v1/runs?expirement=e", None, 400, "invalid", "did you mean 'experiment'"),
    ("GET", f"/v1/ledger?after={10**30}", None, 400, "invalid", ""),
    ("GET", "/v1/changes/dora?since=yesterday", None, 400, "invalid", "since"),
    ("GET", "/v1/changes/dora?since=2026-01-01T00:00:00", None, 400, "invalid", "time zone"),
    ("GET", "/v1/changes/dora?since=2027-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", None, 400, "invalid", "before"),
    ("GET", "/v1/deployments/d/served?at=2026-01-01T00:00:00", None, 400, "invalid", "time zone"),
    ("GET", "/v1/deployments/d/served", None, 400, "invalid", "'at'"),
    ("GET", "/v1/rnus", None, 404, "not_found", "did you mean '/v1/runs'"),
    ("GET", "/v1", None, 404, "not_found", "there is nothing"),
    ("PATCH", "/v1/runs", b"{}", 405, "invalid", "does not take PATCH"),
    ("DELETE", f"/v1/runs/{NO_RUN}", None, 405, "invalid", "does not take DELETE"),
    ("GET", f"/v1/runs/{NO_RUN}", None, 404, "not_found", NO_RUN),
    ("GET", f"/v1/runs/{NO_RUN}/metrics", None, 404, "not_found", NO_RUN),
    ("POST", f"/v1/runs/{NO_RUN}/claim", b'{"holder":"h"}', 404, "not_found", NO_RUN),
    ("GET", "/v1/datasets/versions/nothing", None, 404, "not_found", "headway dataset list"),
    ("GET", "/v1/datasets/versions/nothing@0", None, 400, "invalid", "no reference"),
    ("GET", "/v1/changes/999", None, 404, "not_found", "change 999"),
    ("GET", "/v1/deployments/nowhere/endpoint", None, 404, "not_found", "headway.toml"),
    ("GET", "/v1/pipelines/results/none", None, 404, "not_found", "none"),
    ("GET", "/v1/predictions/none", None, 404, "prediction_unknown", "none"),
    ("GET", "/v1/project", None, 404, "not_found", "headway up"),
    ("PUT", "/v1/project", b"[project]\nname = = 1", 400, "bad_settings", "line 2"),
    ("PUT", "/v1/project", b"\xff", 400, "bad_settings", "UTF-8"),
    ("PUT", "/v1/project", b'[projct]\nname = "x"', 400, "bad_settings", "did you mean 'project'"),
    ("PUT", "/v1/blobs/b3:zz", b"x", 400, "invalid", "no digest"),
    ("PUT", f"/v1/blobs/{digest(b'other')}", b"x", 400, "invalid", "send them again"),
    ("PUT", f"/v1/blobs/{digest(b'x' * 300_000)}", b"x" * 300_000, 413, "too_large", "200000 bytes"),
    ("GET", f"/v1/blobs/{digest(b'other')}", None, 404, "not_found", "no blob"),
    ("GET", "/v1/blobs/..%2F..%2Ftokens", None, 404, "not_found", "there is nothing"),
    ("GET", "/v1/blobs/tokens", None, 400, "invalid", "no digest"),
    ("POST", "/v1/datasets/versions", b'{"dataset":"d","blob":"b3:00"}', 400, "invalid", "no digest"),
    ("POST", "/v1/tokens", b'{"name":"t","role":"god"}', 400, "invalid", "Invalid enum value 'god'"),
    ("POST", "/v1/tokens", b'{"name":"t","role":"reader","days":%d}' % 10**30, 400, "invalid", "$.days"),
    ("POST", "/v1/tokens", b'{"name":"","role":"reader"}', 400, "invalid", "1 to 100 characters"),
    ("POST", "/v1/tokens", b'{"name":"owner","role":"reader"}', 409, "already_exists", "revoke it first"),
    ("DELETE", "/v1/tokens/nobody", None, 404, "not_found", "nobody"),
    ("POST", "/v1/labels", b'{"labels":[]}', 400, "invalid", "1 to 10000"),
    ("POST", "/v1/labels", b'{"labels":[{"prediction":"p","value":1e200}]}', 400, "invalid", "1e+50"),
    ("POST", "/v1/labels", b'{"labels":[{"prediction":"p","value":1}]}', 404, "prediction_unknown", "try again"),
    ("POST", "/v1/changes", b'{"deployment":"d"}', 400, "invalid", "either a pipeline"),
    ("POST", "/v1/gates/verdicts", b'{"environment":"e","model_version":"m","findings":{}}', 403, "forbidden", "judge"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "part"), BAD)
def test_bad_input_is_answered_in_one_shape(
    world: World, method: str, path: str, body: bytes | None, status: int, code: str, part: str
) -> None:
    answer = world.client(Role.OWNER).request(method, path, content=body)
    assert (answer.status_code, _error(answer)["code"]) == (status, code), answer.text
    assert part in _error(answer)["message"]


def _error(answer: httpx2.Response) -> dict[str, str]:
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    error: dict[str, str] = body["error"]
    return error


def test_a_time_without_a_zone_is_refused_wherever_one_is_taken(world: World) -> None:
    author = world.client(Role.AUTHOR)
    run = author.post("/v1/runs", json=GOOD).json()["id"]
    naive = "2026-01-01T00:00:00"
    bodies = {
        f"/v1/runs/{run}/log": {"metrics": [{"key": "a", "value": 1.0, "at": naive}]},
        f"/v1/runs/{run}/steps": {"steps": [{"step": "a", "started_at": naive}]},
        "/v1/labels": {"labels": [{"prediction": "p", "value": 1.0, "at": naive}]},
    }
    for path, body in bodies.items():
        answer = author.post(path, json=body)
        assert (answer.status_code, _error(answer)["code"]) == (400, "invalid"), path


def test_a_broken_contract_names_column_and_rule(world: World) -> None:
    author = world.client(Role.AUTHOR)
    rules = [{"name": "delay", "kind": "float", "high": 10.0}, {"name": "late", "kind": "int", "use": "label"}]
    body = {"dataset": "strict", "blob": put_blob(author, table(0)), "contract": {"columns": rules}}
    answer = author.post("/v1/datasets/versions", json=body)
    assert (answer.status_code, _error(answer)["code"]) == (422, "contract_broken")
    violations = answer.json()["error"]["details"]["violations"]
    assert [(each["column"], each["rule"]) for each in violations] == [("delay", "high")]
    assert author.get("/v1/datasets/versions?dataset=strict").json()["items"] == []


def test_a_held_out_table_that_was_trained_on_is_refused(world: World) -> None:
    author = world.client(Role.AUTHOR)
    blob = put_blob(author, table(7))
    author.post("/v1/datasets/versions", json={"dataset": "same", "blob": blob}).raise_for_status()
    run = author.post("/v1/runs", json=GOOD).json()["id"]
    body = {"model": "m", "blob": blob, "signature": SIGNATURE, "task": "binary", "run": run}
    answer = author.post("/v1/models/versions", json={**body, "training": ["same"], "evaluation": "same@1"})
    assert (answer.status_code, _error(answer)["code"]) == (400, "invalid")
    assert author.get("/v1/models").json()["items"] == []


def test_a_run_that_is_over_takes_nothing_more(world: World) -> None:
    author = world.client(Role.AUTHOR)
    run = author.post("/v1/runs", json=GOOD).json()["id"]
    author.post(f"/v1/runs/{run}/move", json={"state": "finished"}).raise_for_status()
    log = author.post(f"/v1/runs/{run}/log", json={"params": {"a": "b"}})
    assert (log.status_code, _error(log)["code"]) == (409, "conflict")
    move = author.post(f"/v1/runs/{run}/move", json={"state": "running"})
    assert (move.status_code, _error(move)["code"]) == (409, "illegal_move")


def test_a_run_is_claimed_by_one_worker(world: World) -> None:
    author = world.client(Role.AUTHOR)
    run = author.post("/v1/runs", json=GOOD).json()["id"]
    lease = author.post(f"/v1/runs/{run}/claim", json={"holder": "one"}).json()
    other = author.post(f"/v1/runs/{run}/claim", json={"holder": "two"})
    assert (other.status_code, _error(other)["code"]) == (409, "lease_lost")
    late = author.post(f"/v1/runs/{run}/move", json={"state": "finished", "token": lease["token"] - 1})
    assert (late.status_code, _error(late)["code"]) == (409, "lease_lost")


def test_every_error_has_a_status() -> None:
    leaves = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HeadwayError)]
    assert {kind.__name__ for kind in leaves if status_of(kind("")) is None} == {"HeadwayError"}
    assert status_of(errors.TooLarge("")) == 413
    assert status_of(errors.NotSignedIn("")) == 401
    assert status_of(errors.ExtraMissing("")) == 503


def test_of_what_another_library_says_the_first_line_is_told() -> None:
    assert errors.first_line(ValueError("\nno such column\n\nResolved plan:\n  ...")) == "no such column"
    assert errors.first_line(ValueError()) == "ValueError"
    assert errors.first_line(ValueError("x" * 1000)) == "x" * 300


class FailingTarget(RunningTarget):
    def observe(self, deployment: str) -> Endpoint | None:
        raise RuntimeError("secret inner working")


@pytest.fixture
def failing(home: Path) -> Iterator[httpx2.Client]:
    application = compose(Settings(home=home))
    application.platform.environments.declare("e", by=SYSTEM)
    application.platform.deployments.declare("d", "e", "m", by=SYSTEM)
    transport = LocalTransport(replace(application, target=FailingTarget()))
    headers = {"authorization": f"Bearer {local_token(home)}"}
    with httpx2.Client(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


def test_a_fault_is_logged_whole_and_never_sent(failing: httpx2.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "headway.server"):
        answer = failing.get("/v1/deployments/d/endpoint")
    assert (answer.status_code, _error(answer)["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "secret inner working" in caplog.text
    assert "Traceback" in caplog.text


@settings(max_examples=25, deadline=None)
@given(body=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_no_body_makes_the_server_fail(world: World, body: bytes) -> None:
    owner = world.client(Role.OWNER)
    for method, path in (("POST", "/v1/changes"), ("PUT", "/v1/project"), ("POST", "/v1/models/versions")):
        assert owner.request(method, path, content=body).status_code == 400, path


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=60))
def test_no_path_or_query_makes_the_server_fail(world: World, text: str) -> None:
    owner = world.client(Role.OWNER)
    paths = ("/v1/runs/{}", "/v1/blobs/{}", "/v1/changes/{}", "/v1/models/versions/{}", "/v1/predictions/{}", "/v1/{}")
    for path in paths:
        assert owner.get(path.format(quote(text))).status_code < 500
    for name in ("experiment", "state", "limit", "before", text[:20]):
        assert owner.get("/v1/runs", params={name: text}).status_code < 500
