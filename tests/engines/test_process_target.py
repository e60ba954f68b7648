"""Deployments as processes: what should be served is served, found again, replaced when it dies, stopped when told."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from headway.engines import processes
from headway.engines.processes import Child
from headway.engines.targets.process import COMMAND, ProcessTarget
from headway.kernel.records import digest
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.lifecycle.rollouts.target import Endpoint
from tests.crashes.model import sigmoid
from tests.engines.world import SIGNATURE

TENSOR = SIGNATURE.inputs[0]


def waited(look: Callable[[], object], patience_s: float = 60.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.02)
    return False


class Home:
    """What a control plane keeps beside a target; `target` is a fresh one each time, as after a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.blobs = folder, folder / "blobs"
        name = digest(sigmoid()).removeprefix("b3:")
        (self.blobs / name[:2]).mkdir(parents=True)
        (self.blobs / name[:2] / name[2:]).write_bytes(sigmoid())
        self.made: list[ProcessTarget] = []

    def target(self, command: Sequence[str] = COMMAND) -> ProcessTarget:
        folder = self.folder / "deployments"
        self.made.append(ProcessTarget(folder, self.blobs, self.folder / "server.json", self.folder / "token", command))
        return self.made[-1]

    @property
    def note(self) -> Path:
        return self.folder / "deployments" / "late" / "process.json"

    def child(self) -> Child:
        child = processes.recall(self.note)
        assert child
        return child


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.target().close()


def table(generation: int, *releases: str, deployment: str = "late", server: str = "") -> RoutingTable:
    routes = tuple(
        Route(
            release=release, model="late", version=1, blob=digest(sigmoid()), percent=100 // len(releases),
            signature=SIGNATURE.but(outputs=(TENSOR.but(name="probabilities"),), score="probabilities"),
        )
        for release in releases
    )  # fmt: skip
    return RoutingTable(deployment=deployment, generation=generation, routes=routes, server=server)


def serves(target: ProcessTarget, generation: int, deployment: str = "late") -> Callable[[], bool]:
    def look() -> bool:
        seen = target.observe(deployment)
        return seen is not None and seen.ready and seen.generation == generation

    return look


def test_a_deployment_from_its_first_table_to_its_last(home: Home) -> None:
    target = home.target()
    assert target.observe("late") is None
    target.apply(table(1, "rl_1"))
    starting = target.observe("late")
    assert starting
    assert starting.url.startswith("http://127.0.0.1:")
    assert waited(serves(target, 1))
    server = home.child()

    target.apply(table(2, "rl_1", "rl_2"))
    target.apply(table(2, "rl_1", "rl_2"))
    assert waited(serves(target, 2))
    assert home.child() == server, "a new table is read, not started"

    later = home.target()
    later.apply(table(2, "rl_1", "rl_2"))
    assert home.child() == server, "a target that comes after finds it"
    assert (
        later.observe("late")
        == target.observe("late")
        == Endpoint(deployment="late", url=f"http://127.0.0.1:{server.port}", generation=2, ready=True)
    )

    os.kill(server.pid, signal.SIGKILL)
    assert waited(lambda: not processes.alive(server))
    gone = later.observe("late")
    assert gone
    assert not gone.ready
    assert gone.error
    later.apply(table(2, "rl_1", "rl_2"))
    assert waited(serves(later, 2))
    assert (home.child().port, home.child().pid == server.pid) == (server.port, False)

    later.apply(table(3))
    assert not processes.alive(home.child()), "without routes it is stopped"


def test_another_number_of_workers_is_another_server(home: Home) -> None:
    target = home.target()
    target.apply(table(1, "rl_1"))
    assert waited(serves(target, 1))
    server = home.child()
    target.apply(table(1, "rl_1").but(workers=2))
    assert waited(lambda: home.child().pid != server.pid and serves(target, 1)())
    assert (home.child().workers, home.child().port) == (2, server.port)
    children = Path(f"/proc/{home.child().pid}/task/{home.child().pid}/children")
    assert waited(lambda: len(children.read_text().split()) == 2)
    target.close()
    assert not processes.alive(home.child())


def test_servers_that_end_unasked_are_counted(home: Home) -> None:
    target = home.target()

    def ends() -> int:
        seen = target.observe("late")
        return seen.ends if seen else 0

    def counted(count: int) -> bool:
        return ends() == count

    def tended() -> bool:
        target.tend()
        return serves(target, 1)()

    target.apply(table(1, "rl_1"))
    assert waited(serves(target, 1))
    for count in (1, 2):
        os.kill(home.child().pid, signal.SIGKILL)
        assert waited(lambda: not processes.alive(home.child()))
        assert waited(tended)
        assert ends() == count
    target.apply(table(2, "rl_1").but(workers=2))
    assert waited(serves(target, 2))
    assert ends() == 2, "one that is replaced was asked to end"
    children = Path(f"/proc/{home.child().pid}/task/{home.child().pid}/children")
    for count in (3, 4):
        assert waited(lambda: len(children.read_text().split()) == 2)
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        assert waited(partial(counted, count)), "a worker counts, whose parent goes on"
    target.apply(table(3))
    target.apply(table(4, "rl_1"))
    assert waited(serves(target, 4))
    assert ends() == 2, "another server counts its workers from the beginning"


