"""What answers when a model does not: another release, then a constant, and all are told so."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper

from headway.engines.tables.frames import PolarsSegmentReader
from headway.errors import Conflict, Invalid
from headway.kernel.access import SYSTEM
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.lifecycle.predictions.records import SegmentContent
from headway.lifecycle.rollouts.fallbacks import Fallback, must_be_answer, must_stand_in
from headway.lifecycle.rollouts.records import Share
from headway.lifecycle.rollouts.routing import FallbackRoute, Route, RoutingTable
from tests.engines.world import DEPLOYMENT, World
from tests.serving.conftest import StartServer
from tests.serving.processes import Blobs, Server
from tests.serving.workers import MODEL, SIGNATURE, kept, route, rows, stand_in

INFER = "/v2/models/flights/infer"
CONSTANT = {"prediction": 0.25}
HANGS, ENDS, RAISES, SLEEPS_AT = 7001.0, 7002.0, 7005.0, 7009.0
SLEEPS = """
import time

class Model:
    def predict(self, rows):
        if rows[0, 0] == 7009:
            time.sleep(50)
        return rows[:, 0]
"""


def simple() -> bytes:
    """The first column, as `prediction`."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["input", "at"], ["prediction"], axis=1)],
        "simple",
        [helper.make_tensor_value_info("input", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None])],
        [helper.make_tensor("at", TensorProto.INT64, [], [0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stand_in(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture(scope="module")
def worker(blobs: Blobs, python: str) -> Route:
    return route(kept(blobs, MODEL), python)


@pytest.fixture(scope="module")
def spare(blobs: Blobs) -> Route:
    return Route(release="rl_s", model="simple", version=7, blob=blobs.put(simple()), signature=SIGNATURE, percent=0)


def table(worker: Route, fallback: FallbackRoute | None) -> RoutingTable:
    return RoutingTable(deployment="flights", generation=1, routes=(worker,), fallback=fallback)


@pytest.fixture(scope="module")
def server(start_server: StartServer, worker: Route, spare: Route) -> Server:
    return start_server(table(worker, FallbackRoute(route=spare, constant=CONSTANT)))


def asked(server: Server, first: float, path: str = INFER, body: Any = None) -> tuple[int, Any, str | None]:
    """Status, body and what answered by the header."""
    connection = server.connect()
    try:
        sent = json.dumps(rows((first, 2)) if body is None else body)
        connection.request("POST", path, sent, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.getheader("headway-fallback")
    finally:
        connection.close()


@pytest.fixture
def recovered(server: Server, worker: Route, spare: Route) -> Server:
    """The whole chain, and its model up."""
    server.reroute(table(worker, FallbackRoute(route=spare, constant=CONSTANT)))
    server.wait(lambda: asked(server, 1)[2] is None)
    return server


def captured(server: Server, release: str) -> tuple[pl.DataFrame, SegmentContent]:
    """The rows of a release, and what the control plane sees in them."""
    rows = server.rows().filter(pl.col("_release") == release).sort("temp")
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return rows, PolarsSegmentReader().read("flights", "sg", buffer.getvalue())


def test_the_model_answers_while_it_can(recovered: Server) -> None:
    status, answer, by = asked(recovered, 1)
    assert (status, by, answer["parameters"]) == (200, None, {"release": "rl_w"})
    assert answer["outputs"][0]["data"] == [4]


@pytest.mark.parametrize("first", [RAISES, ENDS])
def test_another_release_answers_for_one_that_fails(recovered: Server, first: float) -> None:
    status, answer, by = asked(recovered, first)
    assert (status, by, answer["model_version"]) == (200, "rl_s", "7")
    assert answer["parameters"] == {"release": "rl_s", "fallback": "rl_s"}
    assert answer["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [1], "data": [first]}]


def test_every_language_says_what_answered(recovered: Server) -> None:
    features = {"temp": RAISES, "wind": 1}
    status, answer, by = asked(recovered, 0, "/v1/predict/flights", {"features": features})
    assert (status, by, answer["fallback"], answer["release"]) == (200, "rl_s", "rl_s", "rl_s")
    assert (answer["model"], answer["version"], answer["score"]) == ("simple", 7, RAISES)
    status, answer, by = asked(recovered, 0, "/invocations", {"dataframe_records": [features]})
    assert (status, by, answer) == (200, "rl_s", {"predictions": [RAISES]})


@pytest.mark.parametrize("body", [{"inputs": []}, rows(), {"features": {"temp": 1}}])
def test_the_callers_own_mistakes_are_told(server: Server, body: Any) -> None:
    status, answer, by = asked(server, 0, body=body)
    assert (status, by) == (400, None)
    assert answer["error"]


def test_it_is_counted_and_captured(server: Server, worker: Route, spare: Route) -> None:
    server.reroute(table(worker.but(release="rl_c"), FallbackRoute(route=spare, constant=CONSTANT)))
    asked(server, 1)
    asked(server, RAISES)
    counted = server.status()["releases"]["rl_c"]
    assert (counted["statuses"], counted["fallbacks"]) == ({"200": 2}, {"rl_s": 1})
    metrics = server.call("GET", "/metrics")[1].decode()
    assert 'headway_fallback_answers_total{release="rl_c",by="rl_s"} 1' in metrics
    rows, found = captured(server, "rl_c")
    assert rows["_fallback"].to_list() == [None, "rl_s"]
    assert rows["_status"].to_list() == [200, 200]
    assert "not these rows" in rows["_error"][1]
    assert [(each.release, each.score) for each in found.captured] == [("rl_c", 4), ("rl_s", RAISES)]
    assert [(each.release, each.requests, each.errors) for each in found.counts] == [("rl_c", 2, 1)]


def test_the_constant_is_nobodys_prediction(server: Server, worker: Route) -> None:
    server.reroute(table(worker.but(release="rl_k"), FallbackRoute(constant=CONSTANT)))
    status, answer, by = asked(server, 0, body=rows((RAISES, 2), (1, 2)))
    assert (status, by, answer["outputs"][0]["data"]) == (200, "constant", [0.25, 0.25])
    assert answer["parameters"] == {"release": "rl_k", "fallback": "constant"}
    kept_rows, found = captured(server, "rl_k")
    assert kept_rows["_score"].to_list() == [0.25, 0.25]
    assert [(each.release, each.score) for each in found.captured] == [("rl_k", None)] * 2
    assert [(each.requests, each.errors) for each in found.counts] == [(2, 2)]


def test_a_chain_that_fails_too_tells_the_first_error(server: Server, worker: Route) -> None:
    server.reroute(table(worker.but(release="rl_f"), FallbackRoute(route=worker.but(release="rl_x"))))
    assert asked(server, RAISES)[0] == 500
    assert asked(server, 1)[0] == 200


def test_one_that_does_not_fit_does_not_answer(server: Server, worker: Route, spare: Route) -> None:
    """The chain was declared for another signature: the constant behind it does."""
    text = SIGNATURE.but(inputs=(SIGNATURE.inputs[0].but(features=("temp", "rain")),))
    server.reroute(table(worker, FallbackRoute(route=spare.but(signature=text), constant=CONSTANT)))
    assert asked(server, RAISES)[::2] == (200, "constant")


def test_after_a_while_it_is_not_waited_for(server: Server, blobs: Blobs, worker: Route) -> None:
    slow = worker.but(blob=kept(blobs, SLEEPS), release="rl_z")
    slow = slow.but(python=worker.python.but(time_limit_s=60.0) if worker.python else None)
    server.reroute(table(slow, FallbackRoute(constant=CONSTANT, after_ms=50)))
    assert asked(server, SLEEPS_AT)[::2] == (200, "constant")


def bounded() -> bytes:
    """Looks its answers up by the first column, and fails where that is not from 0 to 7."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["input", "first"], ["column"], axis=1),
            helper.make_node("Cast", ["column"], ["at"], to=TensorProto.INT64),
            helper.make_node("Gather", ["answers", "at"], ["prediction"], axis=0),
        ],
        "bounded",
        [helper.make_tensor_value_info("input", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None])],
        [
            helper.make_tensor("first", TensorProto.INT64, [], [0]),
            helper.make_tensor("answers", TensorProto.DOUBLE, [8], [at / 8 for at in range(8)]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def backed(start_server: StartServer, blobs: Blobs, worker: Route) -> Iterator[Server]:
    """An ONNX model that a worker stands in for."""
    first = Route(
        release="rl_b", model="bounded", version=1, blob=blobs.put(bounded()), signature=SIGNATURE, percent=100
    )  # fmt: skip
    started = start_server(table(first, FallbackRoute(route=worker.but(percent=0), constant=CONSTANT)))
    yield started
    started.stop()


def test_a_worker_answers_for_a_model_in_the_server(backed: Server) -> None:
    told = [asked(backed, first) for first in (2, 100, RAISES)]
    assert [(status, by) for status, _, by in told] == [(200, None), (200, "rl_w"), (200, "constant")]
    assert [answer["outputs"][0]["data"] for _, answer, _ in told] == [[0.25], [202], [0.25]]


def test_others_are_answered_while_a_worker_that_stands_in_hangs(backed: Server) -> None:
    before = backed.status()["releases"]["rl_b"]["statuses"]["200"]
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(asked, backed, HANGS)
        while not hangs.done():
            assert asked(backed, 3)[::2] == (200, None)
        assert hangs.result()[::2] == (200, "constant")
    assert backed.status()["releases"]["rl_b"]["statuses"]["200"] > before + 1, "it answered meanwhile"


def test_answers_keep_the_order_of_what_was_asked(backed: Server) -> None:
    backed.wait(lambda: asked(backed, 100)[2] == "rl_w")
    sent = b""
    for at, first in enumerate((1, 100, 2, 200, 3, 4)):
        body = json.dumps({**rows((first, 2)), "id": f"o-{at}"}).encode()
        sent += b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (INFER.encode(), len(body), body)
    with socket.create_connection(("127.0.0.1", backed.port), timeout=20) as line:
        line.sendall(sent)
        answers = b""
        while answers.count(b'"id":') < 6:
            chunk = line.recv(65536)
            assert chunk
            answers += chunk
    assert re.findall(rb'"id":"([^"]*)"', answers) == [b"o-%d" % at for at in range(6)]
    assert answers.count(b"headway-fallback: rl_w") == 2


NUMBER = TensorSpec(name="n", datatype=Datatype.FP32, shape=(-1, 1))
TWO = Signature(
    inputs=(NUMBER,),
    outputs=(TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
             TensorSpec(name="chances", datatype=Datatype.FP32, shape=(-1, 2))),
    score="chances",
)  # fmt: skip


@pytest.mark.parametrize(
    ("constant", "what"),
    [
        ({"label": 1}, "label, chances"), ({"label": 1, "chances": [0, 1], "more": 1}, "no other"),
        ({"label": 1.5, "chances": [0, 1]}, "'label' must be 1 of INT64"),
        ({"label": True, "chances": [0, 1]}, "'label'"),
        ({"label": 1, "chances": 0.5}, "'chances' must be 2 of FP32"), ({"label": 1, "chances": ["a", 1]}, "'chances'"),
    ],
)  # fmt: skip
def test_what_is_no_answer(constant: dict[str, Any], what: str) -> None:
    must_be_answer({"label": 1, "chances": [0.25, 0.75]}, TWO)
    with pytest.raises(Invalid, match=what):
        must_be_answer(constant, TWO)


def test_what_cannot_stand_in() -> None:
    must_stand_in(TWO, TWO.but(inputs=()))
    with pytest.raises(Invalid, match="it takes m, which requests do not bring"):
        must_stand_in(TWO, TWO.but(inputs=(NUMBER.but(name="m"),)))
    with pytest.raises(Invalid, match="classes"):
        must_stand_in(TWO.but(classes=("a", "b", "c")), TWO)


class TestDeclared:
    """The service, in memory."""

    def test_it_is_in_the_routing_table_and_the_history(self) -> None:
        world = World()
        deployments, constant = world.platform.deployments, {"score": 0.5}
        with pytest.raises(Conflict, match="serves nothing yet"):
            deployments.fallback(DEPLOYMENT, Fallback(constant=constant), "", by=SYSTEM)
        world.settle(world.open())
        release = deployments.get(DEPLOYMENT).serving or ""
        with pytest.raises(Invalid, match="a release, a constant or both"):
            deployments.fallback(DEPLOYMENT, Fallback(), "", by=SYSTEM)
        signature = deployments.routing(DEPLOYMENT).routes[0].signature
        told = {spec.name: 0.5 if "FP" in spec.datatype else 0 for spec in signature.outputs}
        before = deployments.get(DEPLOYMENT).generation
        deployments.fallback(DEPLOYMENT, Fallback(release=release, constant=told, after_ms=9), "why not", by=SYSTEM)
        routing = deployments.routing(DEPLOYMENT)
        assert routing.fallback
        assert (routing.generation, routing.fallback.named, routing.fallback.constant) == (before + 1, release, told)
        [newest, *_] = deployments.traffic(DEPLOYMENT).items
        assert (newest.why, newest.traffic) == ("why not", (Share(release=release, percent=100),))
        assert newest.fallback == Fallback(release=release, constant=told, after_ms=9)
        deployments.unfallback(DEPLOYMENT, "enough", by=SYSTEM)
        assert deployments.routing(DEPLOYMENT).fallback is None
