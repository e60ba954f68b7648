"""Where a model server listens: at a port of its own, or at one that its workers share."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headway.errors import BadSettings

BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises `BadSettings` when the address cannot be had."""
    try:
        listening = socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    except OSError as error:
        raise _not_had(host, port, error) from None
    listening.setblocking(False)
    return listening


def shared_socket(host: str, port: int) -> socket.socket:
    """Bound, but not yet listening, so that the system sends nobody here; raises `BadSettings` as above."""
    bound = socket.socket(_family(host))
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _not_had(host, port, error) from None
    bound.setblocking(False)
    return bound


def must_be_free(host: str, ports: Sequence[int]) -> None:
    """Raises `BadSettings` for an address that cannot be had, and for two services at one port."""
    if len(set(ports)) < len(ports):
        raise BadSettings(f"--port and --grpc-port are both {ports[0]}; give gRPC a port of its own")
    for port in ports:
        listening_socket(host, port).close()


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[None]:
    """Keeps the address for workers: others find it taken, unless they share it, too. Raises `BadSettings` when it
    is."""
    listening_socket(host, port).close()  # a port that can be shared would not show that somebody else has it
    with shared_socket(host, port):
        yield


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _not_had(host: str, port: int, error: OSError) -> BadSettings:
    why = (error.strerror or str(error)).partition(" (while")[0].lower()
    return BadSettings(
        f"nothing can listen at {host}:{port}: {why}; choose another address with --host, or another port"
    )
