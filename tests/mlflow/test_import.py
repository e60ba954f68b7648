"""Importing over MLflow's protocol, from a Headway server, which speaks it, into another home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headway.client.client import Client
from headway.client.http import Connection
from headway.client.mlflow.importing import Choice, MlflowImport, Taken
from headway.client.mlflow.server import ServerSource
from headway.client.mlflow.wire import Wire
from headway.errors import Forbidden, Invalid, NotFound, Unreachable
from headway.kernel.access import Role
from headway.lifecycle.runs.imported import SEEN, SOURCE, SOURCE_ID
from tests.mlflow.comparison import told_by
from tests.server.world import Unclosed, World, open_world

AT = 1_700_000_000_000


class Caller:
    """Writes to a server as MLflow's clients do."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def __call__(self, path: str, method: str = "POST", api: str = "2.0", **body: Any) -> Any:
        answer = self._http.request(method, f"/api/{api}/mlflow/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def put(self, path: str, content: bytes) -> None:
        self._http.put(f"/api/2.0/mlflow-artifacts/artifacts/{path}", content=content).raise_for_status()


def pairs(**texts: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in texts.items()]


def filled(call: Caller) -> dict[str, str]:
    """Some of everything; ids by what they are of."""
    flights = call("experiments/create", name="flights", tags=pairs(team="ops"))["experiment_id"]
    parent = _run(call, flights, "parent", AT)
    child = _run(call, flights, "child", AT + 5, **{"mlflow.parentRunId": parent})
    call(
        "runs/log-batch", run_id=parent, params=pairs(depth="3", empty=""), tags=pairs(**{"mlflow.note.content": "so"})
    )
    loss = [{"key": "loss", "value": 1 / (n + 1), "timestamp": AT + n, "step": n} for n in range(300)]
    odd = [{"key": key, "value": key, "timestamp": AT, "step": 0} for key in ("NaN", "Infinity", "-Infinity")]
    call("runs/log-batch", run_id=parent, metrics=loss + odd)
    call("runs/log-batch", run_id=child, metrics=loss[:2])
    dataset = {"name": "train", "digest": "d1", "source_type": "local", "source": "{}", "schema": "{}", "profile": "{}"}
    call("runs/log-inputs", run_id=parent, datasets=[{"dataset": dataset, "tags": pairs(context="training")}])
    for name, content in {"notes/deep/a b.txt": b"hello", "big.bin": bytes(3_000_000), "empty": b""}.items():
        call.put(f"{flights}/{parent}/artifacts/{name}", content)
    model = call(
        "logged-models", experiment_id=flights, name="forest", source_run_id=parent, params=pairs(c="1"),
        model_type="agent",
    )["model"]["info"]["model_id"]  # fmt: skip
    call.put(f"{flights}/models/{model}/artifacts/MLmodel", b"flavors: {}")
    call(f"logged-models/{model}", "PATCH", model_id=model, status="LOGGED_MODEL_READY")
    call("runs/log-metric", run_id=parent, key="auc", value=0.75, timestamp=AT, model_id=model, dataset_name="train")
    call("runs/outputs", run_id=parent, models=[{"model_id": model, "step": 2}])
    call("runs/update", run_id=parent, status="FINISHED", end_time=AT + 1000)
    call("runs/update", run_id=child, status="FAILED", end_time=AT + 2000)
    gone = _run(call, flights, "gone", AT + 7)
    call("runs/delete", run_id=gone)
    _registered(call, flights, parent, model)
    call("experiments/delete", experiment_id=call("experiments/create", name="put aside")["experiment_id"])
    info = {
        "trace_id": "tr-1", "trace_location": {"mlflow_experiment": {"experiment_id": flights}}, "state": "OK",
        "request_time": "2026-03-01T10:00:00.123Z", "request_preview": "why", "tags": {"kind": "chat"},
    }  # fmt: skip
    call("traces", api="3.0", trace={"trace_info": info})
    call.put(f"{flights}/traces/tr-1/artifacts/traces.json", b'{"spans": []}')
    return {"flights": flights, "parent": parent, "child": child, "model": model, "open": _run(call, "0", "open", AT)}


def _run(call: Caller, experiment: str, name: str, at: int, **tags: str) -> str:
    told = call(
        "runs/create", experiment_id=experiment, run_name=name, start_time=at, user_id="ada", tags=pairs(**tags)
    )
    return str(told["run"]["info"]["run_id"])


def _registered(call: Caller, experiment: str, run: str, model: str) -> None:
    call("registered-models/create", name="late", description="who is late", tags=pairs(owner="ada"))
    by_run = {"name": "late", "source": f"runs:/{run}/notes", "run_id": run}
    call("model-versions/create", **by_run, description="by hand")
    call("model-versions/create", **by_run)
    call("model-versions/create", name="late", source=f"models:/{model}", model_id=model, tags=pairs(kind="linear"))
    call("model-versions/delete", "DELETE", name="late", version="2")
    call("registered-models/alias", name="late", alias="champion", version="3")
    call("model-versions/transition-stage", name="late", version="1", stage="Staging")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, str]]]:
    world = open_world(tmp_path_factory.mktemp("original") / ".headway")
    with world.client(Role.AUTHOR) as http:
        yield world, filled(Caller(http))
    world.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    world = open_world(tmp_path / ".headway")
    yield world
    world.close()


