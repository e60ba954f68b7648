"""Heads of requests that were read before: clients say the same thing again and again, and reading it costs more than
the rest of HTTP.

What is kept is what the parser made of exactly these bytes at the beginning of a request that came in one piece, so
that the same bytes at such a beginning mean the same. Only requests that may be answered in turn are kept.
"""

from __future__ import annotations

from typing import NamedTuple

from headway.serving.messages import Head

MOST_HEADS = 512
"""Each model and each length of a body has one of its own."""
MOST_BYTES, MOST_TOGETHER_BYTES = 2048, 512 * 1024
"""Of one head, and of all."""
END = b"\r\n\r\n"


class KnownHead(NamedTuple):
    path: str
    head: Head
    """Of every request with this head: whoever changes it must copy it."""
    head_bytes: int
    whole_bytes: int
    """Of a request with this head: head and body."""


class Heads:
    """Those of one process, by their bytes; all are forgotten when there are too many."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}
        self._bytes = 0
        self.get = self._known.get

    def forget(self) -> None:
        self._known.clear()
        self._bytes = 0

    def keep(self, data: bytes, path: str, head: Head, body_bytes: int) -> None:
        """`data` was one whole request with this head. A head that differs from request to request is not kept."""
        size = data.find(END, 0, MOST_BYTES) + len(END)
        if size + body_bytes != len(data) or not _lasts(head):
            return
        if len(self._known) >= MOST_HEADS or self._bytes + size > MOST_TOGETHER_BYTES:
            self.forget()
        self._bytes += size
        kept = Head(
            json_size=head.json_size, content_type=head.content_type, accept_encoding=head.accept_encoding,
            deployment=head.deployment,
        )  # fmt: skip
        self._known[data[:size]] = KnownHead(path, kept, size, len(data))


def _lasts(head: Head) -> bool:
    return not (
        head.key
        or head.caller
        or head.traceparent
        or head.deadline
        or head.expect
        or head.content_encoding
        or head.version
        or head.named
    )
