"""What tracking costs a server: CPU and elapsed time per call, medians of five, beside another server if one is named.

    python benchmarks/tracking.py                                         a server of its own, on a new home
    python benchmarks/tracking.py --uri http://host:7070 --pid 4711       one that runs
    python benchmarks/tracking.py --peer ~/mlflow-venv                    and the ratio to MLflow's own server, started
                                                                          from a virtual environment that has it
    python benchmarks/tracking.py --beside http://host:5000 --beside-pid 42    and the ratio to another that runs

A server is spoken to by MLflow's REST API when it has one, else by Headway's own. The CPU is that of the process
`--pid` and of its children, read from /proc; without it only elapsed times are printed. Two servers are measured in
turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

ROUNDS, CONNECTIONS = 5, 8
_IDLE_S = 2.0
"""Servers close a connection that nobody uses, after 5 s by default."""
_PEER_START_S = 120.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Http:
    """One keep-alive connection."""

    def __init__(self, uri: str, token: str) -> None:
        place = urlsplit(uri)
        self._line = http.client.HTTPConnection(place.hostname or "", place.port or 80)
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        self._used = time.monotonic()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        if time.monotonic() - self._used > _IDLE_S:
            self._line.close()
        self._line.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = self._line.getresponse()
        content, self._used = answer.read(), time.monotonic()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return json.loads(content) if content[:1] in b"{[" else content


class Point(NamedTuple):
    key: str
    value: float
    step: int
    at_ms: int


class Dialect(Protocol):
    def create(self, http: Http, experiment: str) -> str: ...
    def param(self, http: Http, run: str, key: str, value: str) -> None: ...
    def metric(self, http: Http, run: str, point: Point) -> None: ...
    def batch(self, http: Http, run: str, points: list[Point]) -> None: ...
    def end(self, http: Http, run: str) -> None: ...
    def history(self, http: Http, run: str, key: str, most: int) -> int: ...
    def sampled(self, http: Http, run: str, key: str, most: int) -> int: ...
    def search(self, http: Http, experiment: str) -> int: ...


class Native:
    def create(self, http: Http, experiment: str) -> str:
        return str(http.ask("POST", "/v1/runs", {"experiment": experiment})["id"])

    def param(self, http: Http, run: str, key: str, value: str) -> None:
        http.ask("POST", f"/v1/runs/{run}/log", {"params": {key: value}})

    def metric(self, http: Http, run: str, point: Point) -> None:
        self.batch(http, run, [point])

    def batch(self, http: Http, run: str, points: list[Point]) -> None:
        metrics = [{"key": p.key, "value": p.value, "step": p.step, "at": _iso(p.at_ms)} for p in points]
        http.ask("POST", f"/v1/runs/{run}/log", {"metrics": metrics})

    def end(self, http: Http, run: str) -> None:
        http.ask("POST", f"/v1/runs/{run}/move", {"state": "finished"})

    def history(self, http: Http, run: str, key: str, most: int) -> int:
        return len(http.ask("GET", f"/v1/runs/{run}/metrics/{quote(key)}?limit={most}")["points"])

    def sampled(self, http: Http, run: str, key: str, most: int) -> int:
        return len(http.ask("GET", f"/v1/runs/{run}/curve/{quote(key)}?most={most}")["steps"])

    def search(self, http: Http, experiment: str) -> int:
        raise NotImplementedError("search is spoken by MLflow's API")


class Mlflow:
    _BASE = "/api/2.0/mlflow"

    def __init__(self) -> None:
        self._experiments: dict[str, str] = {}

    def create(self, http: Http, experiment: str) -> str:
        body = {"experiment_id": self._experiment(http, experiment), "start_time": int(time.time() * 1000)}
        return str(self._post(http, "runs/create", body)["run"]["info"]["run_id"])

    def param(self, http: Http, run: str, key: str, value: str) -> None:
        self._post(http, "runs/log-parameter", {"run_id": run, "key": key, "value": value})

    def metric(self, http: Http, run: str, point: Point) -> None:
        self._post(http, "runs/log-metric", {"run_id": run, **self._point(point)})

    def batch(self, http: Http, run: str, points: list[Point]) -> None:
        self._post(http, "runs/log-batch", {"run_id": run, "metrics": [self._point(point) for point in points]})

    def end(self, http: Http, run: str) -> None:
        self._post(http, "runs/update", {"run_id": run, "status": "FINISHED", "end_time": int(time.time() * 1000)})

    def history(self, http: Http, run: str, key: str, most: int) -> int:
        path = f"{self._BASE}/metrics/get-history?run_id={run}&metric_key={quote(key)}&max_results={most}"
        return len(http.ask("GET", path)["metrics"])

    def sampled(self, http: Http, run: str, key: str, most: int) -> int:
        path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
        return len(http.ask("GET", f"{path}?run_ids={run}&metric_key={quote(key)}&max_results={most}")["metrics"])

    def search(self, http: Http, experiment: str) -> int:
        body = {
            "experiment_ids": [self._experiment(http, experiment)],
            "filter": "metrics.acc > 0.9",
            "order_by": ["metrics.acc DESC"],
            "max_results": 100,
        }
        return len(self._post(http, "runs/search", body)["runs"])

    def _experiment(self, http: Http, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = str(self._post(http, "experiments/create", {"name": name})["experiment_id"])
        return self._experiments[name]

    def _post(self, http: Http, path: str, body: Any) -> Any:
        return http.ask("POST", f"{self._BASE}/{path}", body)

    @staticmethod
    def _point(point: Point) -> dict[str, Any]:
        return {"key": point.key, "value": point.value, "step": point.step, "timestamp": point.at_ms}


class Cost(NamedTuple):
    """Per call, in milliseconds; `cpu` is NaN when the server's process is not known."""

    cpu_ms: float
    elapsed_ms: float


