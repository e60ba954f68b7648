"""Requests to addresses that a client gave: resolved once, judged, and connected to as judged.

Between judging a name and connecting to it nothing is resolved again, so a name that changes its mind (DNS rebinding)
gains nothing. No redirect is followed, no proxy of the environment is asked, no cookie is kept, and no more than
a little of the answer is read; a receiver that dribbles is cut off when its time is over.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from headway.errors import HeadwayError, Invalid, Refused, Unavailable
from headway.lifecycle.webhooks.addresses import Address, Destination, destination, must_be_reachable
from headway.lifecycle.webhooks.records import Attempt, Parcel

_LOG = logging.getLogger("headway.webhooks")
_ANSWER_BYTES = 16_384
_SHOWN_CHARACTERS = 1000

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, as texts."""


def resolved(host: str, port: int) -> Sequence[str]:
    """As the machine resolves it; raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedPost:
    """Implements `Post`. `listed` are the hosts that the operator allows besides public ones."""

    def __init__(
        self,
        listed: tuple[str, ...] = (),
        *,
        resolve: Resolve = resolved,
        context: ssl.SSLContext | None = None,
        connect_s: float = 5.0,
        whole_s: float = 10.0,
    ) -> None:
        self._listed, self._resolve, self._given = listed, resolve, context
        self._connect_s, self._whole_s = connect_s, whole_s

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._given or ssl.create_default_context()

    def send(self, parcel: Parcel) -> Attempt:
        try:
            where = destination(parcel.url, self._listed)
            with closing(self._connected(where)) as connection:
                return self._exchanged(connection, where, parcel)
        except (Refused, Invalid) as error:
            return Attempt(error=str(error), hopeless=True)
        except HeadwayError as error:
            return Attempt(error=str(error))
        except (OSError, HTTPException, UnicodeError) as error:  # UnicodeError: a name that IDNA does not encode
            return Attempt(error=_told(error))

    def _connected(self, where: Destination) -> socket.socket:
        addresses = [_address(text) for text in self._resolve(where.host, where.port)]
        if not addresses:
            raise Unavailable(f"{where.host} has no address")
        must_be_reachable(addresses, where, self._listed)
        failure: OSError | None = None
        for address in addresses[:4]:
            try:
                return socket.create_connection((str(address), where.port), timeout=self._connect_s)
            except OSError as error:
                failure = error
        assert failure is not None
        raise failure

    def _exchanged(self, raw: socket.socket, where: Destination, parcel: Parcel) -> Attempt:
        out_of_time = threading.Event()

        def cut_off() -> None:
            out_of_time.set()
            raw_descriptor.shutdown(socket.SHUT_RDWR)

        raw_descriptor = raw.dup()  # TLS takes the first one over
        timer = threading.Timer(self._whole_s, lambda: _quietly(cut_off))
        timer.daemon = True
        timer.start()
        try:
            attempt = self._asked(raw, where, parcel)
        except (OSError, HTTPException) as error:
            attempt = Attempt(error=_told(error))
        finally:
            timer.cancel()
            raw_descriptor.close()
        # An answer that was cut off may read like one that ended.
        return Attempt(error=f"no whole answer within {self._whole_s:g} s") if out_of_time.is_set() else attempt

    def _asked(self, raw: socket.socket, where: Destination, parcel: Parcel) -> Attempt:
        raw.settimeout(self._whole_s)
        secure = where.scheme == "https"
        line = self._context.wrap_socket(raw, server_hostname=where.host) if secure else raw
        connection = HTTPConnection(where.host, where.port)
        connection.sock = line
        with closing(connection):
            connection.request("POST", where.path, parcel.body, {"Host": where.netloc, **parcel.headers})
            answer = connection.getresponse()
            text = answer.read(_ANSWER_BYTES).decode(errors="replace")[:_SHOWN_CHARACTERS]
            return Attempt(
                status=answer.status, answer=text, retry_after_s=_seconds(answer.headers.get("Retry-After", ""))
            )


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise Unavailable(f"{text[:100]!r} is no address") from error


def _seconds(text: str) -> float:
    """Of a Retry-After that counts seconds; a date is left to the pauses of our own."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0.0


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not to be trusted: {error.verify_message}"
    return f"{type(error).__name__}: {error}"


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except OSError:
        _LOG.debug("the connection was over already")
