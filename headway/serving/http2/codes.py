"""How a connection or one of its streams goes wrong, in the numbers of HTTP/2 (RFC 9113, 7)."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFault(Exception):
    """Ends the connection: what follows cannot be understood or is not wanted."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class StreamFault(Exception):
    """Ends one stream; the others go on."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code
