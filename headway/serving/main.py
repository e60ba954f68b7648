"""The process of a model server: `python -m headway.serving.main --routing FILE --blobs DIR --spool DIR --port P`.

It needs nothing but its files: it starts, serves and captures while the control plane is away.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvloop

from headway.errors import ExtraMissing
from headway.serving.capture import Capture
from headway.serving.counters import ServerCounters
from headway.serving.inference import Inference
from headway.serving.listener import Listener, Service, listening_socket
from headway.serving.log import log_to_stderr
from headway.serving.responder import Responder
from headway.serving.router import BlobFolder, Router
from headway.serving.shipping import Shipper, url_in

REQUEST_TIMEOUT_S = 30.0
_SWITCH_INTERVAL_S = 0.0005

log = logging.getLogger("headway.serving")


def main(arguments: Sequence[str] | None = None) -> None:
    settings = _parser().parse_args(arguments)
    log_to_stderr()
    signal.signal(signal.SIGTERM, _exit)
    # The thread that writes segments must not hold the interpreter for the usual 5 ms while requests wait.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    settings.spool.mkdir(parents=True, exist_ok=True)
    listening = listening_socket(settings.host, settings.port)
    responder = build(settings)
    log.info("start", extra={"facts": {"pid": os.getpid(), "host": settings.host, "port": settings.port}})
    gc.freeze()
    listener = Listener(responder, request_timeout_s=settings.request_timeout_s)
    uvloop.run(listener.serve(listening, _beside(responder, settings)))
    log.info("stopped", extra={"facts": {"pid": os.getpid()}})


def build(settings: argparse.Namespace) -> Responder:
    """The parts of a server, wired."""
    router, counters = (
        Router(settings.routing, BlobFolder(settings.blobs), settings.spool / "workers"),
        ServerCounters(),
    )
    shipper = Shipper(
        settings.spool,
        lambda: settings.control or (url_in(settings.control_file) if settings.control_file else ""),
        settings.token_file,
        lambda: router.active.table.deployment if router.active else "",
    )
    capture = Capture(settings.spool, shipper, settings.capture_rows)
    return Responder(router, Inference(counters, capture), counters, capture, settings.body_bytes)


def _beside(responder: Responder, settings: argparse.Namespace) -> tuple[Service, ...]:
    if settings.grpc_port is None:
        return ()
    try:
        from headway.serving.grpc_service import GrpcService  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"--grpc-port needs {error.name}: pip install 'headway[grpc]'") from None
    address = f"{settings.host}:{settings.grpc_port}"
    return (GrpcService(responder.inference, responder.about, address, responder.most_bytes),)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headway.serving.main", description="Serve one deployment.")
    parser.add_argument("--routing", type=Path, required=True, help="the routing table, watched")
    parser.add_argument("--blobs", type=Path, required=True, help="folder of the models, by digest")
    parser.add_argument("--spool", type=Path, required=True, help="folder for segments until they are sent")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, help="answer gRPC there, too")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--control", help="URL of the control plane; without it segments stay in the spool")
    parser.add_argument("--control-file", type=Path, help="or the file with its URL, read again at each send")
    parser.add_argument("--token-file", type=Path, help="holds the token for the control plane")
    parser.add_argument("--body-bytes", type=int, default=8 * 2**20, help="largest body of a request")
    parser.add_argument(
        "--request-timeout-s", type=float, default=REQUEST_TIMEOUT_S,
        help="how long a client may take to send a request or to take its answer",
    )  # fmt: skip
    parser.add_argument("--capture-rows", type=int, default=200_000, help="most rows that wait in memory")
    return parser


def _exit(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM before or after the listener takes it: leave as one who was asked to."""
    raise SystemExit(0)


if __name__ == "__main__":
    main()
