"""A run's line to the platform, over requests and in the same process: both leave and find the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from headway.client.client import Client
from headway.client.http import Connection
from headway.client.session import ClientSession
from headway.errors import Forbidden, NotFound, NotSignedIn
from headway.kernel.access import Role
from headway.kernel.blobs import blob_place
from headway.kernel.clock import SystemClock
from headway.kernel.reachability import blob_places
from headway.lifecycle.runs.records import (
    Code,
    Given,
    KeyParts,
    Output,
    PipelineNode,
    RunState,
    StartRun,
    StepResult,
    StepRun,
    StepState,
)
from headway.lifecycle.runs.session import Session
from tests.client.conftest import client_of
from tests.server.world import Unclosed, World, open_world

Open = Callable[[str, Role], Session]


def flow_of(request: pytest.FixtureRequest) -> str:
    """A pipeline of the test's own."""
    return re.sub(r"\W+", "-", request.node.name).strip("-")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = open_world(tmp_path_factory.mktemp("sessions") / ".headway")
    yield world
    world.close()


@pytest.fixture(params=["requests", "in process"])
def session_of(request: pytest.FixtureRequest, world: World) -> Open:
    def over_requests(run: str, role: Role) -> Session:
        return ClientSession(client_of(world, role), run, flow_of(request), Code())

    def in_process(run: str, role: Role) -> Session:
        return world.transport.session(world.secrets[role], run, flow_of(request), Code())

    return over_requests if request.param == "requests" else in_process


def started(world: World, request: pytest.FixtureRequest, number: int = 0) -> str:
    name = flow_of(request)
    return client_of(world, Role.AUTHOR).runs.start(StartRun(experiment=name, pipeline=name)).id


def result(run: str, key: str, blob: str, parts: str = "") -> StepResult:
    made_of = KeyParts(code="b3:code", parts=parts, given=(Given(name="n", digest="b3:1", shown="3"),), python="3.11")
    outputs = (Output(blob=blob, format="bytes"),)
    return StepResult(
        id="", created_at=SystemClock().now(), key=key, step="load", run=run, outputs=outputs, made_of=made_of
    )  # fmt: skip


def test_what_is_kept_is_found(world: World, session_of: Open, request: pytest.FixtureRequest) -> None:
    run = started(world, request)
    session = session_of(run, Role.AUTHOR)
    assert session.run == run
    assert session.cached(request.node.name) is None
    blob, code = session.put_blob(b"value"), session.put_blob(b"code")
    kept = session.keep(result(run, request.node.name, blob, code))
    assert session.cached(request.node.name) == kept
    assert session.get_blob(blob) == b"value"
    assert session.blob_file(blob) is None  # so small a one is read
    session.progress([StepRun(step="load", state=StepState.DONE, key=request.node.name)], [PipelineNode(step="load")])
    client = client_of(world, Role.AUTHOR)
    assert [step.state for step in client.runs.steps(run)] == [StepState.DONE]
    assert [each.name for each in client.pipelines.list(limit=1).items] == [flow_of(request)]
    later = session_of(started(world, request), Role.AUTHOR)
    assert [(last.step, last.result) for last in later.last_results()] == [("load", kept)]
    assert later.cached(request.node.name) == kept
    with pytest.raises(NotFound, match="send it again"):
        session.keep(result(run, "other", blob, "b3:" + "0" * 64))


def test_the_last_results_go_back_to_the_last_run_that_finished(
    world: World, session_of: Open, request: pytest.FixtureRequest
) -> None:
    client, found = client_of(world, Role.AUTHOR), {}
    for number, state in enumerate((RunState.FINISHED, RunState.FINISHED, RunState.FAILED)):
        run = started(world, request, number)
        session = session_of(run, Role.AUTHOR)
        names = ["old", "both"] if number == 0 else ["both", "middle"] if number == 1 else ["middle"]
        for name in names:
            key = f"{flow_of(request)}-{number}-{name}"
            found[number, name] = session.keep(result(run, key, session.put_blob(key.encode())))
            session.progress([StepRun(step=name, state=StepState.DONE, key=key)], ())
        session.progress([StepRun(step="broken", state=StepState.FAILED, key="none")], ())
        client.runs.move(run, state)
    last = {each.step: each.result for each in session_of("", Role.AUTHOR).last_results()}
    assert last == {"both": found[1, "both"], "middle": found[2, "middle"]}


def test_a_large_blob_is_had_as_a_file(world: World, session_of: Open, request: pytest.FixtureRequest) -> None:
    session = session_of(started(world, request), Role.AUTHOR)
    data = np.arange(2**18).tobytes()
    blob = session.put_blob(data)
    path = session.blob_file(blob)
    if path is None:  # a client that knows of no home on this machine
        assert isinstance(session, ClientSession)
        return
    assert path == Path(world.application.settings.home) / "blobs" / blob_place(blob)
    assert path.read_bytes() == data


class Counting(Unclosed):
    """Notes what is asked."""

    def __init__(self, world: World) -> None:
        super().__init__(world.transport)
        self.asked: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.path)
        return super().handle_request(request)


def test_the_lookups_of_a_run_like_the_last_are_one_question(world: World, request: pytest.FixtureRequest) -> None:
    run = started(world, request)
    session = ClientSession(client_of(world, Role.AUTHOR), run, flow_of(request), Code())
    blob, keys = session.put_blob(b"value"), [f"{flow_of(request)}-{number}" for number in range(20)]
    for key in keys:
        session.keep(result(run, key, blob))
    session.progress([StepRun(step=key, state=StepState.CACHED, key=key) for key in keys], ())
    counting = Counting(world)
    client = Client(Connection("http://localhost", world.secrets[Role.AUTHOR], transport=counting))
    later = ClientSession(client, started(world, request), flow_of(request), Code())
    assert [later.cached(key) is not None for key in keys] == [True] * 20
    assert later.cached("another") is None
    assert counting.asked == [f"/v1/pipelines/{flow_of(request)}/results", "/v1/pipelines/results/another"]


def test_who_may_not_write_is_refused(world: World, session_of: Open, request: pytest.FixtureRequest) -> None:
    session = session_of(started(world, request), Role.READER)
    with pytest.raises(Forbidden):
        session.put_blob(b"mine")
    blob = session_of("", Role.AUTHOR).put_blob(b"theirs")
    with pytest.raises(Forbidden):
        session.keep(result("", "key", blob))
    with pytest.raises(Forbidden):
        session.progress([StepRun(step="a")], ())


def test_an_unknown_token_opens_nothing(world: World) -> None:
    with pytest.raises(NotSignedIn):
        world.transport.session("hw_none", "", "flow", Code())


def test_the_list_of_what_a_key_was_made_of_is_held() -> None:
    assert {"outputs.blob", "made_of.parts"} <= blob_places()["sr"]
