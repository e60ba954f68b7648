"""Deployments as processes: what should be served is served, found again, replaced when it dies, stopped when told."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.engines import processes
from headway.engines.processes import Child
from headway.engines.targets.process import ProcessTarget
from headway.kernel.records import digest
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.lifecycle.rollouts.target import Endpoint
from tests.crashes.model import sigmoid
from tests.engines.world import SIGNATURE

TENSOR = SIGNATURE.inputs[0]


def waited(look: Callable[[], object], patience_s: float = 20.0) -> bool:
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

    def target(self) -> ProcessTarget:
        self.made.append(
            ProcessTarget(self.folder / "deployments", self.blobs, self.folder / "server.json", self.folder / "token")
        )
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


def table(generation: int, *releases: str) -> RoutingTable:
    routes = tuple(
        Route(
            release=release, model="late", version=1, blob=digest(sigmoid()), percent=100 // len(releases),
            signature=SIGNATURE.but(outputs=(TENSOR.but(name="probabilities"),), score="probabilities"),
        )
        for release in releases
    )  # fmt: skip
    return RoutingTable(deployment="late", generation=generation, routes=routes)


def serves(target: ProcessTarget, generation: int) -> Callable[[], bool]:
    def look() -> bool:
        seen = target.observe("late")
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
