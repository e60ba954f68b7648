"""Where a model server listens: at a port of its own, or at one that its workers share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises OSError when the address cannot be had."""
    listening = socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    listening.setblocking(False)
    return listening


def shared_socket(host: str, port: int) -> socket.socket:
    """Bound, but not yet listening, so that the system sends nobody here; raises OSError as above."""
    bound = socket.socket(_family(host))
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[None]:
    """Keeps the address for workers: others find it taken, unless they share it, too. Raises OSError when it is."""
    listening_socket(host, port).close()  # a port that can be shared would not show that somebody else has it
    with shared_socket(host, port):
        yield


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
