"""What a single-row request costs the model server in CPU, beside a bare ASGI app and beside other model servers.

    python benchmarks/serving.py [--requests 2000] [--rounds 5] [--mixed] [--with NAME ...] [--cache FOLDER]

All servers live at once, on one process each, and are asked in turns over 16 and 64 loopback connections, so that what
else the machine does falls on all of them; medians of the rounds count. All run the same ONNX model: gradient boosting,
100 trees of depth 4, on 20 numbers in one tensor; with `--mixed` 12 numbers and 4 texts in a tensor each. The bare app
reads the body, runs the model on a row made beforehand and answers constant bytes: no JSON, no check, no capture.
CPU is that of the whole process tree, and for Headway includes writing what it captured.

`--with` names another server; it is installed in an environment of its own in the cache folder, outside the checkout,
and left out with the reason when it does not install or start.
"""

from __future__ import annotations

import argparse
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import onnxruntime
from servers import peers
from servers.load import Order, Took
from servers.served import Served, free_port
from servers.workload import Workload, in_binary, in_grpc, in_json, mixed, plain

from headway.kernel.records import digest, encode
from headway.lifecycle.rollouts.routing import Route, RoutingTable

CONNECTIONS = (16, 64)
SETTLED_S = 0.7
"""The last captured rows are still being written behind the last answer."""
APPS, LOAD = peers.APPS, Path(__file__).parent / "servers" / "load.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headway-benchmarks"


class Round(NamedTuple):
    cpu_us: float
    client_cpu_us: float
    wall_us: float
    p50_us: float
    p99_us: float


class Contender:
    """A server under one name, asked in one way."""

    def __init__(self, name: str, served: Served, sent: bytes, grpc_port: int = 0) -> None:
        self.name, self.served, self.sent, self.grpc_port = name, served, sent, grpc_port
        self.rounds: dict[int, list[Round]] = {connections: [] for connections in CONNECTIONS}

    def ask(self, load: Load, requests: int, connections: int) -> None:
        sent, port = base64.b64encode(self.sent).decode(), self.grpc_port or self.served.port
        before = self.served.cpu_s()
        took = load.ask(Order(port, sent, requests, connections, grpc=bool(self.grpc_port)))
        time.sleep(SETTLED_S)
        cpu_us = (self.served.cpu_s() - before) / requests * 1e6
        each = 1e6 / requests
        self.rounds[connections].append(Round(cpu_us, took.cpu_s * each, took.wall_s * each, took.p50_us, took.p99_us))

    def median(self, connections: int) -> Round:
        return Round(*map(statistics.median, zip(*self.rounds[connections], strict=True)))


class Load:
    def __init__(self, log: Path) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, str(LOAD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("wb")
        )

    def ask(self, order: Order) -> Took:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(self._log.read_text()[-1500:])
        return msgspec.json.decode(line, type=Took)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


class Arena:
    """Starts the servers on one model, each in a folder of its own."""

    def __init__(self, work: Workload, folder: Path) -> None:
        self.work, self.folder = work, folder
        self._blob = digest(work.model)
        self.model = folder / self._blob[3:5] / self._blob[5:]
        self.model.parent.mkdir()
        self.model.write_bytes(work.model)

    def headway(self, name: str, percents: tuple[int, ...], *more: str) -> Served:
        """With more than one percentage, a canary that is mirrored."""
        work = self.work
        routes = tuple(
            Route(
                release=f"rl_{at}", model="m", version=at + 1, blob=self._blob, signature=work.signature,
                percent=percent, contract=work.contract,
            )
            for at, percent in enumerate(percents)
        )  # fmt: skip
        own = self._own(name)
        table = RoutingTable(deployment="flights", generation=1, routes=routes, mirror=len(percents) > 1)
        (own / "routing.json").write_bytes(encode(table))
        port = free_port()
        command = [sys.executable, "-m", "headway.serving.main", "--routing", str(own / "routing.json"), "--blobs"]
        command += [str(self.folder), "--spool", str(own / "spool"), "--port", str(port), *more]
        return Served(command, port, in_json(work), own / "log", own)

    def bare(self) -> Served:
        own, port = self._own("bare"), free_port()
        command = [sys.executable, str(APPS / "bare.py"), str(self.model), str(port)]
        return Served(command, port, in_json(self.work), own / "log", own)

    def peer(self, name: str, cache: Path) -> Served:
        """Raises `RuntimeError` or `CalledProcessError` when it does not start or install."""
        own, port, peer = self._own(name), free_port(), peers.PEERS[name]
        command = peer.command(peers.environment(cache, peer), self.model, own, port)
        return Served(command, port, peer.asked(self.work), own / "log", own)

    def _own(self, name: str) -> Path:
        own = self.folder / name
        own.mkdir()
        return own


