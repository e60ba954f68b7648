"""What a run and the workers of its steps say to each other: MessagePack behind a length, nothing that is unpickled."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import msgspec

_LENGTH = struct.Struct("<Q")
_CHUNK = 1 << 20
INLINE_BYTES = 256 * 1024
"""What is larger goes through the blob store and not along with the message."""


class Opening(msgspec.Struct, frozen=True, tag="opening"):
    """What a fork server is told first. `run` is the record of the run as JSON."""

    run: bytes
    url: str
    folder: str
    paths: tuple[str, ...]
    """Of `sys.path`."""
    modules: tuple[str, ...]
    """To import once, before workers are forked."""
    main: str = ""
    """The file that ran as a script, if steps are defined in it."""
    spools: str = ""
    cold: bool = False
    """Import nothing before forking: threads were running after the modules were imported."""


class Call(msgspec.Struct, frozen=True, tag="call"):
    """Run a step. `step` says where its function is, `arguments` are nodes of `parcels.py`, `blobs` what small ones
    of them hold."""

    step: str
    arguments: dict[str, Any]
    blobs: dict[str, bytes]
    memory_mb: int = 0
    gpus: tuple[str, ...] | None = None
    run: bytes = b""
    """The record of the run that it is for, as JSON, if not that of the opening."""
    format: str = ""
    pickle: bool = False
    """As the step says."""


class Packed(msgspec.Struct, frozen=True):
    """An output; without `data` it is in the blob store already."""

    format: str
    blob: str
    data: bytes | None = None


class Done(msgspec.Struct, frozen=True, tag="done"):
    outputs: tuple[Packed, ...]
    retire: bool = False
    """The worker has grown so much that a new one should take its place."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The step raised; with `value` it gave what cannot be stored, with `annotated` a value is not what its annotation
    says."""

    short: str
    text: str
    value: bool = False
    annotated: bool = False


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A request of the step to the platform; the run sends it under its own token."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    status: int
    headers: dict[str, str]
    body: bytes


Message = Opening | Call | Done | Failed | Ask | Answer
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Line:
    """Messages over a stream socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream, self._sending = stream, threading.Lock()
        self._received = bytearray()
        self.open = True

    def fileno(self) -> int:
        return self._stream.fileno()

    def send(self, message: Message) -> None:
        """Raises `OSError` when nobody is there to read it."""
        data = _encode(message)
        with self._sending:
            self._stream.sendall(_LENGTH.pack(len(data)) + data if len(data) < _CHUNK else _LENGTH.pack(len(data)))
            if len(data) >= _CHUNK:
                self._stream.sendall(data)

    def receive(self) -> Message | None:
        """The next message, waiting for it; None at the end."""
        while (message := self._next()) is None:
            self._read(0)
            if not self.open:
                return None
        return message

    def arrived(self) -> list[Message]:
        """What has come whole, without waiting; `open` tells whether more may come."""
        self._read(socket.MSG_DONTWAIT)
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def close(self) -> None:
        self.open = False
        self._stream.close()

    def _read(self, flags: int) -> None:
        try:
            data = self._stream.recv(_CHUNK, flags)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._received += data
        self.open = bool(data)

    def _next(self) -> Message | None:
        if len(self._received) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        message: Message = _decode(memoryview(self._received)[_LENGTH.size : end])
        del self._received[:end]
        return message
