"""The field blocks that one connection receives: put together, read, and known again.

A client says the same again and again, and in the same bytes. While the table that a block refers to has not changed,
the same block asks the same, so that it is read once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from headway.serving.http2.codes import Code, ConnectionFault
from headway.serving.http2.hpack import Decoder, Field
from headway.serving.http2.requests import check_trailers, request_in
from headway.serving.http2.stream import Application

LIST_BYTES = 16 * 1024
"""The fields of a request together, as HPACK counts them."""
_MOST_BYTES, _MOST_FRAMES = 32 * 1024, 8
"""Of a block before it is read; what is larger ends the connection, which could not go on without having read it."""
_MOST_KNOWN, _LONGEST_KNOWN = 64, 1024


class Opened(NamedTuple):
    asked: Any
    """What the application makes of the request."""
    size: int | None
    """Bytes of the body, if the request says."""


class Blocks:
    def __init__(self, application: Application) -> None:
        self._application, self._decoder = application, Decoder(LIST_BYTES)
        self._known: dict[bytes, Opened] = {}
        self._begun, self._frames = bytearray(), 0
        self.number = self._ended = 0
        self.forget = self._known.clear
        """Whatever a block asks, the application is to be asked again."""

    def begin(self, number: int, ended: int, part: bytes) -> None:
        """A block that goes on in the next frames."""
        self.number, self._ended, self._begun, self._frames = number, ended, bytearray(part), 0

    def go_on(self, number: int, part: bytes) -> None:
        if number != self.number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"the block of stream {self.number} is not whole")
        self._begun += part
        self._frames += 1
        if len(self._begun) > _MOST_BYTES or self._frames > _MOST_FRAMES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a field block may have {_MOST_BYTES} bytes")

    def end(self) -> tuple[int, bytes, int]:
        """Stream, block, and whether the request ends with it."""
        block, self._begun = bytes(self._begun), bytearray()
        return self.number, block, self._ended

    def opened(self, block: bytes) -> Opened:
        """Raises `StreamFault` for what is no request, and `ConnectionFault` for what cannot be read."""
        found = self._known.get(block)
        if found is not None:
            return found
        changes = self._decoder.changes
        found = self._read(self._fields(block))
        if changes == self._decoder.changes and len(block) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[block] = found
        return found

    def check_trailers(self, block: bytes) -> None:
        """Read what stands behind a request, for the table's sake; raises as above."""
        check_trailers(self._fields(block) or ())

    def _fields(self, block: bytes) -> list[Field] | None:
        changes = self._decoder.changes
        fields = self._decoder.decode(block)
        if changes != self._decoder.changes:
            self._known.clear()
        return fields

    def _read(self, fields: list[Field] | None) -> Opened:
        if fields is None:
            return Opened(self._application.refuse(431, f"metadata may have {LIST_BYTES} bytes together"), None)
        request = request_in(fields)
        return Opened(self._application.asked(request), request.size)