def contenders(arena: Arena, names: list[str], cache: Path, running: ExitStack) -> list[Contender]:
    work, grpc_port = arena.work, free_port()
    plain_row = "x" in work.feed
    headway = arena.headway("headway", (100,), *(("--grpc-port", str(grpc_port)) if plain_row else ()))
    running.callback(headway.stop)
    canary = arena.headway("canary", (90, 10))
    running.callback(canary.stop)
    bare = arena.bare()
    running.callback(bare.stop)
    found = [Contender("headway, JSON", headway, in_json(work))]
    if plain_row:
        found += [Contender("headway, binary tensors", headway, in_binary(work))]
        found += [Contender("headway, gRPC", headway, in_grpc(work), grpc_port)]
    found += [Contender("headway, canary and mirror", canary, in_json(work)), Contender("bare", bare, in_json(work))]
    for name in names:
        try:
            served = arena.peer(name, cache)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{name} left out: {error}")
            continue
        running.callback(served.stop)
        found.append(Contender(name, served, peers.PEERS[name].asked(work)))
    return found


def run_us(work: Workload) -> float:
    """The model alone, in a row of runs: what no server can do without."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(work.model, options, providers=["CPUExecutionProvider"])
    began = time.process_time()
    for _ in range(2000):
        session.run(None, work.feed)
    return (time.process_time() - began) / 2000 * 1e6


def report(found: list[Contender], connections: int) -> None:
    first = found[0].median(connections).cpu_us
    print(f"\n{connections} connections: medians, times in us; x: CPU beside the first")
    print(f"{'':28}{'CPU':>7}{'x':>7}{'req/s':>8}{'p50':>8}{'p99':>8}{'client':>8}{'start s':>9}{'MiB':>6}")
    for each in found:
        took = each.median(connections)
        print(
            f"{each.name:28}{took.cpu_us:7.0f}{took.cpu_us / first:7.2f}{1e6 / took.wall_us:8.0f}{took.p50_us:8.0f}"
            f"{took.p99_us:8.0f}{took.client_cpu_us:8.0f}{each.served.start_s:9.2f}{each.served.memory_mib():6.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of one server in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mixed", action="store_true", help="a row of numbers and texts, in a tensor each")
    parser.add_argument("--with", dest="peers", action="append", choices=list(peers.PEERS), default=[])
    parser.add_argument("--cache", type=Path, default=CACHE, help="where environments of other servers are")
    settings = parser.parse_args()
    if settings.mixed and settings.peers:
        parser.error("other servers are asked with the plain row; leave out --mixed or --with")
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        arena = Arena(mixed() if settings.mixed else plain(), Path(name))
        load = Load(arena.folder / "load.log")
        running.callback(load.stop)
        found, runs_us = contenders(arena, settings.peers, settings.cache, running), []
        for _ in range(settings.rounds):
            runs_us.append(run_us(arena.work))
            for connections in CONNECTIONS:
                for each in found:
                    each.ask(load, settings.requests, connections)
        print(f"ONNX Runtime alone, again and again: {statistics.median(runs_us):.1f} us")
        for connections in CONNECTIONS:
            report(found, connections)


if __name__ == "__main__":
    main()
