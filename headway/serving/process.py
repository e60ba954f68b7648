"""One process of a model server: its parts, wired, and run until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import socket
import sys
from types import FrameType
from typing import NamedTuple

import uvloop

from headway.engines.telemetry import SERVED_SHARE, Telemetry, open_telemetry
from headway.errors import BadSettings
from headway.serving.blob_folder import BlobFolder
from headway.serving.buckets import SharedBuckets
from headway.serving.capture.budget import Budget
from headway.serving.capture.pace import Pace
from headway.serving.capture.queue import Capture
from headway.serving.capture.shipping import Shipper, url_in
from headway.serving.core import Core
from headway.serving.counters import ServerCounters
from headway.serving.deployments import Deployments
from headway.serving.dialects.parquet import ParquetRequests
from headway.serving.door import Door
from headway.serving.heap import return_early
from headway.serving.http.listener import Listener, Service
from headway.serving.inference import Inference
from headway.serving.responder import Responder
from headway.serving.router import Router
from headway.serving.runtimes.memory import OnnxModels
from headway.serving.siblings import Siblings
from headway.serving.sockets import listening_socket, shared_socket
from headway.serving.turn import Turn
from headway.serving.watch import Watch

_SWITCH_INTERVAL_S = 0.0005
_COLLECT_AFTER = (20_000, 20, 20)
"""Requests make no circles, so that collecting often only costs time."""
_STDIN = 0

log = logging.getLogger("headway.serving")


class Shared(NamedTuple):
    """What all deployments of a process have in common."""

    files: BlobFolder
    onnx: OnnxModels
    turn: Turn
    watch: Watch
    pace: Pace
    budget: Budget
    telemetry: Telemetry | None
    parquet: ParquetRequests | None


def serve(settings: argparse.Namespace) -> None:
    """Return once SIGTERM or SIGINT, or the end of the parent of a worker, has stopped it in order."""
    signal.signal(signal.SIGTERM, _exit)
    return_early()
    # The thread that writes segments must not hold the interpreter for the usual 5 ms while requests wait.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        settings.spool.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSettings(
            f"--spool {str(settings.spool)!r} cannot be a folder: {error.strerror}; name another"
        ) from None
    shared = settings.slot is not None
    listening = _bound(settings, settings.port)
    telemetry = open_telemetry("headway-model-server", SERVED_SHARE)
    parquet = ParquetRequests()
    responder = build(settings, telemetry, parquet)
    log.info("start", extra={"facts": {"pid": os.getpid(), "host": settings.host, "port": settings.port}})
    gc.set_threshold(*_COLLECT_AFTER)
    listener = Listener(responder, request_timeout_s=settings.request_timeout_s)
    parent = _STDIN if shared else None
    uvloop.run(listener.serve(listening, _beside(responder, settings), parent))
    parquet.close()
    if telemetry:
        telemetry.close()
    log.info("stopped", extra={"facts": {"pid": os.getpid()}})


def build(
    settings: argparse.Namespace, telemetry: Telemetry | None = None, parquet: ParquetRequests | None = None
) -> Core:
    """The parts of a server, wired: of one deployment, or of all those whose tables are in a folder."""
    files = BlobFolder(settings.blobs)
    budget = Budget(settings.capture_bytes)
    shared = Shared(files, OnnxModels(files), Turn(), Watch(), Pace(), budget, telemetry, parquet)
    if not settings.routing.is_dir():
        return _responder(settings, shared)

    def opened(name: str) -> Responder:
        folders = {"routing": settings.routing / f"{name}.json", "spool": settings.spool / name}
        folders["siblings"] = settings.siblings and settings.siblings / name
        for folder in filter(None, (folders["spool"], folders["siblings"])):
            folder.mkdir(parents=True, exist_ok=True)
        return _responder(argparse.Namespace(**{**vars(settings), **folders}), shared)

    return Deployments(settings.routing, opened, settings.body_bytes, shared.turn)


def _responder(settings: argparse.Namespace, shared: Shared) -> Responder:
    apart = settings.spool / "workers" / str(settings.slot or 0)
    router = Router(settings.routing, shared.files, apart, shared.onnx, settings.environments)
    counters = ServerCounters()
    shipper = Shipper(
        settings.spool,
        lambda: settings.control or (url_in(settings.control_file) if settings.control_file else ""),
        settings.token_file,
        lambda: router.active.table.deployment if router.active else "",
    )
    capture = Capture(settings.spool, shipper, settings.capture_rows, shared.pace, shared.budget)
    siblings = None if settings.slot is None else Siblings(settings.siblings, settings.slot)
    door = Door(buckets=None if settings.slot is None else SharedBuckets(settings.siblings / "buckets"))
    inference = Inference(counters, capture, shared.telemetry, door)
    limit = settings.body_bytes
    return Responder(
        router, inference, counters, capture, limit, siblings, shared.parquet, shared.turn, shared.watch,
        must_load=settings.must_load, ends=settings.ends,
    )  # fmt: skip


def _beside(core: Core, settings: argparse.Namespace) -> tuple[Service, ...]:
    if settings.grpc_port is None:
        return ()
    if not isinstance(core, Responder):
        raise BadSettings("--grpc-port takes one routing table, not a folder of them")
    from headway.serving.grpc.service import GrpcService  # noqa: PLC0415

    bound = _bound(settings, settings.grpc_port)
    return (GrpcService(core.inference, core.about, core, bound, settings.request_timeout_s),)


def _bound(settings: argparse.Namespace, port: int) -> socket.socket:
    """A port of its own is taken at once, and so is refused at once; at one that is shared nobody may wait for a worker
    that is not ready, when others are."""
    return (listening_socket if settings.slot is None else shared_socket)(settings.host, port)


def _exit(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM before or after the listener takes it: leave as one who was asked to."""
    raise SystemExit(0)
