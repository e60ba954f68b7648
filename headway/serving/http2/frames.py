"""The frames of HTTP/2 as bytes (RFC 9113, 4 and 6)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from headway.serving.http2.codes import Code, ConnectionFault

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first."""
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

HEAD_BYTES = 9
FRAME_BYTES = 16384
"""The largest payload that everybody takes, and the largest that is taken here."""
LARGEST_FRAME_BYTES = 2**24 - 1
INITIAL_WINDOW = 65535
LARGEST_WINDOW = LAST_STREAM = 2**31 - 1
PING_BYTES = 8

_HEAD = struct.Struct(">HBBBI")
"""Length (its upper and its lower part), type, flags, stream."""
_NUMBER = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
_END = struct.Struct(">II")
_PRIORITY_BYTES = 5

read_head = _HEAD.unpack_from


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(pairs: Iterable[tuple[int, int]]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(more))


def reset(stream: int, code: Code) -> bytes:
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last: int, code: Code, reason: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _END.pack(last, code) + reason.encode())


def number_in(payload: bytes) -> int:
    """What RST_STREAM and WINDOW_UPDATE hold."""
    must_have(payload, _NUMBER.size)
    number: int = _NUMBER.unpack(payload)[0]
    return number & LARGEST_WINDOW


def settings_in(payload: bytes) -> list[tuple[int, int]]:
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "settings are of six bytes each")
    return list(_SETTING.iter_unpack(payload))


def must_have(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame that has {size} bytes has {len(payload)}")


def unpadded(payload: bytes, flags: int) -> bytes:
    """The data in a DATA frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame is nothing but padding")
    return payload[1 : len(payload) - payload[0]]


def fragment(payload: bytes, flags: int) -> bytes:
    """The part of a field block in a HEADERS frame; priorities are no longer of use to anybody."""
    payload = unpadded(payload, flags)
    if not flags & WITH_PRIORITY:
        return payload
    if len(payload) < _PRIORITY_BYTES:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a HEADERS frame is too short for its priority")
    return payload[_PRIORITY_BYTES:]


def check_priority(payload: bytes) -> None:
    must_have(payload, _PRIORITY_BYTES)
