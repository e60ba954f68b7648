"""`headway serve`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from headway.cli.nouns import Verb
from headway.errors import ExtraMissing
from headway.kernel.naming import checked_name
from headway.kernel.records import digest, encode
from headway.lifecycle.rollouts.routing import Route, RoutingTable

_UNCAPTURED = ("--capture-rows", "0")


@click.command(cls=Verb)
@click.option(
    "--model", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="The ONNX file."
)
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
def serve(
    model: Path,
    name: str,
    port: int,
    grpc_port: int | None,
    host: str,
    score: str | None,
    spool: Path | None,
    workers: int,
) -> None:
    """Serve one ONNX file, without project, release or control plane."""
    checked_name(name, "model")
    try:
        from headway.engines.models.scoring import signature_of  # noqa: PLC0415
        from headway.serving.main import main  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"serving needs {error.name}: pip install 'headway[ml]'") from None
    data = model.read_bytes()
    blob = digest(data)
    route = Route(
        release=blob[:15], model=name, version=1, blob=blob, signature=signature_of(data, score), percent=100
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="headway-serve-") as temporary:
        folder = Path(temporary)
        file = folder / blob[3:5] / blob[5:]
        file.parent.mkdir()
        file.write_bytes(data)
        routing = folder / "routing.json"
        routing.write_bytes(encode(RoutingTable(deployment=name, generation=1, routes=(route,))))
        click.echo(f"Serving {model} at http://{host}:{port}/v2/models/{name}; Ctrl-C stops it.")
        told = ["--routing", routing, "--blobs", folder, "--spool", spool or folder / "spool", "--host", host]
        grpc = () if grpc_port is None else ("--grpc-port", str(grpc_port))
        main([*map(str, told), "--port", str(port), "--workers", str(workers), *grpc, *(() if spool else _UNCAPTURED)])