class Server:
    def __init__(self, uri: str, token: str, pid: int | None, own_api: bool) -> None:
        self.uri, self.pid = uri, pid
        self.token, self._names = token, count()
        self._spent_ns: dict[str, int] = {}
        self.http = Http(uri, token)
        self.dialect: Dialect = Native() if own_api or not self._speaks_mlflow() else Mlflow()

    def connect(self) -> Http:
        return Http(self.uri, self.token)

    def experiment(self) -> str:
        return f"bench-{os.getpid()}-{next(self._names)}"

    def _speaks_mlflow(self) -> bool:
        try:
            self.http.ask("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1})
        except RuntimeError:
            return False
        return True

    def cpu_s(self) -> float:
        """Also of the threads that have ended meanwhile, as they were last seen: else it could shrink."""
        if self.pid is None:
            return math.nan
        for pid in _family(self.pid):
            self._spent_ns |= _spent_ns(pid)
        return sum(self._spent_ns.values()) / 1e9

    def cost(self, calls: int, work: Callable[[], object]) -> Cost:
        cpu, began = self.cpu_s(), time.perf_counter()
        work()
        return Cost(1000 * (self.cpu_s() - cpu) / calls, 1000 * (time.perf_counter() - began) / calls)


def log_metric(server: Server) -> Cost:
    experiment, each = server.experiment(), 100
    run = server.dialect.create(server.http, experiment)
    lines = [server.connect() for _ in range(CONNECTIONS)]

    def work(number: int) -> None:
        for step in range(each):
            server.dialect.metric(lines[number], run, Point(f"m{number}", step / 7, step, _now_ms()))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return server.cost(each * CONNECTIONS, lambda: list(pool.map(work, range(CONNECTIONS))))


def log_batch(server: Server) -> Cost:
    run, now = server.dialect.create(server.http, server.experiment()), _now_ms()
    batches = [
        [Point(f"m{k}", math.sin(step), step, now + step) for k in range(10) for step in range(first, first + 100)]
        for first in range(0, 2000, 100)
    ]
    return server.cost(20, lambda: [server.dialect.batch(server.http, run, batch) for batch in batches])


def whole_run(server: Server) -> Cost:
    experiment, dialect, http, runs = server.experiment(), server.dialect, server.http, 20
    dialect.create(http, experiment)

    def work() -> None:
        for _ in range(runs):
            run = dialect.create(http, experiment)
            for number in range(5):
                dialect.param(http, run, f"p{number}", str(number))
            for number in range(5):
                dialect.metric(http, run, Point(f"m{number}", number / 7, 0, _now_ms()))
            dialect.end(http, run)

    return server.cost(runs, work)


def filled(server: Server, points: int) -> str:
    """A run with a series `loss` of so many points."""
    run, now = server.dialect.create(server.http, server.experiment()), _now_ms()
    for first in range(0, points, 1000):
        batch = [Point("loss", math.sin(step), step, now + step) for step in range(first, first + 1000)]
        server.dialect.batch(server.http, run, batch)
    return run


def history(server: Server, points: int) -> Callable[[Server], Cost]:
    run = filled(server, points)
    return lambda server: server.cost(4, lambda: [_read(server, run) for _ in range(4)])


def _read(server: Server, run: str) -> None:
    found = server.dialect.history(server.http, run, "loss", 25_000)
    assert found == 25_000, f"{found} points came back"


def sampled(server: Server, points: int) -> Callable[[Server], Cost]:
    run = filled(server, points)
    return lambda server: server.cost(
        4, lambda: [server.dialect.sampled(server.http, run, "loss", 1000) for _ in range(4)]
    )


def search(server: Server, runs: int, others: int) -> Callable[[Server], Cost]:
    """An experiment of `runs` runs among `others`; each has the metric `acc`."""
    wanted, beside = server.experiment(), server.experiment()
    for number in range(runs + others):
        run = server.dialect.create(server.http, wanted if number < runs else beside)
        server.dialect.metric(server.http, run, Point("acc", (number * 7919 % 10_000) / 10_000, 0, _now_ms()))
    return lambda server: server.cost(10, lambda: [server.dialect.search(server.http, wanted) for _ in range(10)])


def measured(servers: list[Server], scale: float, only: str, *, searching: bool) -> dict[str, list[Cost]]:
    """By line, what it cost each of the servers."""
    points, long, runs = int(100_000 * scale), int(1_000_000 * scale), int(10_000 * scale)
    points, long = max(points, 25_000), max(long, 10_000)
    work: dict[str, Callable[[Server], Callable[[Server], Cost]]] = {
        "log_metric, 8 connections": lambda _: log_metric,
        "log_batch of 1000 metrics": lambda _: log_batch,
        "create + 5 params + 5 metrics + end": lambda _: whole_run,
        f"history, 25k of {points:,}": lambda server: history(server, points),
        f"{long:,} points sampled to 1000": lambda server: sampled(server, long),
    }
    if searching and all(isinstance(server.dialect, Mlflow) for server in servers):
        work[f"search, {runs:,} of {int(6.1 * runs):,} runs"] = lambda server: search(server, runs, int(5.1 * runs))
    return {name: _medians(servers, made) for name, made in work.items() if only in name}


def _medians(servers: list[Server], made: Callable[[Server], Callable[[Server], Cost]]) -> list[Cost]:
    work = [made(server) for server in servers]
    rounds = [[each(server) for each, server in zip(work, servers, strict=True)] for _ in range(ROUNDS)]
    return [
        Cost(median(cost.cpu_ms for cost in costs), median(cost.elapsed_ms for cost in costs))
        for costs in zip(*rounds, strict=True)
    ]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _iso(at_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat()


def _family(pid: int) -> list[int]:
    children: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    return [pid, *(descendant for child in children for descendant in _family(int(child)))]


def _spent_ns(pid: int) -> dict[str, int]:
    """What the scheduler gave to each thread; the ticks of `stat` are too coarse for calls of 0.1 ms."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found[task.name] = int((task / "schedstat").read_text().split()[0])
    return found


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def own_server(own_api: bool) -> Iterator[Server]:
    """A server on a new home; says how long it took to answer, and what it holds."""
    with tempfile.TemporaryDirectory() as folder:
        home, began = Path(folder) / ".headway", time.perf_counter()
        command = [sys.executable, "-m", "headway.cli", "up", "--home", str(home), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder, env=_environment())
        try:
            while not (home / "server.json").exists():
                if process.poll() is not None:
                    raise RuntimeError("the server did not start")
                time.sleep(0.01)
            uri = json.loads((home / "server.json").read_text())["url"]
            Http(uri, "").ask("GET", "/health")
            print(f"started in {time.perf_counter() - began:.2f} s, resident {_resident_mb(process.pid):.0f} MB")
            yield Server(uri, (home / "tokens" / "owner").read_text().strip(), process.pid, own_api)
            print(f"resident at the end: {_resident_mb(process.pid):.0f} MB")
        finally:
            process.terminate()
            process.wait()


@contextmanager
def mlflow_server(environment: Path) -> Iterator[Server]:
    """MLflow's server from a virtual environment, as it is by default but for one worker, on a new SQLite database."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        command = [str(environment / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        command += ["--artifacts-destination", f"{folder}/artifacts"]
        path = f"{environment / 'bin'}:{os.environ['PATH']}"
        began, log = time.perf_counter(), (Path(folder) / "log").open("wb")
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "PATH": path}, start_new_session=True
        )
        try:
            _until_healthy(f"http://127.0.0.1:{port}", process)
            resident = sum(map(_resident_mb, _family(process.pid)))
            print(f"the other started in {time.perf_counter() - began:.2f} s, resident {resident:.0f} MB")
            yield Server(f"http://127.0.0.1:{port}", "", process.pid, own_api=False)
            print(f"the other, resident at the end: {sum(map(_resident_mb, _family(process.pid))):.0f} MB")
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers outlive it otherwise
            process.wait()
            log.close()


