"""Several workers behind one port: they answer as one server does, and outlive each other."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headway.kernel.records import digest
from headway.lifecycle.rollouts.limits import Limits
from headway.serving.capture.queue import remove_unfinished
from headway.serving.capture.segments import write
from headway.serving.supervisor import Slot
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import ControlPlane, Server, request


def pids(server: Server) -> list[int]:
    return sorted(worker["pid"] for worker in server.status()["workers"])


def whole(server: Server, count: int = 2) -> Server:
    server.wait(lambda: len(pids(server)) == count)
    return server


@pytest.fixture(scope="module")
def several(start_server: StartServer) -> Server:
    return whole(start_server(None, "--workers", "2"))


class Load:
    """Clients that ask for as long as they are let, each on a connection that it keeps while that holds."""

    def __init__(self, server: Server, clients: int = 3) -> None:
        self._server, self._stop = server, threading.Event()
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        connection, body = self._server.connect(), json.dumps(request()).encode()
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v2/models/flights/infer", body)
                answer = connection.getresponse()
                answer.read()
                with self._lock:
                    self.statuses[answer.status] += 1
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._lock:
                    self.broken += 1
        connection.close()

    @contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def ask_all(server: Server, path: str, times: int = 12) -> list[Any]:
    """The answers on connections of their own, so that the system deals them out."""
    return [server.call("GET", path)[1] for _ in range(times)]


def test_whoever_is_asked_speaks_for_all(several: Server) -> None:
    before, capture = several.status(), several.flush()
    for _ in range(40):
        assert several.infer(request())[0] == 200
    statuses = ask_all(several, "/v1/status")
    assert {status["pid"] for status in statuses} == set(pids(several))
    asked = before["releases"].get("rl_a", {"requests": 0})["requests"] + 40
    assert {status["releases"]["rl_a"]["requests"] for status in statuses} == {asked}
    assert several.flush()["captured"] == capture["captured"] + 40 == several.rows().height
    for text in ask_all(several, "/metrics"):
        assert f'headway_requests_total{{release="rl_a",status="200"}} {asked}' in text.decode()
        assert "headway_workers 2" in text.decode()
        assert f"headway_captured_rows_total {capture['captured'] + 40}" in text.decode()
    for path in ("/v2/models/stats", "/v2/models/flights/stats", "/v2/models/flights/versions/1/stats"):
        counted = [answer["model_stats"][0]["inference_count"] for answer in ask_all(several, path)]
        assert set(counted) == {asked}
    assert several.call("GET", "/v2/models/nix/stats")[0] == 404
    assert several.call("POST", "/v1/status")[0] == several.call("PUT", "/metrics")[0] == 405


def test_a_table_is_seen_by_all(several: Server, table: MakeTable) -> None:
    several.reroute(table(50))
    generations = {worker["generation"] for worker in several.status()["workers"]}
    assert len(generations) == 1
    shares = Counter(several.infer(request(id=f"{n}"))[1]["parameters"]["release"] for n in range(60))
    assert set(shares) == {"rl_a", "rl_b"}
    same = {several.infer(request(parameters={"key": "k"}))[1]["parameters"]["release"] for _ in range(12)}
    assert len(same) == 1
    several.route(b"no table")
    several.wait(lambda: all(worker["error"] for worker in several.status()["workers"]))
    assert "refused" in several.status()["error"]
    several.reroute(table())
    assert several.status()["error"] == ""


def test_a_rate_is_one_for_all_workers(start_server: StartServer, table: MakeTable) -> None:
    """On new connections, which fall on this worker or that: the burst is let in once, not once for each."""
    limits = Limits(caller_requests_per_s=0.001, caller_burst=7)
    server = start_server(table(limits=limits), "--workers", "3")
    server.wait(lambda: len(server.status()["workers"]) == 3)
    statuses = [server.infer(request(), headway_caller="acme")[0] for _ in range(40)]
    assert statuses == [200] * 7 + [429] * 33
    assert server.infer(request(), headway_caller="another")[0] == 200


def test_a_killed_worker_is_replaced_and_its_sums_stay(start_server: StartServer) -> None:
    server = whole(start_server(None, "--workers", "2"))
    with Load(server).running() as load:
        server.wait(lambda: server.status()["capture"]["segments"] >= 4)
        counted = server.status()["releases"]["rl_a"]["requests"]
        victim = pids(server)[0]
        os.kill(victim, signal.SIGKILL)
        answered = load.statuses[200]
        server.wait(lambda: load.statuses[200] > answered + 200)
        server.wait(lambda: victim not in (now := pids(server)) and len(now) == 2)
        assert server.status()["releases"]["rl_a"]["requests"] > counted / 2
    assert set(load.statuses) == {200}
    assert load.broken < 20
    rows = server.rows()
    for path in server.spool.glob("*.parquet"):
        assert path.stem == digest(path.read_bytes()).removeprefix("b3:")
    assert rows["_prediction"].n_unique() == rows.height
    status = server.status()
    # A segment may have been named in the instant before it was counted.
    assert status["capture"]["captured"] <= rows.height <= load.statuses[200] + load.broken
    assert status["capture"]["captured"] == rows.height or status["capture"]["segments"] < _segments(server)
    assert list(server.spool.glob("*.tmp")) == []
    assert server.stop() == 0


def _segments(server: Server) -> int:
    return len(list(server.spool.glob("*.parquet")))


def test_workers_end_with_their_parent(start_server: StartServer) -> None:
    server = whole(start_server(None, "--workers", "2"))
    workers = pids(server)
    for _ in range(10):
        server.infer(request())
    server.kill()
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert sum(pl.read_parquet(path).height for path in server.spool.glob("*.parquet")) == 10


def test_sigterm_drains_all_and_hands_everything_in(start_server: StartServer, control: ControlPlane) -> None:
    server = whole(start_server(None, "--workers", "2", "--control", control.url))
    slow = [server.connect() for _ in range(6)]
    body = json.dumps(request()).encode()
    for connection in slow:
        connection.putrequest("POST", "/v2/models/flights/infer")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:10])
    time.sleep(0.1)  # until they are all accepted
    server.process.terminate()
    time.sleep(0.2)
    for connection in slow:
        connection.send(body[10:])
    assert [connection.getresponse().status for connection in slow] == [200] * 6
    for connection in slow:
        connection.close()
    assert server.process.wait(20) == 0
    assert list(server.spool.glob("*")) == []
    assert sum(pl.read_parquet(io.BytesIO(segment)).height for segment in control.segments.values()) == 6


def test_one_ships_and_flush_waits_for_all(start_server: StartServer, control: ControlPlane) -> None:
    server = whole(start_server(None, "--workers", "2", "--control", control.url))
    control.status = 503
    for _ in range(20):
        server.infer(request())
    capture = server.flush()
    assert (capture["captured"], capture["unsent"]) == (20, _segments(server))
    assert "503" in capture["error"]
    control.status = 201
    capture = server.flush()
    assert (capture["unsent"], capture["error"], _segments(server)) == (0, "", 0)
    server.wait(lambda: all(answer["capture"]["error"] == "" for answer in ask_all(server, "/v1/status", 6)))


def test_a_port_that_is_taken_is_not_shared(several: Server, start_server: StartServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headway.serving.main", "--routing", str(tmp_path / "routing.json")]
    command += ["--blobs", str(tmp_path), "--spool", str(tmp_path), "--port", str(several.port), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert "in use" in done.stderr
    assert len(pids(several)) == 2


def test_settings_that_no_worker_can_start_with_end_it(tmp_path: Path) -> None:
    spool = tmp_path / "file"
    spool.write_text("no folder")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "headway.serving.main", "--routing", str(tmp_path / "routing.json")]
    command += ["--blobs", str(tmp_path), "--spool", str(spool), "--port", str(port), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert str(spool) in done.stderr


def test_pauses_grow_with_failures_and_end_with_success() -> None:
    slot, pauses, now_s = Slot(0), [], 0.0
    for lived_s in (1.0, 1.0, 1.0, 20.0, 1.0):
        slot.start([sys.executable, "-c", "raise SystemExit(3)"], now_s)
        assert slot.process
        slot.process.wait(20)
        now_s += lived_s
        assert slot.bury(now_s) == 3
        pauses.append(slot.due_at_s - now_s)
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 0.0, 0.2])
    assert slot.bury(now_s) is None


def test_only_what_a_dead_writer_left_is_removed(tmp_path: Path) -> None:
    left, held = tmp_path / "left.tmp", tmp_path / "held.tmp"
    left.write_bytes(b"half")
    code = "import fcntl, sys; f = open(sys.argv[1], 'wb'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code, str(held)], stdin=-1, stdout=-1) as writer:
        assert writer.stdout
        writer.stdout.readline()
        remove_unfinished(tmp_path)
        assert (left.exists(), held.exists()) == (False, True)
        writer.kill()
    remove_unfinished(tmp_path)
    assert not held.exists()
    assert write(b"whole", tmp_path).read_bytes() == b"whole"


def test_both_answer_grpc(start_server: StartServer) -> None:
    grpc = pytest.importorskip("grpc")
    from headway.serving.grpc.messages import MESSAGES  # noqa: PLC0415

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = whole(start_server(None, "--workers", "2", "--grpc-port", str(port)))
    for _ in range(12):
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
            assert MESSAGES["ServerReadyResponse"].FromString(call(b"", timeout=10)).ready
    os.kill(pids(server)[0], signal.SIGKILL)
    whole(server)
    with suppress(ProcessLookupError):
        assert server.stop() == 0


@pytest.mark.slow
def test_a_thousand_swaps_under_load_lose_nothing(start_server: StartServer, table: MakeTable) -> None:
    server = whole(start_server(None, "--workers", "2"))
    with Load(server).running() as load:
        for generation in range(2, 1002):
            server.route(table((100, 50, 10)[generation % 3], generation=generation))
            time.sleep(0.02)
        server.wait(lambda: server.status()["generation"] == 1001)
    assert (set(load.statuses), load.broken) == ({200}, 0)
    assert server.log.read_text().count('"table active"') > 200
    assert server.flush()["captured"] == load.statuses[200] == server.rows().height
