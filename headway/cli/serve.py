"""`headway serve`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.client.home import find_home
from headway.errors import BadSettings, ExtraMissing, Invalid, NotFound, NotTrusted
from headway.kernel.ids import kind_of
from headway.kernel.naming import checked_name
from headway.kernel.records import digest, encode
from headway.lifecycle.models.records import Form, ModelVersion, PythonRuntime
from headway.lifecycle.rollouts.routing import Route, RoutingTable

_UNCAPTURED = ("--capture-rows", "0")


@click.command(cls=Verb)
@click.option(
    "--model", required=True, metavar="PATH|NAME[@NUMBER]",
    help="A file (.onnx, .skops, .txt of LightGBM, .ubj or .json of XGBoost, .pt2), a folder (of MLflow, or with "
    "model.py), or a model version.",
)  # fmt: skip
@click.option("--name", default="model", show_default=True, help="What the model is called in URLs.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="The port to listen on.")
@click.option(
    "--grpc-port", type=click.IntRange(1, 65535), help="Answer the Open Inference Protocol over gRPC there, too."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on; nobody is asked for a token."
)
@click.option("--score", default=None, help="The output to judge by, if it is not clear.")
@click.option(
    "--spool", type=click.Path(file_okay=False, path_type=Path), help="Keep requests and answers here, as Parquet."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that share the port."
)
@click.option("--trust", is_flag=True, help="Run what the model holds, whatever it is, in an isolated worker.")
@click.option("--python", default="", help="The interpreter for a model that is not ONNX: /path/venv/bin/python.")
@pass_invocation
def serve(
    invocation: Invocation, /, model: str, name: str, port: int, grpc_port: int | None, host: str, score: str | None,
    spool: Path | None, workers: int, trust: bool, python: str,
) -> None:  # fmt: skip
    """Serve one model, without project, release or control plane."""
    checked_name(name, "model")
    try:
        from headway.engines.runtimes.environments import FOLDER  # noqa: PLC0415
        from headway.serving.sockets import must_be_free  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"serving needs {error.name}: pip install 'headway[ml]'") from None
    if python and not Path(python).is_absolute():
        raise BadSettings(f"--python {python!r} must be a whole path")
    must_be_free(host, [port] if grpc_port is None else [port, grpc_port])
    runtime = PythonRuntime(python=python)
    with _blobs() as blobs:
        route = _route(invocation, model, score, blobs, runtime)
        if route.form is not Form.ONNX:
            route = route.but(python=runtime, trust=route.trust or ("--trust" if trust else ""))
        if route.form.may_hold_code and not route.trust:
            raise NotTrusted(f"{model} may hold any code; who knows where it comes from runs it with --trust")
        routing = blobs.folder / "routing.json"
        routing.write_bytes(encode(RoutingTable(deployment=name, generation=1, routes=(route.but(model=name),))))
        at = f"[{host}]" if ":" in host else host
        click.echo(f"Serving {model} at http://{at}:{port}/v2/models/{name}; Ctrl-C stops it.")
        told = ["--routing", routing, "--blobs", blobs.folder, "--spool", spool or blobs.folder / "spool"]
        told += ["--host", host, "--port", port, "--workers", workers, "--must-load"]
        told += ["--environments", find_home(invocation.home) / FOLDER]
        told += [] if grpc_port is None else ["--grpc-port", grpc_port]
        told += [] if spool else _UNCAPTURED
        _become_server(list(map(str, told)), blobs.folder)


class _Blobs:
    """What is to be served, by its digest, as a model server finds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        name = digest(data)
        file = self.folder / name[3:5] / name[5:]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        return name


@contextmanager
def _blobs() -> Iterator[_Blobs]:
    """Taken away again where it does not come to serving: the server does so itself."""
    folder = Path(tempfile.mkdtemp(prefix="headway-serve-"))
    try:
        yield _Blobs(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _become_server(arguments: Sequence[str], scratch: Path) -> None:
    """Go on as a process that has imported nothing but what serving takes: to look at a model takes 200 MiB more.

    Signals wait meanwhile, so that none meets a process that does not yet know what it has to tidy up.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    command = [sys.executable, "-P", "-m", "headway.serving.main", *arguments, "--scratch", str(scratch)]
    os.execv(sys.executable, command)


def _route(invocation: Invocation, model: str, score: str | None, blobs: _Blobs, runtime: PythonRuntime) -> Route:
    path = Path(model)
    try:
        if path.exists():
            return _given(path, score, blobs, runtime)
    except OSError as error:
        raise Invalid(
            f"{model[:200]} cannot be read: {error.strerror}; let this user read it, or name another"
        ) from None
    if kind_of(model) == ModelVersion.prefix or "@" in model:
        return _version(invocation, model, blobs)
    try:
        return _version(invocation, model, blobs)
    except NotFound:
        raise NotFound(f"there is no file, folder or model {model!r}; name a path, NAME or NAME@NUMBER") from None


def _given(path: Path, score: str | None, blobs: _Blobs, runtime: PythonRuntime) -> Route:
    """A file or folder as it is; nothing is converted, since there are no rows to compare on."""
    from headway.engines.models.given import model_at  # noqa: PLC0415

    made = model_at(path, score=score, runtime=runtime)
    for data in made.files:
        blobs.put(data)
    blob = blobs.put(made.data)
    return Route(
        release=blob[:15], model="", version=1, blob=blob, signature=made.signature, percent=100, form=made.form,
        feeding=made.feeding,
    )  # fmt: skip


def _version(invocation: Invocation, reference: str, blobs: _Blobs) -> Route:
    """A version as it is kept; what an operator has trusted needs no word here."""
    client = invocation.client
    version = client.models.version(reference)
    data = client.blobs.get(version.blob)
    trust = client.models.trust_of(version)
    for file in version.files:
        blobs.put(client.blobs.get(file.blob))
    return Route(
        release=version.label, model="", version=version.number, blob=blobs.put(data), signature=version.signature,
        percent=100, contract=version.contract, form=version.form, feeding=version.feeding, trust=trust,
        lock=version.lock or "",
    )  # fmt: skip
