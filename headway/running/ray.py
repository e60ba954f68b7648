"""Steps on a Ray cluster: the same pipeline, keys and results; only where a step runs is another place.

The run's own process stays here and is Ray's driver. A step is one Ray task with the resources of its limits, on a
worker that has the project's folder as its own copy. Small artifacts travel with the task; large ones go over HTTP to
the control plane, content-addressed, so the nodes must reach it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from headway.client.client import Client
from headway.engines.execution.endings import Stopped, TimedOut, WorkerLost
from headway.engines.execution.output import StepOutput
from headway.engines.execution.perform import perform
from headway.engines.execution.stepper import limited
from headway.engines.execution.wire import Call, Done, Failed
from headway.engines.pipelines import scratch
from headway.engines.pipelines.project import code_of
from headway.engines.pipelines.sources import open_project
from headway.errors import ExtraMissing, Invalid, Unavailable, first_line
from headway.kernel.records import encode
from headway.lifecycle.runs.limits import StepLimits
from headway.lifecycle.runs.records import Run

LOCAL = "local"
_LOOK_S = 0.2
_MIB = 2**20
_LEFT_OUT = (".headway", ".git", ".venv", "__pycache__")


class Order(msgspec.Struct, frozen=True):
    """All that a node is told: the call, where the platform is, and where the project is in its copy."""

    call: Call
    url: str
    token: str
    project: str


class Cluster:
    """A connection to a cluster: `address` is that of one, or `local` for one of this process alone."""

    def __init__(self, address: str, client: Client, folder: Path, cpus: int = 0) -> None:
        if not address:
            raise Invalid("the executor ray needs --address: that of a cluster, such as 10.0.0.1:6379, or local")
        if not client.address:
            raise Invalid(
                "the nodes of a cluster must reach the platform, and none runs as a server here; start one with "
                "`headway up`, or name one by --url"
            )
        self.ray = _ray()
        self._client, self._folder, self._temporary = client, folder.resolve(), ""
        self._project = code_of(self._folder).digest
        self._connect(address, cpus)

    def _connect(self, address: str, cpus: int) -> None:
        if self.ray.is_initialized():
            raise Invalid("Ray is connected already in this process; Headway connects by itself, with its own settings")
        settings: dict[str, Any] = {
            "runtime_env": {"working_dir": str(self._folder), "excludes": list(_LEFT_OUT)}, "log_to_driver": False,
            "configure_logging": False, "address": address,
        }  # fmt: skip
        if address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            self._temporary = tempfile.mkdtemp(prefix="hw-ray-", dir="/tmp")  # a socket takes only a short path
            settings |= {"_temp_dir": self._temporary, "include_dashboard": False}
            settings |= {"num_cpus": cpus} if cpus else {}
        # Ray prints what happens to the cluster, which must not come between what a program reads from ours.
        self._output, sys.stdout = sys.stdout, sys.stderr
        try:
            self.ray.init(**settings)
        except (ConnectionError, ValueError, RuntimeError) as error:
            self._clear()
            raise Unavailable(f"no Ray cluster answers at {address}: {first_line(error)}") from error

    @property
    def cpus(self) -> int:
        return max(int(self.ray.cluster_resources().get("CPU", 1)), 1)

    @property
    def gpus(self) -> int:
        return int(self.ray.cluster_resources().get("GPU", 0))

    def submit(self, call: Call, run: Run, limits: StepLimits) -> Any:
        """The step as a task; gives what it will give. Lost ones are counted by who asks, and not begun anew here."""
        largest = max((int(node["Resources"].get("CPU", 0)) for node in self.ray.nodes() if node["Alive"]), default=1)
        options: dict[str, Any] = {"num_cpus": min(limits.cpus, max(largest, 1)), "max_retries": 0}
        options |= {"num_gpus": limits.gpus} if limits.gpus else {}
        options |= {"memory": limits.memory_mb * _MIB} if limits.memory_mb else {}
        told = msgspec.structs.replace(call, run=call.run or encode(run), gpus=None)
        order = Order(told, self._client.address, self._client.token, self._project)
        return self.ray.remote(**options)(on_a_node).remote(msgspec.msgpack.encode(order))

    def places(self, run: Run) -> RayPlaces:
        return RayPlaces(self, run, shared=True)

    def close(self) -> None:
        self.ray.shutdown()
        self._clear()

    def _clear(self) -> None:
        sys.stdout = self._output
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


class RayPlaces:
    """The cluster, for the steps of one run. One that is `shared` stays connected when these are closed."""

    def __init__(self, cluster: Cluster, run: Run, *, shared: bool = False) -> None:
        self.cluster, self.run, self.stopped, self._shared = cluster, run, False, shared

    def place(self, limits: StepLimits) -> RayPlace:
        return RayPlace(self)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        if not self._shared:
            self.cluster.close()


class RayPlace:
    """Waits for one task at a time."""

    def __init__(self, places: RayPlaces) -> None:
        self._places, self._ray = places, places.cluster.ray

    def perform(self, call: Call, output: StepOutput, limits: StepLimits) -> Done | Failed:
        exceptions, waited = self._ray.exceptions, 0.0
        task = self._places.cluster.submit(call, self._places.run, limits)
        try:
            while not self._ray.wait([task], timeout=_LOOK_S)[0]:
                waited += _LOOK_S
                if self._places.stopped:
                    raise Stopped
                if limits.timeout_s and waited > limits.timeout_s:
                    raise TimedOut
            answer, printed = self._ray.get(task)
        except (Stopped, TimedOut):
            with contextlib.suppress(Exception):
                self._ray.cancel(task, force=True)
            raise
        except exceptions.RayTaskError as error:
            raise WorkerLost(f"its node could not begin it: {str(error).splitlines()[-1]}") from None
        except exceptions.RayError as error:
            raise WorkerLost(f"its node or its worker is gone: {type(error).__name__}") from None
        output.feed(printed)
        return msgspec.msgpack.decode(answer, type=Done | Failed)

    def close(self) -> None: ...


def on_a_node(data: bytes) -> tuple[bytes, bytes]:
    """Runs in a worker of Ray, in its copy of the project: the answer, and what the step printed."""
    from headway.running.step_worker import open_remote  # noqa: PLC0415

    order = msgspec.msgpack.decode(data, type=Order)
    folder = Path.cwd()
    _open_copy(folder, order.project)
    call = order.call
    with _printing() as printed, open_remote(order.url, order.token, call.run) as desk, limited(call.memory_mb):
        answer = perform(call, folder, desk.get, desk.put, desk.flush, desk.file)
    scratch.clear()
    return msgspec.msgpack.encode(answer), printed.read()


_opened: set[Path] = set()


def _open_copy(folder: Path, project: str) -> None:
    """Once for a worker: its copy of the project, if it is whole."""
    if folder in _opened:
        return
    if code_of(folder).digest != project:
        raise Unavailable("the node's copy of the project is another one; does .gitignore leave out code of it?")
    open_project(folder)
    _opened.add(folder)


class _Printed:
    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self) -> bytes:
        self._file.seek(0)
        data: bytes = self._file.read()
        return data


@contextlib.contextmanager
def _printing() -> Iterator[_Printed]:
    """Standard output and error of this process, also of what it starts, into a file."""
    with tempfile.TemporaryFile() as file:
        kept = [os.dup(number) for number in (1, 2)]
        sys.stdout.flush()
        sys.stderr.flush()
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield _Printed(os.fdopen(os.dup(file.fileno()), "rb"))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415
    except ImportError as error:
        raise ExtraMissing(f"the executor ray needs Ray ({error.name}): pip install 'headway[ray]'") from None
    return ray
