"""Logging that survives: a dead server, a killed client, a cut file; nothing lost, nothing twice."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.client.client import Client
from headway.client.http import Connection
from headway.client.shipping import Shipper, ship
from headway.client.spool import Ended, Opening, Points, Spool, Texts, left_behind
from headway.errors import Conflict, HeadwayError, Invalid, Unavailable, Unreachable
from headway.kernel.access import Role
from headway.lifecycle.runs.records import RunState
from tests.client.test_run import PlainExporter
from tests.server.world import Unclosed, World

URL = "http://localhost"
OPENING = Opening(run="rn_1", url=URL)


class Received:
    """A server that keeps what it is sent, and raises the errors it is given first."""

    def __init__(self, *errors: HeadwayError) -> None:
        self.errors, self.curves = list(errors), list[Mapping[str, Any]]()
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.ended = ""
        self.attached: dict[str, bytes] = {}

    def points(self, run: str, curves: Mapping[str, Mapping[str, Any]], *, late: bool = False) -> None:
        self._fail()
        if any("bad" in key for key in curves):
            raise Invalid("a bad key")
        self.curves.append(curves)

    def texts(self, run: str, params: dict[str, str], tags: dict[str, str]) -> None:
        self._fail()
        self.params |= params
        self.tags |= tags

    def add_artifact(self, run: str, name: str, data: bytes, *, media_type: str = "") -> None:
        self._fail()
        if "bad" in name:
            raise Invalid("a bad name")
        self.attached[name] = data

    def end(self, run: str, state: str, error: str) -> None:
        self.ended = state

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    @property
    def steps(self) -> list[int]:
        return [step for curves in self.curves for columns in curves.values() for step in columns["steps"]]


def _point(step: int, key: str = "loss", value: float = 0.5) -> Points:
    return Points(step, 1000 * step, {key: value})


def test_many_calls_are_one_request(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received()
    for step in range(100):
        spool.append(_point(step))
    spool.append(Texts({"rate": "0.1"}, {"who": "me"}))
    Shipper(spool, received).flush()
    assert (len(received.curves), received.steps) == (1, list(range(100)))
    assert (received.params, received.tags) == ({"rate": "0.1"}, {"who": "me"})
    Shipper(spool, received).flush()
    assert len(received.curves) == 1
    spool.remove()
    assert left_behind(tmp_path) == []


def test_numbers_that_json_does_not_have_travel_as_text(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received()
    for value in (math.nan, math.inf, -math.inf, -0.0, 1e308, 1e308):
        spool.append(_point(0, value=value))
    Shipper(spool, received).flush()
    assert received.curves[0]["loss"]["values"] == ["NaN", "Infinity", "-Infinity", -0.0, 1e308, 1e308]
    spool.remove()


def test_what_did_not_get_through_is_sent_later_in_order(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received(Unreachable("down"))
    shipper = Shipper(spool, received)
    spool.append(_point(0))
    with pytest.raises(Unreachable):
        shipper.flush()
    spool.append(_point(1))
    shipper.flush()
    assert received.steps == [0, 1]
    spool.remove()


def test_only_what_is_refused_is_left_out_and_said_once(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received()
    shipper = Shipper(spool, received)
    for frame in (_point(0), _point(1, "bad"), _point(2)):
        spool.append(frame)
    with pytest.raises(Invalid, match="bad key"):
        shipper.flush()
    shipper.flush()
    assert received.steps == [0, 2]
    spool.remove()


def test_sent_after_a_while_without_being_asked(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received(Unreachable("down"))
    shipper = Shipper(spool, received, every_s=0.01)
    spool.append(_point(7))
    shipper.start()
    deadline = time.monotonic() + 60
    while not received.curves and time.monotonic() < deadline:
        time.sleep(0.005)
    shipper.stop()
    shipper.flush()
    assert received.steps == [7]
    spool.remove()


class Slow(Received):
    """Costs the client 20 ms of CPU a request."""

    def points(self, run: str, curves: Mapping[str, Mapping[str, Any]], *, late: bool = False) -> None:
        began = time.thread_time()
        while time.thread_time() < began + 0.02:
            pass
        super().points(run, curves, late=late)


def test_rests_grow_with_what_a_sending_takes_of_the_cpu(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Slow()
    shipper = Shipper(spool, received, every_s=0.01)
    spool.append(_point(0))
    shipper.start()
    deadline = time.monotonic() + 60
    while not received.curves and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)  # what comes while it is still sending goes along
    spool.append(_point(1))
    time.sleep(0.2)
    assert received.steps == [0]
    shipper.stop()
    shipper.flush()
    assert received.steps == [0, 1]
    spool.remove()


def test_a_long_log_goes_in_parts(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received()
    for step in range(3):
        spool.append(Points(step, 0, {f"{step}-{number}": 0.0 for number in range(40_000)}))
    Shipper(spool, received).flush()
    assert len(received.steps) == 120_000
    assert max(len(curves) for curves in received.curves) <= 90_000
    spool.remove()


@given(cut=st.integers(0, 400), flipped=st.integers(0, 3000))
def test_a_cut_or_damaged_tail_ends_the_log_before_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: int
) -> None:
    spool = Spool.create(tmp_path_factory.mktemp("spool"), OPENING)
    sizes = [spool.bytes]
    for step in range(12):
        spool.append(_point(step))
        sizes.append(spool.bytes)
    path = spool.path
    assert path is not None
    spool.close()
    data = bytearray(path.read_bytes())[: max(sizes[0], sizes[-1] - cut)]
    whole = sum(size <= len(data) for size in sizes) - 1
    if sizes[0] <= flipped < len(data):
        data[flipped] ^= 0xFF
        whole = sum(size <= flipped for size in sizes) - 1
    path.write_bytes(data)
    again = Spool.open(path)
    assert [frame.step for frame in again.unsent(10_000)[0] if isinstance(frame, Points)] == list(range(whole))
    again.append(_point(99))
    assert len(again.unsent(10_000)[0]) == whole + 1
    again.remove()


_KEYS = st.lists(st.text(min_size=1, max_size=20), min_size=0, max_size=5, unique=True)
_VALUES = st.floats(allow_nan=False) | st.integers(-(10**6), 10**6) | st.booleans()
_LOGGED = _KEYS.flatmap(lambda keys: st.fixed_dictionaries(dict.fromkeys(keys, _VALUES)))
_CALLS = st.lists(st.tuples(_LOGGED, st.integers(-(2**63), 2**63 - 1)))


@given(calls=_CALLS, sent=st.integers(0, 10), more=_CALLS)
def test_rows_come_back_as_they_were_logged(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[dict[str, float], int]], sent: int, more: list[tuple[dict[str, float], int]],
) -> None:  # fmt: skip
    spool, received = Spool.create(tmp_path_factory.mktemp("spool"), OPENING), list[Points]()
    for at_us, (values, step) in enumerate(calls):
        spool.append_row(step, at_us, values)
        if at_us == sent:
            frames, end = spool.unsent(1 << 20)
            received += [frame for frame in frames if isinstance(frame, Points)]
            spool.sent(end)
    path = spool.path
    assert path is not None
    spool.close()
    again = Spool.open(path)
    for at_us, (values, step) in enumerate(more, len(calls)):
        again.append_row(step, at_us, values)
    received += [frame for frame in again.unsent(1 << 20)[0] if isinstance(frame, Points)]
    wanted = [Points(step, at_us, values) for at_us, (values, step) in enumerate(calls + more)]
    assert received == wanted
    again.remove()


@given(cut=st.integers(0, 400))
def test_a_row_that_was_not_written_whole_ends_the_log_before_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    spool = Spool.create(tmp_path_factory.mktemp("spool"), OPENING)
    spool.append_row(0, 0, {"a": 0.0, "b": 1.0})
    sizes = [spool.bytes]
    for step in range(1, 12):
        spool.append_row(step, 1000 * step, {"a": step, "b": 0.0})
        sizes.append(spool.bytes)
    path = spool.path
    assert path is not None
    spool.close()
    length = max(sizes[0], sizes[-1] - cut)
    path.write_bytes(path.read_bytes()[:length] + bytes(5000))  # as a page that never reached the disk
    whole = sum(size <= length for size in sizes)
    again = Spool.open(path)
    assert [frame.step for frame in again.unsent(1 << 20)[0] if isinstance(frame, Points)] == list(range(whole))
    again.append_row(99, 0, {"a": 1.0, "b": 2.0})
    again.append_row(100, 0, {"b": 1.0, "a": 2.0})
    assert [frame.step for frame in again.unsent(1 << 20)[0] if isinstance(frame, Points)][whole:] == [99, 100]
    again.remove()


def test_many_threads_write_rows_of_many_kinds_into_one_log(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, OPENING)

    def write(number: int) -> None:
        for step in range(2000):
            spool.append_row(step, number, {f"m{number}": step, f"k{step % 50}": number})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [frame for frame in spool.unsent(spool.bytes)[0] if isinstance(frame, Points)]
    for number in range(4):
        assert [frame.step for frame in found if frame.at_us == number] == list(range(2000))
        assert all(frame.values[f"k{frame.step % 50}"] == number for frame in found if frame.at_us == number)
    spool.remove()


def _fill(spool: Spool) -> None:
    for step in range(1, 1 << 20):
        spool.append_row(step, 0, {"a": 1.0})


def test_a_log_whose_disk_is_full_says_so_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, OPENING)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool.append_row(0, 0, {"a": 1.0})
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(Unavailable, match="disk full"):
            _fill(spool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    spool.append_row(-1, 0, {"a": 1.0})
    steps = [frame.step for frame in spool.unsent(spool.bytes)[0] if isinstance(frame, Points)]
    assert steps == [*range(len(steps) - 1), -1]
    spool.remove()


def test_a_process_that_is_forked_off_leaves_the_log_as_it_is(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, OPENING)
    spool.append_row(0, 0, {"a": 1.0})
    ready, go = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which is how it happens
        child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        spool.close()
        os._exit(0)
    os.read(ready[0], 1)
    for step in range(1, 1000):
        spool.append_row(step, 0, {"a": 1.0})
    os.write(go[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    spool.append_row(1000, 0, {"a": 1.0})
    steps = [frame.step for frame in spool.unsent(spool.bytes)[0] if isinstance(frame, Points)]
    assert steps == list(range(1001))
    for end in (*ready, *go):
        os.close(end)
    spool.remove()


def test_how_far_the_server_got_outlives_the_process(tmp_path: Path) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received()
    spool.append(_point(0))
    Shipper(spool, received).flush()
    for frame in (_point(1), Ended("finished", "")):
        spool.append(frame)
    path = spool.path
    assert path is not None
    with pytest.raises(Conflict, match="still runs"):
        Spool.open(path)
    assert "still runs" in ship(path, received, URL).error
    spool.close()
    assert "--url http://localhost" in ship(path, received, "http://elsewhere").error
    assert (ship(path, received, URL).error, received.steps, received.ended) == ("", [0, 1], "finished")
    assert not path.exists()


def test_another_file_is_no_spool(tmp_path: Path) -> None:
    (tmp_path / "x.spool").write_bytes(b"hello, world")
    with pytest.raises(Invalid, match="no log of a run"):
        Spool.open(tmp_path / "x.spool")
    spool = Spool.create(Path("/proc/no/such/folder"), OPENING)
    assert spool.path is None
    spool.remove()


class Flaky(httpx2.BaseTransport):
    """Reaches the world, unless it is down; an answer may get lost after the server has worked."""

    def __init__(self, world: World) -> None:
        self._inner, self.down, self.lose_answers = Unclosed(world.transport), False, 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.down:
            raise httpx2.ConnectError("down")
        response = self._inner.handle_request(request)
        if self.lose_answers and request.url.path.endswith(("/points", "/artifacts")):
            self.lose_answers -= 1
            raise httpx2.ReadError("the connection broke")
        return response


def _client(world: World, transport: Flaky, folder: Path) -> Client:
    connection = Connection(URL, world.secrets[Role.AUTHOR], transport=transport, wait=lambda seconds: None)
    return Client(connection, spools=folder)


def test_a_run_ends_while_the_server_is_away_and_is_synced_later(
    delivered: tuple[World, dict[str, str]], tmp_path: Path
) -> None:
    transport = Flaky(delivered[0])
    client = _client(delivered[0], transport, tmp_path)
    with client.start_run("away", PlainExporter()) as run:
        run.log_metric("loss", 1.0, step=0)
        run.flush()
        transport.down = True
        run.log_metrics({"loss": 0.5, "acc": math.nan}, step=1)
        run.set_tag("note", "kept")
        with pytest.raises(Unavailable):
            run.flush()
    assert [item.error != "" for item in client.sync()] == [True]
    transport.down, transport.lose_answers = False, 1
    assert "broke" in client.sync()[0].error
    assert [(item.run, item.error) for item in client.sync()] == [(run.id, "")]
    assert client.sync() == []
    kept = client.runs.get(run.id)
    assert (kept.state, kept.tags) == (RunState.FINISHED, {"note": "kept"})
    assert client.runs.curve(run.id, "loss").values == [1.0, 0.5]
    assert len(client.runs.curve(run.id, "acc")) == 1


KILLED = """
import sys
from pathlib import Path
from headway.client.spool import Opening, Points, Spool
spool = Spool.create(Path(sys.argv[1]), Opening(run=sys.argv[2], url="http://localhost"))
step = 0
while True:
    spool.append(Points(step, step, {"loss": step / 7}))
    print(step, flush=True)
    step += 1
"""


def test_kill_9_loses_no_call_that_returned(delivered: tuple[World, dict[str, str]], tmp_path: Path) -> None:
    client = _client(delivered[0], Flaky(delivered[0]), tmp_path)
    run = client.start_run("killed", PlainExporter())
    command = [sys.executable, "-c", KILLED, str(tmp_path), run.id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    logged = [process.stdout.readline() for _ in range(500)]
    os.kill(process.pid, signal.SIGKILL)
    logged += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    last = int([line for line in logged if line.endswith("\n")][-1])
    assert [item.error for item in client.sync() if item.run == run.id and not item.error] == [""]
    steps = client.runs.curve(run.id, "loss", most=10_000).steps
    assert steps[: last + 1] == list(range(last + 1))
    run.finish()
