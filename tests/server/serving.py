"""Real control planes in processes of their own, on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from headway.server.home import Home, Serving

_PROGRAM = """
import json
import sys
from dataclasses import replace
from urllib.request import urlopen
from headway.server.app import compose
from headway.server.settings import Settings
from headway.server.up import serve

application = compose(Settings.of(sys.argv[1], port=0, **json.loads(sys.argv[2])))

class Engine:
    def start(self):
        print("started", file=sys.stderr)

    def stop(self):
        answer = urlopen(application.home.serving().url + "/health")
        print("stopped, still answered", answer.status, file=sys.stderr)

serve(replace(application, engines=(Engine(),)))
"""
LAST_WORDS = "started\nstopped, still answered 200\n"


def start(home: Path, **settings: Any) -> subprocess.Popen[str]:
    """A server with one engine, which asks the server something while it is stopped."""
    command = [sys.executable, "-c", _PROGRAM, str(home), json.dumps(settings)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def running(home: Path, process: subprocess.Popen[str]) -> Serving:
    """Where it serves, once it says so."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        said = Home(home).serving()
        if said is not None and said.pid == process.pid:
            return said
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("the server does not start")


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Exit code and last words after a signal."""
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    return process.returncode, said


@contextmanager
def served(home: Path, **settings: Any) -> Iterator[httpx2.Client]:
    """A client of a server on `home`, signed in as its owner."""
    process = start(home, **settings)
    try:
        said = running(home, process)
        headers = {"authorization": f"Bearer {Home(home).token('owner').read_text()}"}
        with httpx2.Client(base_url=said.url, headers=headers, timeout=30) as client:
            yield client
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@dataclass
class Up:
    """`headway up` on a home, and a client signed in as its owner."""

    home: Path
    command: list[str]
    process: subprocess.Popen[str]
    client: httpx2.Client

    def kill_and_start(self) -> None:
        """`kill -9`, and the same command again."""
        self.process.kill()
        self.process.communicate()
        self.client.close()
        self.process = _begun(self.command)
        self.client = _client(self.home, self.process)


@contextmanager
def up(home: Path, *options: str) -> Iterator[Up]:
    command = [sys.executable, "-m", "headway.cli", "up", "--home", str(home), "--port", "0", *options]
    process = _begun(command)
    made = None
    try:
        made = Up(home, command, process, _client(home, process))
        yield made
        assert ended(made.process)[0] == 0
    finally:
        last = made.process if made else process
        if last.poll() is None:
            last.kill()
        last.communicate()
        if made:
            made.client.close()


def _begun(command: list[str]) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWAY_")}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/"
    )


def _client(home: Path, process: subprocess.Popen[str]) -> httpx2.Client:
    url = running(home, process).url
    headers = {"authorization": f"Bearer {Home(home).token('owner').read_text()}"}
    return httpx2.Client(base_url=url, headers=headers, timeout=30)
