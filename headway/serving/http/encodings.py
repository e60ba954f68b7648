"""Content encodings of bodies: gzip and deflate, which in HTTP is the zlib format (RFC 9110, 8.4.1)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable

from headway.errors import BadTensor, TooLarge, UnsupportedMedia
from headway.serving.messages import Answer

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_FASTEST = 1
LEAST_BYTES = 1400
"""Smaller answers fit one packet, and are sent as they are."""


def decoded(body: bytes, encoding: bytes, most_bytes: int) -> bytes:
    """The body that was sent in `encoding`. Raises `TooLarge` as soon as it grows beyond `most_bytes`, `BadTensor` when
    it is not whole, and `UnsupportedMedia` for another encoding."""
    name = encoding.decode("latin-1").strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _WINDOWS:
        raise UnsupportedMedia(f"content-encoding {name[:100]!r} is not read here; send gzip, deflate or none")
    unpacker = zlib.decompressobj(_WINDOWS[name])
    try:
        plain = unpacker.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise BadTensor(f"the body is not {name}: {error}") from None
    if len(plain) > most_bytes:
        raise TooLarge(f"the body is larger than {most_bytes} bytes once unpacked; send fewer rows in a request")
    if not unpacker.eof or unpacker.unused_data:
        raise BadTensor(f"the body is not one whole {name} stream")
    return plain


def chosen(accepted: bytes) -> str:
    """The encoding to answer in: gzip or deflate, whichever is wanted more, or nothing."""
    weights = {}
    for part in accepted.decode("latin-1").lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    rest = weights.get("*", 0.0)
    found = {name: weights.get(name, rest) for name in ("gzip", "deflate")}
    best = max(found, key=found.__getitem__)
    return best if found[best] > 0 else ""


def encoded(body: bytes, name: str) -> bytes:
    packer = zlib.compressobj(_FASTEST, wbits=_WINDOWS[name])
    return packer.compress(body) + packer.flush()


def packed(answer: Answer, accepted: bytes) -> Answer:
    """The answer in an encoding that the client accepts, unless it is small."""
    if len(answer.body) < LEAST_BYTES or not (encoding := chosen(accepted)):
        return answer
    more = ((b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
    return answer._replace(body=encoded(answer.body, encoding), headers=(*answer.headers, *more))


async def packed_later(answer: Answer | Awaitable[Answer], accepted: bytes) -> Answer:
    """`packed`, without keeping others waiting."""
    found = answer if isinstance(answer, Answer) else await answer
    if len(found.body) < LEAST_BYTES:
        return found
    return await asyncio.to_thread(packed, found, accepted)


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
