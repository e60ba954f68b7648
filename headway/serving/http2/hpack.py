"""Field blocks, which are the headers of HTTP/2 in their compressed form (HPACK, RFC 7541).

Reading is bounded: in the size of the table, which is the default of the protocol, and of the list that a block
becomes. Writing uses no table, so that the same fields are always the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from headway.serving.http2 import huffman
from headway.serving.http2.codes import Code, ConnectionFault

Field = tuple[bytes, bytes]

TABLE_BYTES = 4096
"""What a client may have remembered; HTTP/2's initial value of SETTINGS_HEADER_TABLE_SIZE."""
FIELD_BYTES = 32
"""What a field counts beside its name and value (RFC 7541, 4.1)."""
EMPTY_TABLE = b"\x20"
"""In front of a block: from here on the writer remembers nothing."""
_MOST_INTEGER_BYTES = 4
_NAMES = (
    b"accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow "
    b"authorization cache-control content-disposition content-encoding content-language content-length "
    b"content-location content-range content-type cookie date etag expect expires from host if-match "
    b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards "
    b"proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie "
    b"strict-transport-security transfer-encoding user-agent vary via www-authenticate"
).split()
STATIC: tuple[Field, ...] = (
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"),
    *((name, b"gzip, deflate" if name == b"accept-encoding" else b"") for name in _NAMES),
)  # fmt: skip
"""The fields that all know (RFC 7541, appendix A), numbered from 1."""


class Decoder:
    """Reads the blocks of one connection, in their order."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._table_bytes, self._size = most_bytes, TABLE_BYTES, 0
        self._table: deque[Field] = deque()
        self.changes = 0
        """How often the table has changed: while it has not, the same block means the same."""

    def decode(self, block: bytes) -> list[Field] | None:
        """The fields of a block; None when they are larger than `most_bytes` together. Raises `ConnectionFault`: a
        reader that has lost count of the table understands nothing that follows."""
        try:
            return self._fields(block)
        except (IndexError, ValueError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"a field block cannot be read: {error}") from None

    def _fields(self, block: bytes) -> list[Field] | None:
        fields: list[Field] = []
        at, size, end = 0, 0, len(block)
        while at < end:
            first = block[at]
            if first & 0x80:
                index, at = _integer(block, at, 7)
                field = self._known(index)
            elif first & 0xE0 == 0x20:
                if size:
                    raise ValueError("the table is resized after a field")
                at = self._resize(block, at)
                continue
            else:
                field, at = self._literal(block, at, remembered=bool(first & 0x40))
            size += len(field[0]) + len(field[1]) + FIELD_BYTES
            if size <= self._most_bytes:
                fields.append(field)
        return fields if size <= self._most_bytes else None

    def _known(self, index: int) -> Field:
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        if not 0 < index <= len(STATIC) + len(self._table):
            raise ValueError(f"there is no field {index}")
        return self._table[index - len(STATIC) - 1]

    def _literal(self, block: bytes, at: int, *, remembered: bool) -> tuple[Field, int]:
        index, at = _integer(block, at, 6 if remembered else 4)
        if index:
            name = self._known(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        if remembered:
            self._remember((name, value))
        return (name, value), at

    def _remember(self, field: Field) -> None:
        self.changes += 1
        self._table.appendleft(field)
        self._size += _size(field)
        self._evict()

    def _resize(self, block: bytes, at: int) -> int:
        size, at = _integer(block, at, 5)
        if size > TABLE_BYTES:
            raise ValueError(f"a table of {size} bytes is larger than agreed")
        self.changes += 1
        self._table_bytes = size
        self._evict()
        return at

    def _evict(self) -> None:
        while self._size > self._table_bytes:
            self._size -= _size(self._table.pop())


def encode(fields: Iterable[Field]) -> bytes:
    """The block of `fields`, for any connection and any number of times."""
    found = bytearray()
    for name, value in fields:
        if (name, value) in STATIC:
            found += _number(STATIC.index((name, value)) + 1, 7, 0x80)
            continue
        index = next((at for at, (known, _) in enumerate(STATIC, 1) if known == name), 0)
        found += _number(index, 4, 0x00)
        if not index:
            found += _number(len(name), 7, 0x00) + name
        found += _number(len(value), 7, 0x00) + value
    return bytes(found)


def _size(field: Field) -> int:
    return len(field[0]) + len(field[1]) + FIELD_BYTES


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """The integer whose first byte has `bits` of it, and where it ends (RFC 7541, 5.1)."""
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for place in range(_MOST_INTEGER_BYTES):
        byte = block[at + place]
        value += (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("an integer is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    packed = block[at] & 0x80
    length, at = _integer(block, at, 7)
    text = block[at : at + length]
    if len(text) < length:
        raise ValueError("it ends inside a string")
    return huffman.decode(text) if packed else text, at + length


def _number(value: int, bits: int, marks: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes((marks | value,))
    found, value = bytearray((marks | most,)), value - most
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
