"""A project in a folder of its own, the real server that runs it, and people who are signed in to it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]

from headway.client.client import Client
from headway.client.connect import connect
from headway.client.home import running_server
from headway.errors import NotFound
from headway.kernel.access import Role
from headway.lifecycle.changes.records import Change, OpenChange, Stage

PROJECT = Path(__file__).parent / "orders"
DEPLOYMENT = "lateness"
PATIENCE_S = 60.0
_LOOK_S = 0.02

Answer = TypeVar("Answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(look: Callable[[], Answer | None], what: str, patience_s: float = PATIENCE_S) -> Answer:
    """The first answer of `look` that is something."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        answer = look()
        if answer:
            return answer
        time.sleep(_LOOK_S)
    raise AssertionError(f"{what}: waited {patience_s:g} s in vain")


class World:
    """`headway up` on a copy of the project; it may be killed and started again."""

    def __init__(
        self, folder: Path, *, project: Path = PROJECT, deployment: str = DEPLOYMENT, home: Path | None = None
    ) -> None:
        """With `home`, on a copy of that one, which must be down."""
        self.folder, self.deployment = folder, deployment
        self.project, self.home, self.port = folder / "project", folder / "home", free_port()
        shutil.copytree(project, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        if home:
            shutil.copytree(home, self.home)
        self._clients: dict[str, Client] = {}
        self.began_at = datetime.now(UTC)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> World:
        self.process = self.up()
        process = self.process

        def ready() -> bool:
            assert process.poll() is None, self.log()
            return running_server(self.home) == self.url and f'"pid":{process.pid}' in self._note()

        until(ready, "the server starts")
        return self

    def up(self, *options: str) -> subprocess.Popen[bytes]:
        """Start `headway up` and return at once."""
        command = [sys.executable, "-m", "headway.cli", "up", "--home", str(self.home), "--port", str(self.port)]
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.home / "up.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *options], cwd=self.project, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.env,
            )  # fmt: skip

    @property
    def up_and_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def env(self) -> dict[str, str]:
        """Without what leads elsewhere. One thread for each library: the machine is shared."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HEADWAY_")}
        return kept | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(PROJECT.parents[2])}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def move(self) -> None:
        """From now on it is started at another port."""
        self._sign_off()
        self.port = free_port()

    def kill(self) -> None:
        """End the control plane as a power cut would: nothing else is told."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        self._sign_off()
        if self.up_and_running:
            self.stop()

    def processes(self) -> dict[int, list[str]]:
        """Everything that runs in the project's folder, by pid its command line: the server, workers and what they
        started, model servers."""
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder):
                    found[process.pid] = process.cmdline()
        return found

    def log(self) -> str:
        return (self.home / "up.log").read_text(errors="replace")

    def token(self, name: str, role: Role) -> str:
        """The secret of a new person of this role."""
        return self.owner.tokens.create(name, role).secret

    def client(self, name: str, role: Role) -> Client:
        if name not in self._clients:
            self._clients[name] = connect(self.url, token=self.token(name, role))
        return self._clients[name]

    @property
    def owner(self) -> Client:
        if "owner" not in self._clients:
            self._clients["owner"] = connect(self.url, home=self.home)
        return self._clients["owner"]

    @property
    def author(self) -> Client:
        return self.client("author", Role.AUTHOR)

    @property
    def approver(self) -> Client:
        return self.client("approver", Role.APPROVER)

    def open(
        self, pipeline: str = "train", *, client: Client | None = None, break_glass: str = "", **params: str
    ) -> int:
        """The number of a new change that runs the pipeline."""
        command = OpenChange(deployment=self.deployment, pipeline=pipeline, params=params, break_glass=break_glass)
        return (client or self.author).changes.open(command).number

    def change(self, number: int) -> Change:
        return self.owner.changes.get(str(number))

    def reached(self, number: int, stage: Stage, patience_s: float = PATIENCE_S) -> Change:
        """The change once it has come to `stage`; one that ends before is an error."""

        def look() -> Change | None:
            change = self.change(number)
            if any(moment.stage is stage for moment in change.history):
                return change
            assert not change.over, f"change {number} ended {change.stage}: {change.reason}"
            return None

        return until(look, f"change {number} is {stage}", patience_s)

    def ready(self) -> bool:
        """Whether the endpoint answers."""
        try:
            return self.owner.deployments.endpoint(self.deployment).ready
        except NotFound:
            return False

    def _sign_off(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _note(self) -> str:
        try:
            return (self.home / "server.json").read_text()
        except FileNotFoundError:
            return ""
