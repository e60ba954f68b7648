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

import uvicorn

from headway.serving.app import App
from headway.serving.capture import Capture
from headway.serving.connection import BoundedConnection
from headway.serving.counters import ServerCounters
from headway.serving.inference import Inference
from headway.serving.log import log_to_stderr
from headway.serving.router import BlobFolder, Router
from headway.serving.shipping import Shipper, url_in

DRAIN_TIMEOUT_S = 30
_SWITCH_INTERVAL_S = 0.0005

log = logging.getLogger("headway.serving")


def main(arguments: Sequence[str] | None = None) -> None:
    settings = _parser().parse_args(arguments)
    log_to_stderr()
    signal.signal(signal.SIGTERM, _exit)
    # The thread that writes segments must not hold the interpreter for the usual 5 ms while requests wait.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    settings.spool.mkdir(parents=True, exist_ok=True)
    server = uvicorn.Server(_config(build(settings), settings))
    log.info("start", extra={"facts": {"pid": os.getpid(), "host": settings.host, "port": settings.port}})
    gc.freeze()
    server.run()
    log.info("stopped", extra={"facts": {"pid": os.getpid()}})


def build(settings: argparse.Namespace) -> App:
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
    return App(router, Inference(counters, capture), counters, capture, settings.body_bytes)


def _config(app: App, settings: argparse.Namespace) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=type("Connection", (BoundedConnection,), {"request_timeout_s": settings.request_timeout_s}),
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN_TIMEOUT_S,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headway.serving.main", description="Serve one deployment.")
    parser.add_argument("--routing", type=Path, required=True, help="the routing table, watched")
    parser.add_argument("--blobs", type=Path, required=True, help="folder of the models, by digest")
    parser.add_argument("--spool", type=Path, required=True, help="folder for segments until they are sent")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--control", help="URL of the control plane; without it segments stay in the spool")
    parser.add_argument("--control-file", type=Path, help="or the file with its URL, read again at each send")
    parser.add_argument("--token-file", type=Path, help="holds the token for the control plane")
    parser.add_argument("--body-bytes", type=int, default=8 * 2**20, help="largest body of a request")
    parser.add_argument(
        "--request-timeout-s", type=float, default=BoundedConnection.request_timeout_s,
        help="how long a client may take to send a request or to take its answer",
    )  # fmt: skip
    parser.add_argument("--capture-rows", type=int, default=200_000, help="most rows that wait in memory")
    return parser


def _exit(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM before or after uvicorn listens for it itself: leave as one who was asked to."""
    raise SystemExit(0)


if __name__ == "__main__":
    main()
