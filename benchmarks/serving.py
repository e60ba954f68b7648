"""What a single-row request costs the model server in CPU, beside a bare ASGI app and beside other model servers.

    python benchmarks/serving.py [--requests 2000] [--rounds 5] [--mixed] [--with NAME ...] [--cache FOLDER]

All servers live at once, on one process each, and are asked in turns over 16 and 64 loopback connections (or as many as
`--connections` says), so that what else the machine does falls on all of them; medians of the rounds count. On Linux
the servers have the first processor for themselves, the load the last, as far as nothing else runs there. All run the
same ONNX model: gradient boosting, 100 trees of depth 4, on 20 numbers in one tensor; with `--mixed` 12 numbers and 4
texts in a tensor each. The bare app reads the body, runs the model on a row made beforehand and answers constant bytes:
no JSON, no check, no capture. CPU is that of the whole process tree, and for Headway includes writing what it captured.

`--with` names another server; it is installed in an environment of its own in the cache folder, outside the checkout,
and left out with the reason when it does not install or start.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
from servers import peers
from servers.load import Client, Order, Took
from servers.many import alike, run_us, session_of
from servers.served import Served, free_port
from servers.workload import Workload, in_binary, in_grpc, in_json, mixed, plain

from headway.kernel.records import digest, encode
from headway.lifecycle.rollouts.routing import Route, RoutingTable

CONNECTIONS = [16, 64]
SETTLED_S = 0.7
"""The last captured rows are still being written behind the last answer."""
MANY_TIMES = 25
"""How many times as often many models are asked: at this pace their rows are written every five seconds."""
APPS, LOAD = peers.APPS, Path(__file__).parent / "servers" / "load.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headway-benchmarks"


PROCESSORS = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
"""The first is for the servers, the last for the load."""


class Round(NamedTuple):
    cpu_us: float
    client_cpu_us: float
    wall_us: float
    p50_us: float
    p99_us: float


class Contender:
    """A server under one name, asked in one way."""

    def __init__(
        self, name: str, served: Served, sent: bytes, port: int = 0, client: Client = "http",
        more: Sequence[bytes] = (),
    ) -> None:  # fmt: skip
        """`more` is sent in turns with `sent`, as often as a server of many models needs to be asked."""
        self.name, self.served, self.sent, self.client, self.more = name, served, sent, client, more
        self.port = port or served.port
        self.rounds: defaultdict[int, list[Round]] = defaultdict(list)

    def ask(self, load: Load, requests: int, connections: int) -> None:
        sent = base64.b64encode(self.sent).decode()
        more = [base64.b64encode(each).decode() for each in self.more]
        requests *= MANY_TIMES if more else 1
        before = self.served.cpu_s()
        took = load.ask(Order(self.port, sent, requests, connections, self.client, more))
        if more:
            self.served.post("/v1/flush")
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
        if PROCESSORS:
            os.sched_setaffinity(self._process.pid, {PROCESSORS[-1]})

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
        command = [
            sys.executable,
            "-P",
            "-m",
            "headway.serving.main",
            "--routing",
            str(own / "routing.json"),
            "--blobs",
        ]
        command += [str(self.folder), "--spool", str(own / "spool"), "--port", str(port), *more]
        return Served(command, port, in_json(work), own / "log", own)

    def many(self, name: str, models: Sequence[bytes], count: int) -> Served:
        """A deployment `flights-N` each of so many, which share the models if those are fewer."""
        own = self._own(name)
        (own / "tables").mkdir()
        for model in models:
            blob = digest(model)[3:]
            (self.folder / blob[:2]).mkdir(exist_ok=True)
            (self.folder / blob[:2] / blob[2:]).write_bytes(model)
        for at in range(count):
            route = Route(
                release=f"rl_{at}", model="m", version=1, blob=digest(models[at % len(models)]), percent=100,
                signature=self.work.signature, contract=self.work.contract,
            )  # fmt: skip
            table = RoutingTable(deployment=f"flights-{at}", generation=1, routes=(route,))
            (own / "tables" / f"flights-{at}.json").write_bytes(encode(table))
        port = free_port()
        command = [sys.executable, "-P", "-m", "headway.serving.main", "--routing", str(own / "tables"), "--blobs"]
        command += [str(self.folder), "--spool", str(own / "spool"), "--port", str(port)]
        return Served(command, port, in_json(self.work, "flights-0"), own / "log", own)

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
        found += [Contender("headway, gRPC", headway, in_grpc(work), grpc_port, "grpc")]
        if shutil.which("h2load"):
            found += [Contender("headway, gRPC asked by h2load", headway, in_grpc(work), grpc_port, "h2load")]
        else:
            print("h2load is not installed (Debian's nghttp2-client): over gRPC the latency is that of grpcio's client")
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


def many(arena: Arena, count: int, running: ExitStack) -> tuple[list[Contender], list[bytes]]:
    """So many models in one process; and, to tell what is lost to the processor's caches, as many deployments of one.
    In both most requests are alone of their deployment in a turn."""
    models, found = alike(arena.work.model, count), []
    first, *more = [in_json(arena.work, f"flights-{at}") for at in range(count)]
    for name, served in (("models", models), ("deployments of one", models[:1])):
        server = arena.many(name, served, count)
        running.callback(server.stop)
        found.append(Contender(f"headway, {count} {name}", server, first, more=more))
    return found, models


def report(found: list[Contender], connections: int) -> None:
    first = found[0].median(connections).cpu_us
    print(f"\n{connections} connections: medians, times in us; x: CPU beside the first")
    print(f"{'':32}{'CPU':>7}{'x':>7}{'req/s':>8}{'p50':>8}{'p99':>8}{'x p50':>7}{'client':>8}{'start s':>9}{'MiB':>7}")
    for each in found:
        took = each.median(connections)
        print(
            f"{each.name:32}{took.cpu_us:7.0f}{took.cpu_us / first:7.2f}{1e6 / took.wall_us:8.0f}{took.p50_us:8.0f}"
            f"{took.p99_us:8.0f}{took.p99_us / took.p50_us:7.1f}{took.client_cpu_us:8.0f}"
            f"{each.served.start_s:9.2f}{each.served.memory_mib():7.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of one server in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS, help="of the load")
    parser.add_argument("--mixed", action="store_true", help="a row of numbers and texts, in a tensor each")
    parser.add_argument("--models", type=int, default=100, help="in one process; 0 leaves that out")
    parser.add_argument("--with", dest="peers", action="append", choices=list(peers.PEERS), default=[])
    parser.add_argument("--cache", type=Path, default=CACHE, help="where environments of other servers are")
    settings = parser.parse_args()
    if settings.mixed and settings.peers:
        parser.error("other servers are asked with the plain row; leave out --mixed or --with")
    if PROCESSORS:
        os.sched_setaffinity(0, PROCESSORS[:1])  # and so each server that is started here
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        arena = Arena(mixed() if settings.mixed else plain(), Path(name))
        load = Load(arena.folder / "load.log")
        running.callback(load.stop)
        found, models = contenders(arena, settings.peers, settings.cache, running), [arena.work.model]
        if settings.models and not settings.mixed:
            beside, models = many(arena, settings.models, running)
            found += beside
        sessions, alone_us = [session_of(model) for model in models], list[tuple[float, ...]]()
        alone = [(each, arena.work, rows) for each in (sessions[:1], sessions) for rows in (1, 16)]
        for _ in range(settings.rounds):
            alone_us.append(tuple(run_us(*each) for each in alone))
            for connections in settings.connections:
                for each in found:
                    each.ask(load, settings.requests, connections)
        one, full, other, others = map(statistics.median, zip(*alone_us, strict=True))
        print(f"ONNX Runtime alone, us of CPU a row: the same model again and again {one:.1f}, on 16 rows {full:.1f}")
        print(f"{len(models)} models in turns {other:.1f}, each on 16 rows {others:.1f}")
        for connections in settings.connections:
            report(found, connections)


if __name__ == "__main__":
    main()
