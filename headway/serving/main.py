"""The process of a model server: `python -m headway.serving.main --routing FILE --blobs DIR --spool DIR --port P`.

It needs nothing but its files: it starts, serves and captures while the control plane is away. With `--workers` it is
the parent of so many processes that share its port.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from headway.errors import HeadwayError, Unavailable
from headway.serving.capture.budget import MOST_BYTES
from headway.serving.log import log_to_stderr
from headway.serving.sockets import must_be_free, reserved_port
from headway.serving.supervisor import Supervisor

REQUEST_TIMEOUT_S = 30.0
MOST_WORKERS = 64
_BAD_SETTINGS, _UNAVAILABLE, _INTERRUPTED = 2, 3, 130
"""The exit codes, as those of the command line."""

log = logging.getLogger("headway.serving")


def main(arguments: Sequence[str] | None = None) -> None:
    told = list(sys.argv[1:] if arguments is None else arguments)
    settings = _parser().parse_args(told)
    log_to_stderr()
    with _scratch(settings.scratch if settings.slot is None else None):
        _serve(settings, told)


def _serve(settings: argparse.Namespace, told: Sequence[str]) -> None:
    ports = [port for port in (settings.port, settings.grpc_port) if port is not None]
    if settings.slot is None:
        must_be_free(settings.host, ports)
    if settings.workers > 1 and settings.slot is None:
        sys.exit(_supervise(settings, told, ports))
    # Not above: a parent of workers needs a tenth of the memory without it.
    from headway.serving.process import serve  # noqa: PLC0415

    serve(settings)


def _supervise(settings: argparse.Namespace, told: Sequence[str], ports: Sequence[int]) -> int:
    with ExitStack() as held:
        for port in ports:
            held.enter_context(reserved_port(settings.host, port))
        log.info("supervise", extra={"facts": {"pid": os.getpid(), "workers": settings.workers}})
        return Supervisor([sys.executable, "-P", "-m", "headway.serving.main", *told], settings.workers).run()


@contextmanager
def _scratch(folder: Path | None) -> Iterator[None]:
    """Takes the folder away at the end. Who hands one over has put signals off until here."""
    if folder is None:
        yield
        return
    try:
        signal.signal(signal.SIGTERM, _leave)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headway.serving.main", description="Serve one deployment.")
    parser.add_argument("--routing", type=Path, required=True, help="the routing table, or a folder of them, watched")
    parser.add_argument("--blobs", type=Path, required=True, help="folder of the models, by digest")
    parser.add_argument("--spool", type=Path, required=True, help="folder for segments until they are sent")
    parser.add_argument("--environments", type=Path, help="folder of the environments of locked models")
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
    parser.add_argument("--scratch", type=Path, help="a folder to remove at the end")
    parser.add_argument(
        "--must-load", action="store_true", help="end when the first routing table cannot be loaded; else wait for more"
    )
    parser.add_argument("--capture-rows", type=int, default=200_000, help="most rows that wait in memory")
    parser.add_argument(
        "--capture-bytes", type=int, default=MOST_BYTES, help="most that they take there, over all deployments"
    )
    parser.add_argument("--workers", type=_count, default=1, help="processes that share the port, one for each core")
    parser.add_argument("--slot", type=int, help=argparse.SUPPRESS)  # what the parent tells its workers
    parser.add_argument("--siblings", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ends", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    if not 1 <= (count := int(text)) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_WORKERS}, not {text}")
    return count


if __name__ == "__main__":
    try:
        main()
    except HeadwayError as error:
        if "--scratch" in sys.argv:  # a person has started it
            sys.stderr.write(f"error: {error}\n")
        else:
            log.error("not started", extra={"facts": {"error": str(error)}})
        sys.exit(_UNAVAILABLE if isinstance(error, Unavailable) else _BAD_SETTINGS)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