def source_of(world: World, role: Role = Role.READER, seen: Callable[[str], None] = lambda path: None) -> ServerSource:
    """`seen` hears of each path that is asked for."""

    class Heard(Unclosed):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            seen(request.url.path)
            return super().handle_request(request)

    env = {"MLFLOW_TRACKING_TOKEN": world.secrets[role]}
    return ServerSource(Wire("http://localhost", env, transport=Heard(world.transport), wait=lambda s: None))


def client_of(world: World, role: Role = Role.AUTHOR) -> Client:
    return Client(Connection("http://localhost", world.secrets[role], transport=Unclosed(world.transport)))


def imported(source: ServerSource, here: World, **choice: Any) -> Taken:
    with client_of(here) as client:
        return MlflowImport(source, client, Choice(**choice)).run()


def test_all_of_it_arrives(original: tuple[World, dict[str, str]], here: World) -> None:
    source = source_of(original[0])
    taken = imported(source, here, deleted=True)
    assert taken.left == []
    assert told_by(source_of(here)) == told_by(source)
    assert (
        here.application.platform.ledger.entries(subject=run_named(here, "parent"))[-1].why == "from http://localhost"
    )
    with client_of(here, Role.OWNER) as client:
        assert client.ledger.verify() > 10
        run = client.runs.get(run_named(here, "parent"))
        assert client.runs.get(run_named(here, "child")).parent == run.id
    assert run.tags[SOURCE_ID] == original[1]["parent"]
    assert run.tags[SOURCE] == "http://localhost"
    assert run.started_by == "a author"


def run_named(world: World, name: str) -> str:
    runs = world.application.platform.runs
    return next(run.id for run in runs.list(limit=1000).items if run.name == name)


def test_again_takes_only_what_is_new(original: tuple[World, dict[str, str]], here: World) -> None:
    imported(source_of(original[0]), here, deleted=True)
    before = here.application.platform.ledger.latest(limit=1)[0].number
    asked: list[str] = []
    taken = imported(source_of(original[0], seen=asked.append), here, deleted=True)
    fetched = [path for path in asked if "history" in path or "artifacts" in path]
    assert fetched == ["/api/2.0/mlflow/artifacts/list"], "of the run that goes on there"
    assert (taken.counts["runs"], taken.known["runs"]) == (1, 3)
    assert here.application.platform.ledger.latest(limit=1)[0].number == before


def test_a_run_that_went_on_is_completed(tmp_path: Path, here: World) -> None:
    there = open_world(tmp_path / "there")
    with there.client(Role.AUTHOR) as http:
        call = Caller(http)
        run = _run(call, "0", "long", AT)
        call("runs/log-metric", run_id=run, key="loss", value=2.0, timestamp=AT, step=1)
        call.put(f"0/{run}/artifacts/last.txt", b"first")
        imported(source_of(there), here)
        ours = run_named(here, "long")
        assert here.application.platform.runs.get(ours).state == "running"
        call("runs/log-metric", run_id=run, key="loss", value=3.0, timestamp=AT, step=0)
        call.put(f"0/{run}/artifacts/last.txt", b"final")
        call("runs/update", run_id=run, status="FINISHED", end_time=AT + 9)
        imported(source_of(there), here)
    assert told_by(source_of(here)) == told_by(source_of(there))
    assert [run.id for run in here.application.platform.runs.list().items] == [ours]
    there.close()


