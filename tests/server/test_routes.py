"""Every route once, with good input: the answer is what the route says it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from blake3 import blake3

from headway.client.frames import parquet_of
from headway.kernel.access import Role
from headway.kernel.records import digest
from headway.lifecycle.changes.hooks import signed
from headway.lifecycle.datasets.listing import Entry
from headway.lifecycle.datasets.pack import HEAD, Index, index_tail
from headway.lifecycle.datasets.tree import build
from headway.lifecycle.runs.imported import imported_run_id
from headway.lifecycle.status import Status
from headway.server.api import routed
from headway.server.openapi import routes_of
from tests.server.world import SIGNATURE, World, put_blob, register, registered_version, segment, table

AT = "2026-03-01T12:00:00Z"


def reads(ids: dict[str, str]) -> Iterator[str]:
    yield from ("/health", "/version", "/metrics", "/schema", "/schema/openapi.json", "/v1/me", "/v1/status")
    yield from ("/v1/datasets", "/v1/datasets/versions?dataset=flights&limit=1", "/v1/datasets/versions/flights@1")
    yield "/v1/datasets/versions/flights/data"
    yield from ("/v1/feature-views", "/v1/feature-views/hours", "/v1/feature-views/hours/materialisations?limit=1")
    yield from ("/v1/datasets/versions/flights/data", "/v1/datasets/versions/grown@gold/data")
    yield from ("/v1/datasets/versions/folder/files?after=a&limit=1", "/v1/datasets/diff?first=grown@1&second=grown")
    yield f"/v1/runs?experiment=delays&parent=&state=finished&limit=3&before={ids['run'][:-1]}z"
    yield from ("/v1/experiments", "/v1/experiments/delays", f"/v1/runs/{ids['run']}", f"/v1/runs/{ids['run']}/steps")
    yield f"/v1/runs/{ids['run']}/logs?step=fit&after=0&limit=5"
    yield from (f"/v1/runs/{ids['run']}/artifacts", f"/v1/runs/{ids['run']}/metrics")
    yield f"/v1/runs/{ids['run']}/metrics/val/loss?limit=1&after=0"
    yield from ("/v1/pipelines", "/v1/pipelines/results/b3:key", "/v1/pipelines/train/results")
    yield from ("/v1/models", "/v1/models/versions?model=late", "/v1/models/versions/late@1")
    yield "/v1/models/versions/late@1/origins"
    yield from ("/v1/models/registrations/crafted@1", "/v1/models/versions/crafted@1/trust")
    yield from ("/v1/environments", "/v1/environments/production")
    yield "/v1/gates/verdicts?model_version=late@1"
    yield from (f"/v1/gates/verdicts/{ids['verdict']}", f"/v1/gates/evidence/{ids['evidence']}")
    yield from ("/v1/releases?environment=production", f"/v1/releases/{ids['release']}")
    yield from ("/v1/deployments", "/v1/deployments/arrivals", "/v1/deployments/arrivals/endpoint")
    yield from ("/v1/deployments/arrivals/traffic", "/v1/deployments/arrivals/quality?since_day=2026-01-01")
    yield from ("/v1/deployments/arrivals/served?at=2099-01-01T00:00:00Z", "/v1/segments?deployment=arrivals")
    yield "/v1/deployments/arrivals/differences?rival=rl_2&day=2026-03-01"
    yield from ("/v1/rollouts?deployment=arrivals", f"/v1/rollouts/{ids['rollout']}", "/v1/predictions/p%2F0")
    yield from ("/v1/monitors", "/v1/monitors/drift", "/v1/monitors/drift/windows")
    yield from ("/v1/alerts", f"/v1/alerts/{ids['alert']}")
    run = f"/v1/runs/{ids['run']}"
    yield from (f"{run}/summary", f"{run}/curve/val/loss?most=10&first_step=0&last_step=9")
    yield from ("/v1/changes", "/v1/changes/1", f"/v1/changes/{ids['change']}", "/v1/changes/1/approvals")
    yield from (f"/v1/changes/dora?since={AT}&until=2099-01-01T00:00:00Z", "/v1/triggers")
    yield from ("/v1/triggers/daily", "/v1/triggers/daily/firings?state=opened&limit=2")
    yield from ("/v1/ledger", "/v1/ledger?after=3&limit=2", f"/v1/ledger?subject={ids['run']}")
    yield from (f"/v1/lineage/{ids['model_version']}", "/v1/tokens", "/v1/project")
    yield from ("/v1/webhooks", "/v1/webhooks/chat", "/v1/webhooks/chat/deliveries?state=pending&limit=1")
    yield from (f"/v1/blobs/{digest(table(0))}", f"/v1/blobs/{digest(table(0))}?start=1&length=3")
    yield from ("/v1/tombstones?kind=rn&limit=3", f"/v1/tombstones/{ids['spare']}")
    yield from ("/v1/retention", "/v1/usage", "/v1/gc?limit=3")


def feature_view_writes(run: str, version: str) -> Iterator[tuple[str, Any]]:
    yield f"{run}/reads", {"version": version}
    view = {"name": "hours", "source": "feature-source", "entity": ["flight"], "event_time": "at"}
    yield "/v1/feature-views", {**view, "features": [{"name": "delay"}], "ttl_s": 60}
    yield "/v1/feature-views/hours/materialise", {"as_of": AT}
    yield "/v1/feature-views/hours@1/look-up", {"entities": [{"flight": 1}, {"flight": 2}]}


def _ends(run: str) -> Iterator[tuple[str, Any]]:
    yield f"{run}/logs", {"step": "fit", "text": "fits\n"}
    yield f"{run}/resume", None
    yield f"{run}/move", {"state": "finished"}


def writes(ids: dict[str, str], blob: str) -> Iterator[tuple[str, Any]]:
    """Paths and bodies; the ids are of things that are there."""
    run = f"/v1/runs/{ids['run']}"
    yield from of_datasets(ids, blob)
    yield from feature_view_writes(run, ids["dataset_version"])
    yield "/v1/runs", {"experiment": "delays", "params": {"depth": "3"}}
    yield "/v1/runs/search", {"experiments": ["delays"], "where": "run_id != ''", "order": ["run_name"], "limit": 1}
    yield "/v1/runs/count", {"where": "params.depth = '3'", "deleted": None}
    yield from ((f"{where}/{verb}", {}) for where in (run, "/v1/experiments/delays") for verb in ("delete", "restore"))
    points = [{"key": "val/loss", "value": value, "at": AT} for value in (0.5, "NaN", "-Infinity")]
    yield f"{run}/log", {"params": {"a": "1"}, "tags": {"b": "2"}, "metrics": points}
    yield f"{run}/points", {"curves": {"val/loss": {"steps": [1], "at_us": [0], "values": ["Infinity"]}}}
    yield f"{run}/claim", {"holder": "worker-1"}
    yield f"{run}/steps", {"steps": [{"step": "fit", "state": "running", "started_at": AT}]}
    yield f"{run}/artifacts", {"name": "report.txt", "blob": blob, "media_type": "text/plain"}
    yield "/v1/runs/metrics", {"runs": [ids["run"]]}
    yield "/v1/pipelines", {"name": "train", "nodes": [{"step": "fit"}, {"step": "judge", "after": ["fit"]}]}
    body = {"model": "late", "blob": blob, "signature": SIGNATURE, "task": "binary", "run": ids["run"]}
    yield "/v1/models/versions", {**body, "training": ["flights@1"], "evaluation": "held-out"}
    yield "/v1/models/versions", registered_version(ids["registration"], body)
    yield from ((f"/v1/models/versions/crafted@1/{verb}", {"why": "so"}) for verb in ("trust", "distrust", "trust"))
    yield "/v1/gates/verdicts", {"environment": "production", "model_version": "late@1", "findings": {}}
    yield f"/v1/releases/{ids['release']}/check", None
    yield "/v1/labels/find", {"predictions": ["p/2", "nobody"]}
    yield "/v1/labels", {"labels": [{"prediction": "p/2", "value": 1.0, "at": AT}]}
    yield f"/v1/alerts/{ids['alert']}/acknowledge", {"note": "I look"}
    yield f"/v1/alerts/{ids['alert']}/resolve", {"note": "known"}
    yield "/v1/changes", {"deployment": "arrivals", "model_version": "late@1", "why": "again"}
    yield "/v1/changes/2/cancel", {"reason": "too late"}
    yield "/v1/ledger/verify", None
    yield from steering(ids)
    yield from ((f"/v1/rollouts/{ids['rollout']}/{verb}", {"reason": "x"}) for verb in ("pause", "resume", "roll-back"))
    yield from _ends(run)
    spare = f"/v1/records/{ids['spare']}"
    yield from ((f"{spare}/delete", None), (f"{spare}/restore", None), (f"{spare}/delete", None))
    yield f"{spare}/purge", {"why": "not needed"}
    yield "/v1/gc", {"dry_run": True, "older_than_s": 0, "explain": 10}
    yield from declared()
    yield "/v1/tokens", {"name": "night/ly", "role": "worker", "days": 30}
    yield from ((f"/v1/import/{what}", {"source": "http://there", **body}) for what, body in imports(blob))


def declared() -> Iterator[tuple[str, Any]]:
    """What fires triggers and tells webhooks."""
    yield from (("/v1/triggers/daily/fire", {"key": "now"}), ("/v1/triggers/daily/pause", {"why": "w"}))
    yield "/v1/triggers/daily/resume", None
    yield "/v1/triggers/daily/backfill", {"since": AT, "until": AT, "dry_run": True}
    hook = {"url": "https://hooks.invalid/", "events": ["change.settled"]}
    yield from (("/v1/webhooks", {"name": name, **hook}) for name in ("chat", "gone"))
    yield "/v1/webhooks/gone/test", {"event": "change.opened"}


def steering(ids: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """What is said of a deployment beside its rollouts."""
    yield "/v1/deployments/arrivals/pin", {"release": ids["release"], "why": "a test", "prefixes": ["vip-"]}
    yield "/v1/deployments/arrivals/shadow", {"release": ids["release"], "why": "a look", "percent": 10}
    yield "/v1/deployments/arrivals/unshadow", {"why": "seen"}
    yield "/v1/deployments/arrivals/fallback", {"constant": {"score": 0.5}, "why": "to be safe"}
    yield "/v1/deployments/arrivals/unfallback", {"why": "safe"}
    yield "/v1/deployments/arrivals/unpin", {"why": "the test is over"}


def of_datasets(ids: dict[str, str], blob: str) -> Iterator[tuple[str, Any]]:
    yield (
        "/v1/datasets/check",
        {"blob": blob, "contract": {"columns": [{"name": "delay", "kind": "float"}], "closed": False}},
    )
    yield "/v1/datasets/versions", {"dataset": "flights", "blob": blob, "came_from": [ids["dataset_version"]]}
    yield "/v1/datasets/versions", {"dataset": "grown", "blob": blob}
    yield "/v1/datasets/rows", {"dataset": "grown", "after": "grown@1", "blob": blob}
    yield from (("/v1/datasets/tag", {"reference": "grown", "tag": tag}) for tag in ("gold", "gone"))
    yield "/v1/datasets/untag", {"dataset": "grown", "tag": "gone"}
    pack, root = packed()
    yield "/v1/datasets/packs", {"blob": digest(pack)}
    yield "/v1/datasets/files", {"dataset": "folder", "root": root, "packs": [digest(pack)]}


def packed() -> tuple[bytes, str]:
    """A pack with one file, and the root of its tree."""
    pieces = {blake3(b"hi").digest(): b"hi"}
    root = build([Entry("a/b", 2, False, blake3(b"hi").digest())], pieces.__setitem__)
    index = Index(digests=b"".join(pieces), lengths=[len(piece) for piece in pieces.values()])
    return HEAD + b"".join(pieces.values()) + index_tail(index), "b3:" + root.hex()


def imports(blob: str) -> Iterator[tuple[str, Any]]:
    """What another tracker knows, in the order in which it is handed in."""
    yield "experiment", {"experiment": {"source_id": "1", "name": "theirs", "created_at": AT}}
    run = {"source_id": "abc", "experiment": "theirs", "started_at": AT, "state": "finished", "digest": "b3:x"}
    ours = imported_run_id("abc", msgspec.convert(AT, datetime))
    yield "runs", {"runs": [run], "settled": False}
    yield "points", {"runs": {ours: {"loss": {"steps": [1], "at_us": [0], "values": ["NaN"]}}}}
    yield "artifacts", {"artifacts": [{"owner": ours, "name": "a/b", "blob": blob, "size": 10}]}
    yield "runs", {"runs": [run], "settled": True}
    times = {"created_at": AT, "updated_at": AT}
    model = {"source_id": "m-1", "experiment": "theirs", "name": "forest", "state": "ready", **times}
    yield "logged-models", {"logged_models": [model], "settled": False}
    yield "logged-models", {"logged_models": [model], "settled": True}
    yield "traces", {"traces": [{"request": "tr-1", "experiment": "theirs", "created_at": AT}]}
    version = {"number": 7, "source": "models:/m-1", "run": ours, **times}
    yield "model", {"model": {"name": "taken over", "versions": [version], **times}}


PROJECT = """
[project]
name = "flights"
[pipelines.train]
entry = "pipeline:train"
[models.late]
[environments.staging]
gate = ["accuracy"]
[deployments.departures]
environment = "staging"
model = "late"
[monitors.quality]
deployment = "departures"
watches = "quality"
[triggers.again]
on = "alert"
source = "quality"
pipeline = "train"
deployment = "departures"
[triggers.daily]
on = "schedule"
source = "0 3 * * *"
pipeline = "train"
deployment = "departures"
[triggers.hook]
on = "webhook"
pipeline = "train"
deployment = "departures"
"""


def test_every_route_answers_as_it_says(delivered: tuple[World, dict[str, str]]) -> None:
    world, ids = delivered
    owner, gatekeeper = world.client(Role.OWNER), world.client(Role.GATEKEEPER)
    handlers = {
        path: handler for path, handler in routes_of(routed(world.application)) if "GET" in handler.http_methods
    }
    put_blob(owner, b"")
    put_blob(owner, packed()[0])
    ids = ids | {"spare": owner.post("/v1/runs", json={"experiment": "spare"}).json()["id"]}
    assert owner.head(f"/v1/blobs/{digest(b'')}").status_code == 200
    data = segment(ids["release"], rows=5)
    kept_segment = owner.put(f"/v1/deployments/arrivals/segments/{digest(data)}", content=data).json()
    assert kept_segment["rows"] == 5
    assert owner.get(f"/v1/segments/{kept_segment['id']}").json() == kept_segment
    kept = {"step": "fit", "run": ids["run"], "outputs": [{"blob": digest(b""), "format": "bytes"}]}
    assert owner.put("/v1/pipelines/results/b3:key", json=kept).json()["outputs"] == kept["outputs"]
    applied = owner.put("/v1/project", content=PROJECT)
    assert applied.json() == {
        "environments": ["staging"], "deployments": ["departures"], "monitors": ["quality"],
        "triggers": ["again", "daily", "hook"],
    }  # fmt: skip
    source = put_blob(owner, parquet_of({"flight": [1], "at": [datetime(2026, 1, 1, tzinfo=UTC)], "delay": [2.5]}))
    owner.post("/v1/datasets/versions", json={"dataset": "feature-source", "blob": source}).raise_for_status()
    ids = ids | {"registration": register(world, ids["run"])}
    for path, body in writes(ids, put_blob(owner, table(0))):
        client = gatekeeper if path == "/v1/gates/verdicts" else owner
        answer = client.post(path, json=body) if body is not None else client.post(path)
        assert answer.is_success, (path, answer.text)
    again = {"deployment": "arrivals", "release": ids["release"], "steps": [5, 100], "why": "again"}
    started = owner.post("/v1/rollouts", json=again).json()["id"]
    assert owner.post(f"/v1/rollouts/{started}/advance", json={"reason": "now"}).json()["state"] == "running"
    assert owner.delete("/v1/tokens/night%2Fly").json()["revoked_at"] is not None
    assert owner.delete("/v1/webhooks/gone").json()["state"] == "removed"
    secret = owner.post("/v1/triggers/hook/secret").json()["secret"]
    signature = signed(secret, "msg-1", datetime.now(UTC), b"{}")
    assert owner.post("/v1/triggers/hook/webhook", content=b"{}", headers=signature).json()["fired"] is True
    for path in reads(ids):
        answer = owner.get(path)
        assert answer.status_code == 200, (path, answer.text)
        handler = handlers[_template(path, handlers)]
        if answer.headers["content-type"] == "application/json":
            msgspec.json.decode(answer.content, type=handler.parsed_return_field.raw)
    _all_were_asked(world)


def _template(path: str, known: dict[str, Any]) -> str:
    parts = path.partition("?")[0].split("/")
    for template in sorted(known, key=lambda each: each.count("{")):
        wanted = template.split("/")
        same = len(wanted) == len(parts) or template.endswith(("{key}", "predictions/{identifier}"))
        if same and all(w.startswith("{") or w == p for w, p in zip(wanted, parts, strict=False)):
            return template
    raise AssertionError(f"no route for {path}")


def _all_were_asked(world: World) -> None:
    counted = world.application.counters.snapshot()["headway_requests_total"]
    asked = {(dict(labels)["method"], dict(labels)["route"]) for labels in counted if dict(labels)["status"] < "300"}
    routes = {
        (method, path) for path, handler in routes_of(routed(world.application)) for method in handler.http_methods
    }
    decline = {("POST", "/v1/changes/{ref}/decline")}  # needs a change of its own: tests/server/test_delivery.py
    assert routes - asked == decline


def test_numbers_that_json_lacks_come_back_as_they_were(delivered: tuple[World, dict[str, str]]) -> None:
    world, _ = delivered
    author = world.client(Role.AUTHOR)
    run = author.post("/v1/runs", json={"experiment": "odd"}).json()["id"]
    points = [
        {"key": "a/b c", "value": value, "at": AT, "step": step} for step, value in enumerate(["NaN", "Infinity", 1.5])
    ]
    assert author.post(f"/v1/runs/{run}/log", json={"metrics": points}).json() == {"points": 3}
    first = author.get(f"/v1/runs/{run}/metrics/a%2Fb%20c?limit=2").json()
    assert [point["value"] for point in first["points"]] == ["NaN", "Infinity"]
    rest = author.get(f"/v1/runs/{run}/metrics/a%2Fb%20c?limit=2&after={first['next']}").json()
    assert [point["value"] for point in rest["points"]] == [1.5]
    assert rest["next"] is None
    assert author.get(f"/v1/runs/{run}/metrics").json() == {"a/b c": 1.5}


def test_status_tells_what_goes_on(delivered: tuple[World, dict[str, str]]) -> None:
    world, _ = delivered
    status = msgspec.json.decode(world.client(Role.READER).get("/v1/status").content, type=Status)
    arrivals = next(each for each in status.deployments if each.deployment.name == "arrivals")
    assert arrivals.endpoint is not None
    assert arrivals.endpoint.ready
    assert {change.number for change in status.changes} >= {1}


def test_lists_come_in_pages(delivered: tuple[World, dict[str, str]]) -> None:
    world, _ = delivered
    author = world.client(Role.AUTHOR)
    made = [author.post("/v1/runs", json={"experiment": "pages"}).json()["id"] for _ in range(5)]
    seen: list[str] = []
    before = ""
    while True:
        page = author.get(f"/v1/runs?experiment=pages&limit=2{before}").json()
        seen += [run["id"] for run in page["items"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == sorted(made, reverse=True)
