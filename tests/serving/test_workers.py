"""Models in workers, behind a real model server: what they do wrong costs their own requests, and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier

from headway.lifecycle.models.records import Datatype, Form, PythonRuntime, Signature, TensorSpec
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import Blobs, Server, request
from tests.serving.workers import MODEL, kept, route, rows, stand_in

INFER = "/v2/models/flights/versions/{}/infer"
PATIENCE_S = 20.0


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stand_in(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture(scope="session")
def mixed(table: MakeTable, blobs: Blobs, python: str) -> RoutingTable:
    """An ONNX model as version 1, and one in a worker as version 2."""
    return table(50).but(routes=(table(50).routes[0], route(kept(blobs), python, percent=50)))


@pytest.fixture(scope="module")
def both(start_server: StartServer, mixed: RoutingTable) -> Iterator[Server]:
    server = start_server(mixed)
    yield server
    server.stop()


def worker_of(server: Server) -> psutil.Process:
    found = [child for child in psutil.Process(server.process.pid).children() if "isolated.py" in " ".join(_of(child))]
    assert len(found) == 1, found
    return found[0]


def _of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def ask(server: Server, *pairs: tuple[float, float]) -> tuple[int, Any]:
    return server.call("POST", INFER.format(2), rows(*pairs))


def recovered(server: Server) -> None:
    until = time.monotonic() + PATIENCE_S
    while ask(server, (1, 2))[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_both_kinds_answer(both: Server) -> None:
    status, answer = ask(both, (1, 2), (3, 4.5))
    assert (status, answer["outputs"][0]["data"]) == (200, [4, 10.5])
    assert answer["parameters"] == {"release": "rl_w"}
    assert both.call("POST", INFER.format(1), request())[0] == 200
    body = {"features": {"temp": 1.5, "wind": 1}}
    answers = [both.call("POST", "/v1/predict/flights", {**body, "key": str(key)}) for key in range(20)]
    assert {answer["score"] for status, answer in answers if status == 200} == {4.0}


def test_large_tensors_go_through_shared_memory(both: Server) -> None:
    pairs = [(float(place), 1.0) for place in range(20_000)]
    status, answer = ask(both, *pairs)
    assert status == 200
    assert answer["outputs"][0]["data"] == [2 * first + second for first, second in pairs]


@pytest.mark.parametrize(("first", "said"), [(7002, "exit code 3"), (7003, "SIGSEGV"), (7001, "more than 1 s")])
def test_a_crash_and_a_hang_cost_their_own_request(both: Server, first: float, said: str) -> None:
    """Meanwhile the other model answers, while one hangs too; and the worker comes back by itself."""
    before = worker_of(both).pid
    with ThreadPoolExecutor(1) as pool:
        bad = pool.submit(raw, both, rows((first, 0)))
        asked = meanwhile = 0
        while not bad.done() or asked < 20:
            assert both.call("POST", INFER.format(1), request())[0] == 200
            asked, meanwhile = asked + 1, meanwhile + (not bad.done())
        status, headers, text = bad.result()
    assert (status, said in text) == (503, True), text
    assert int(headers["retry-after"]) >= 1
    assert meanwhile > 1 or first != 7001, "it waited for the one that hangs"
    recovered(both)
    assert worker_of(both).pid != before


def raw(server: Server, body: Any) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", INFER.format(2), json.dumps(body))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def test_a_worker_that_is_killed_under_load_is_replaced(both: Server) -> None:
    recovered(both)
    statuses: list[int] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            statuses.append(ask(both, (1, 2))[0])

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    os.kill(worker_of(both).pid, signal.SIGKILL)
    time.sleep(0.1)
    recovered(both)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 503}
    assert statuses[0] == statuses[-1] == 200


@pytest.mark.parametrize(
    ("first", "named"), [(7004, "MemoryError"), (7005, "not these rows"), (7006, "is declared"), (7009, "gave None")]
)
def test_an_error_of_the_model_is_not_the_end_of_it(both: Server, first: float, named: str) -> None:
    recovered(both)
    before = worker_of(both).pid
    status, answer = ask(both, (first, 0))
    assert (status, named in answer["error"]) == (500, True), answer
    logged = [json.loads(line) for line in both.log.read_text().splitlines() if '"model raised"' in line]
    assert named in logged[-1]["error"]
    assert "Traceback" not in answer["error"]
    assert ("Traceback" in logged[-1]["error"]) == (first != 7006)  # of which the model knows nothing
    assert ask(both, (7007, 1))[0] == 200  # what it prints is no answer, and fills nothing up
    assert worker_of(both).pid == before


def test_it_has_nothing_of_the_servers_environment(both: Server) -> None:
    recovered(both)
    environment = worker_of(both).environ()
    assert environment.keys() <= {
        "PATH", "LANG", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
        "MLFLOW_DISABLE_TELEMETRY",
    }  # fmt: skip
    assert worker_of(both).net_connections("inet") == []


def test_what_it_answers_is_captured_and_mirrored(start_server: StartServer, mixed: RoutingTable) -> None:
    onnx, worker = mixed.routes
    server = start_server(mixed.but(routes=(worker.but(percent=100), onnx.but(percent=0)), mirror=True))
    try:
        assert ask(server, (1, 2), (2, 3))[0] == 200
        frame = server.rows()
        assert frame["_score"].to_list() == [4.0, 7.0]
        assert frame["temp"].to_list() == [1.0, 2.0]
    finally:
        server.stop()


def test_no_worker_outlives_its_server(start_server: StartServer, mixed: RoutingTable) -> None:
    for end in ("kill", "stop"):
        server = start_server(mixed)
        worker = worker_of(server)
        if end == "kill":
            threading.Thread(target=_ask_what_hangs, args=(server,), daemon=True).start()
            time.sleep(0.2)
        getattr(server, end)()
        psutil.wait_procs([worker], timeout=5)
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def _ask_what_hangs(server: Server) -> None:
    with suppress(OSError, http.client.HTTPException):
        ask(server, (7001, 0))


def test_a_route_that_goes_takes_its_worker_with_it(
    start_server: StartServer, mixed: RoutingTable, table: MakeTable
) -> None:
    server = start_server(mixed)
    try:
        worker = worker_of(server)
        server.reroute(table())
        psutil.wait_procs([worker], timeout=10)
        assert not worker.is_running()
        server.wait(lambda: not list((server.spool / "workers").glob("*/*")))
    finally:
        server.stop()


def test_what_nobody_trusts_is_not_loaded(
    start_server: StartServer, table: MakeTable, blobs: Blobs, python: str, tmp_path: Path
) -> None:
    evil = f"open({str(tmp_path / 'evil')!r}, 'w')\n" + MODEL
    server = start_server()
    bad = table().but(routes=(route(kept(blobs, evil), python, trust=""),))
    server.route(bad)
    server.wait(lambda: "no operator has let it run" in server.status()["error"])
    assert not (tmp_path / "evil").exists()
    server.stop()


def test_a_model_that_does_not_load_is_refused(
    start_server: StartServer, table: MakeTable, blobs: Blobs, python: str
) -> None:
    server = start_server()
    for bad, named in (
        (route(kept(blobs, "raise KeyError('nix')"), python), "nix"),
        (route(kept(blobs, "import nixmod"), python), f"No module named 'nixmod'; install it for {python}"),
        (route(kept(blobs), "/nowhere/python"), "cannot be started"),
    ):
        server.route(table().but(routes=(bad,)))
        server.wait(lambda named=named: named in server.status()["error"])
        assert server.infer(request())[0] == 200
    server.stop()


@pytest.mark.slow
def test_skops_answers_as_scikit_learn_does(start_server: StartServer, table: MakeTable, blobs: Blobs) -> None:
    random = np.random.default_rng(3)
    taken = random.normal(size=(200, 3))
    forest = RandomForestClassifier(8, random_state=0).fit(taken, taken[:, 0] > taken[:, 1])
    signature = Signature(
        inputs=(TensorSpec(name="input", datatype=Datatype.FP64, shape=(-1, 3)),),
        outputs=(
            TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
            TensorSpec(name="probabilities", datatype=Datatype.FP64, shape=(-1, 2)),
        ),
        score="probabilities",
    )
    skops_route = Route(
        release="rl_s", model="late", version=1, blob=blobs.put(skops.io.dumps(forest)), signature=signature,
        percent=100, form=Form.SKOPS, python=PythonRuntime(),
    )  # fmt: skip
    server = start_server(table().but(routes=(skops_route,)))
    try:
        body = {"inputs": [{"name": "input", "shape": [200, 3], "datatype": "FP64", "data": taken.tolist()}]}
        status, answer = server.infer(body)
        assert status == 200
        probabilities = np.array(answer["outputs"][1]["data"]).reshape(200, 2)
        assert (probabilities == forest.predict_proba(taken)).all()
        assert answer["outputs"][0]["data"] == forest.predict(taken).astype(int).tolist()
    finally:
        server.stop()