def test_a_port_that_somebody_else_has_taken_is_left_to_them(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (home.folder / "deployments" / "late").mkdir(parents=True)
        processes.remember(Child(pid=2**22 + 1, mark="gone", port=port), home.note)
        target = home.target()

        def up() -> bool:
            target.apply(table(1, "rl_1"))
            seen = target.observe("late")
            return home.child().port != port and seen is not None and seen.ready

        assert waited(up, 30)


def test_a_note_of_another_process_is_not_believed(home: Home) -> None:
    """After a restart of the machine the number of the old server may be anybody's."""
    home.note.parent.mkdir(parents=True)
    processes.remember(Child(pid=os.getpid(), mark="a routing file of old", port=1), home.note)
    home.target().close()
    target = home.target()
    target.apply(table(1, "rl_1"))
    assert home.child().pid != os.getpid()


def test_one_of_an_older_build_is_replaced_at_its_port(home: Home) -> None:
    """It refuses a table with fields that it does not know."""
    older = home.folder / "older.py"
    older.write_text(
        "import sys, msgspec\n"
        "from headway.lifecycle.rollouts import routing\n"
        "read = routing.read_table\n"
        "def read_older(data):\n"
        "    if b'\"server\"' in data:\n"
        "        raise msgspec.ValidationError('Object contains unknown field `server`')\n"
        "    return read(data)\n"
        "routing.read_table = read_older\n"
        "from headway.serving.main import main\n"
        "main(sys.argv[1:])\n"
    )
    before = home.target((sys.executable, str(older)))
    before.apply(table(1, "rl_1"))

    def refuses() -> bool:
        seen = before.observe("late")
        return seen is not None and "unknown field" in seen.error

    assert waited(refuses)
    server = home.child()
    processes.remember(server.but(build="an older one"), home.note)
    target = home.target()
    target.apply(table(1, "rl_1"))
    assert waited(serves(target, 1))
    assert home.child().port == server.port
    assert not processes.alive(server)


class Shared(Home):
    @property
    def note(self) -> Path:
        return self.folder / "servers" / "small" / "process.json"


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    made = Shared(tmp_path)
    yield made
    made.target().close()


def apply(target: ProcessTarget, generation: int, *deployments: str) -> None:
    for name in deployments:
        target.apply(table(generation, "rl_1", deployment=name, server="small"))


def test_deployments_share_a_server(shared: Shared) -> None:
    target = shared.target()
    apply(target, 1, "late", "early")
    assert waited(lambda: serves(target, 1, "late")() and serves(target, 1, "early")())
    server = shared.child()
    late, early = (target.observe(name) for name in ("late", "early"))
    assert late
    assert early
    assert (late.url, late.server) == (early.url, "small")
    assert not list((shared.folder / "deployments").glob("*"))
    assert [asked(late, name) for name in ("late", "early", "other")] == [200, 200, 404]

    target.apply(table(2, "rl_1", "rl_2", deployment="early", server="small"))
    assert waited(serves(target, 2, "early"))
    assert serves(target, 1, "late")(), "the table of the other is its own"
    assert shared.child() == server

    os.kill(server.pid, signal.SIGKILL)
    assert waited(lambda: not processes.alive(server))
    later = shared.target()
    apply(later, 2, "late", "early")
    assert waited(lambda: serves(later, 2, "late")() and serves(later, 2, "early")())
    assert shared.child().port == server.port
    assert [asked(late, name) for name in ("late", "early")] == [200, 200]

    later.apply(table(3, deployment="early", server="small"))
    assert waited(lambda: asked(late, "early") == 404), "without routes it is served no more"
    assert asked(late, "late") == 200
    later.apply(table(3, deployment="late", server="small"))
    assert not processes.alive(shared.child()), "without any deployment it is stopped"


def test_a_deployment_moves_to_another_server_without_a_gap(shared: Shared) -> None:
    target = shared.target()
    apply(target, 1, "late", "early")
    assert waited(lambda: serves(target, 1, "late")() and serves(target, 1, "early")())
    before = target.observe("late")
    assert before
    left = shared.folder / "servers" / "small" / "spool" / "late" / "left.parquet"
    left.parent.mkdir(parents=True, exist_ok=True)

    failures = []

    def moved() -> bool:
        target.apply(table(2, "rl_1", deployment="late"))
        seen = target.observe("late")
        assert seen
        failures.extend([] if asked(seen, "late") == 200 else [seen])
        return seen.server == "" and not (shared.folder / "servers" / "small" / "tables" / "late.json").exists()

    assert waited(moved)
    assert failures == [], "what is observed answers"
    left.write_bytes(b"kept back while the control plane was away")
    target.apply(table(2, "rl_1", deployment="late"))
    assert not left.exists()
    assert (shared.folder / "deployments" / "late" / "spool" / "left.parquet").exists()
    assert waited(lambda: asked(before, "late") == 404)
    assert asked(before, "early") == 200


def asked(endpoint: Endpoint, deployment: str) -> int:
    body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
    address = urlsplit(endpoint.url)
    line = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        line.request("POST", f"/v2/models/{deployment}/infer", json.dumps(body))
        return line.getresponse().status
    except OSError:
        return 0
    finally:
        line.close()