def _until_healthy(uri: str, process: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    while time.monotonic() - began < _PEER_START_S and process.poll() is None:
        try:
            Http(uri, "").ask("GET", "/health")
        except (OSError, RuntimeError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the other server does not answer at {uri}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def _print(lines: dict[str, list[Cost]]) -> None:
    beside = any(len(costs) > 1 for costs in lines.values())
    print(
        f"{'per call, ms':38}{'CPU':>9}{'elapsed':>9}" + (f"{'other':>9}{'elapsed':>9}{'ratio':>8}" if beside else "")
    )
    for name, (ours, *others) in lines.items():
        line = f"{name:38}{ours.cpu_ms:9.2f}{ours.elapsed_ms:9.2f}"
        for cpu, elapsed in others:
            ratio = elapsed / ours.elapsed_ms if math.isnan(cpu) else cpu / ours.cpu_ms
            line += f"{cpu:9.2f}{elapsed:9.2f}{ratio:8.1f}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("uri", "beside"):
        parser.add_argument(f"--{name}")
        parser.add_argument("--pid" if name == "uri" else f"--{name}-pid", type=int)
    parser.add_argument("--peer", type=Path, help="a virtual environment with MLflow's server")
    parser.add_argument("--token", default=os.environ.get("HEADWAY_TOKEN", ""))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the points and runs to fill in")
    parser.add_argument("--only", default="", help="just the lines with this in their name")
    parser.add_argument("--own-api", action="store_true", help="speak Headway's API to the first server")
    parser.add_argument("--search", action="store_true", help="also fill in 61k runs and search them: minutes")
    asked = parser.parse_args()
    with ExitStack() as stack:
        servers = [
            Server(asked.uri, asked.token, asked.pid, asked.own_api)
            if asked.uri
            else stack.enter_context(own_server(asked.own_api))
        ]
        if asked.beside:
            servers.append(Server(asked.beside, "", asked.beside_pid, own_api=False))
        elif asked.peer:
            servers.append(stack.enter_context(mlflow_server(asked.peer)))
        lines = measured(servers, asked.scale, asked.only, searching=asked.search)
    _print(lines)


if __name__ == "__main__":
    main()
