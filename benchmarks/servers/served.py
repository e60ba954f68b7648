"""A server as a tree of processes: how long it took to answer, what it costs, how much memory it holds."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

START_TIMEOUT_S = 120.0


class Served:
    """Raises `RuntimeError` with the end of its log when the server ends, or does not answer `request` in time."""

    def __init__(self, command: list[str], port: int, request: bytes, log: Path, folder: Path) -> None:
        self.port = port
        began = time.perf_counter()
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder)
        self._watched = psutil.Process(self._process.pid)
        while not answers(port, request):
            if self._process.poll() is not None or time.perf_counter() - began > START_TIMEOUT_S:
                self.stop()
                raise RuntimeError(log.read_text()[-1500:])
            time.sleep(0.02)
        self.start_s = time.perf_counter() - began

    def cpu_s(self) -> float:
        return sum(cpu_s(process) for process in self._tree())

    def memory_mib(self) -> float:
        return float(sum(process.memory_info().rss for process in self._tree()) / 2**20)

    def post(self, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", path)
            connection.getresponse().read()
        finally:
            connection.close()

    def stop(self) -> None:
        tree = self._tree()
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, left = psutil.wait_procs(tree, timeout=10)
        for process in left:
            process.kill()
        self._process.wait()

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return [self._watched, *self._watched.children(recursive=True)]
        return []


def cpu_s(process: psutil.Process) -> float:
    """Linux tells the nanosecond, by the clock of the process as `clock_getcpuclockid` names it; elsewhere it is
    hundredths of a second."""
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)
    return float(sum(process.cpu_times()[:2]))


def answers(port: int, request: bytes) -> bool:
    """Whether an inference request is answered with 200."""
    head, _, body = request.partition(b"\r\n\r\n")
    path = head.split()[1].decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", path, body, headers_of(head))
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def headers_of(head: bytes) -> Mapping[str, str]:
    lines = head.decode().split("\r\n")[1:]
    return {name: value for name, _, value in (line.partition(": ") for line in lines) if name != "host"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