class CutOff(Unclosed):
    """Lets a number of requests through, then none."""

    left = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.left -= 1
        if self.left < 0:
            raise httpx2.ConnectError("cut off")
        return super().handle_request(request)


@pytest.mark.parametrize("requests", [7, 20])
def test_what_was_cut_off_is_taken_up(original: tuple[World, dict[str, str]], here: World, requests: int) -> None:
    line = CutOff(here.transport)
    line.left = requests
    client = Client(Connection("http://localhost", here.secrets[Role.AUTHOR], transport=line, attempts=1))
    with client, pytest.raises(Unreachable):
        MlflowImport(source_of(original[0]), client, Choice(deleted=True)).run()
    runs = here.application.platform.runs.list(limit=1000).items
    assert [run.name for run in runs if SEEN not in run.tags and run.state != "running"] == []
    imported(source_of(original[0]), here, deleted=True)
    assert told_by(source_of(here)) == told_by(source_of(original[0]))


def test_one_experiment_with_its_models(original: tuple[World, dict[str, str]], here: World) -> None:
    taken = imported(source_of(original[0]), here, experiments=["flights"])
    assert (taken.counts["runs"], taken.counts["model versions"]) == (2, 2)
    assert [each.name for each in here.application.platform.experiments.every()] == ["flights"]
    with pytest.raises(NotFound, match="no experiment 'fligths'"):
        imported(source_of(original[0]), here, experiments=["fligths"])


def test_a_dry_run_writes_nothing(original: tuple[World, dict[str, str]], here: World) -> None:
    before = here.application.platform.ledger.latest(limit=1)
    taken = imported(source_of(original[0]), here, dry_run=True)
    assert taken.counts["runs"] == 3
    assert here.application.platform.ledger.latest(limit=1) == before


def test_what_stands_in_the_way_is_left_and_told(original: tuple[World, dict[str, str]], here: World) -> None:
    with here.client(Role.AUTHOR) as http:
        call = Caller(http)
        call("registered-models/create", name="late")
        run = _run(call, "0", "own", AT)
        call("model-versions/create", name="late", source=f"runs:/{run}/a", run_id=run)
        gone = call("experiments/create", name="flights")["experiment_id"]
        call("experiments/delete", experiment_id=gone)
    left = dict(imported(source_of(original[0]), here).left)
    assert left["version 1 of 'late'"] == "another version has this number here"
    assert "restore it" in left["experiment 'flights'"]
    assert here.application.platform.registry.registered("late", 1).run == run


def test_a_reader_may_not(original: tuple[World, dict[str, str]], here: World) -> None:
    with client_of(here, Role.READER) as client, pytest.raises(Forbidden):
        MlflowImport(source_of(original[0]), client, Choice()).run()


@pytest.mark.parametrize("address", ["ftp://a", "http://", "http:///x"])
def test_no_address(address: str) -> None:
    with pytest.raises(Invalid, match="no address of an MLflow server"):
        Wire(address, {})


def test_secrets_are_in_no_record() -> None:
    assert Wire("http://ada:secret@localhost:5000/base/", {}).uri == "http://localhost:5000/base"


def test_what_is_said_of_datasets_may_be_large(tmp_path: Path, here: World) -> None:
    there = open_world(tmp_path / "there")
    with there.client(Role.AUTHOR) as http:
        call = Caller(http)
        for number in range(10):
            run = _run(call, "0", f"run {number}", AT + number)
            dataset = {"name": "train", "digest": "d1", "profile": "p" * 1_900_000}
            call("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset}])
    assert imported(source_of(there), here).counts["dataset inputs"] == 10
    assert told_by(source_of(here)) == told_by(source_of(there))
    there.close()
