"""Answers on their way out: JSON, and files whole or in part."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from blake3 import blake3
from litestar.types import Send

from headway.lifecycle.runs.records import Artifact
from headway.server.mlflow.wire import Answer, Desk

_JSON = "application/json"
_INERT = "sandbox; default-src 'none'"
"""The content security policy of a file: even a browser that shows it runs nothing of it, as nobody's origin."""
_CHUNK_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class CutOff(Exception):
    """A file turned out to be damaged after its answer had begun."""


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, copy_context().run, work)


async def send_answer(send: Send, answer: Answer) -> None:
    await send_body(send, 200, msgspec.json.encode(answer))


async def send_body(send: Send, status: int, body: bytes, media_type: str = _JSON, **headers: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _head(len(body), media_type, **headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_file(send: Send, desk: Desk, artifact: Artifact, asked: str = "", unless: str = "") -> None:
    """As something to save: a page that somebody logged must not run as one of ours. `asked` is the header Range,
    `unless` the header If-Range; several ranges at once, and what is no range, are answered with the whole."""
    etag = f'"{artifact.blob.removeprefix("b3:")}"'
    headers = {
        "content_disposition": f"attachment; filename*=UTF-8''{quote(posixpath.basename(artifact.name), safe='')}",
        "accept_ranges": "bytes", "etag": etag, "content_security_policy": _INERT,
    }  # fmt: skip
    path = Path(desk.blobs.address(artifact.blob))
    if asked and unless in ("", etag):
        part = range_of(asked, artifact.size)
        if part is not None:
            await _send_part(send, desk, artifact, path, part, headers)
            return
    if artifact.size <= _CHUNK_BYTES or not path.is_file():
        body = await in_thread(lambda: desk.blobs.get(artifact.blob))
        await send_body(send, 200, body, artifact.media_type, **headers)
        return
    head = _head(artifact.size, artifact.media_type, **headers)
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await _send_stored(send, path, artifact.blob)


def range_of(asked: str, size: int) -> range | None:
    """The places of the bytes that a header Range asks for (RFC 9110, 14.1.2), none of them when it asks for what is
    not there; None for what is not one range of bytes."""
    match = _RANGE.fullmatch(asked.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    if match[2] and int(match[2]) < int(match[1]):
        return None
    return range(int(match[1]), min(int(match[2]) + 1 if match[2] else size, size))


async def _send_part(
    send: Send, desk: Desk, artifact: Artifact, path: Path, part: range, headers: dict[str, str]
) -> None:
    if not part:
        await send_body(send, 416, b"", artifact.media_type, **headers, content_range=f"bytes */{artifact.size}")
        return
    head = _head(len(part), artifact.media_type, **headers, content_range=f"bytes {part[0]}-{part[-1]}/{artifact.size}")
    if not path.is_file():
        whole = await in_thread(lambda: desk.blobs.get(artifact.blob))
        await send({"type": "http.response.start", "status": 206, "headers": head})
        await send({"type": "http.response.body", "body": whole[part[0] : part[-1] + 1], "more_body": False})
        return
    with await in_thread(lambda: path.open("rb")) as file:
        file.seek(part[0])
        await send({"type": "http.response.start", "status": 206, "headers": head})
        left = len(part)
        while left:
            chunk = await in_thread(partial(file.read, min(left, _CHUNK_BYTES)))
            if not chunk:
                raise CutOff(f"blob {artifact.blob} is shorter than it was; restore it from a backup")
            left -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})


async def _send_stored(send: Send, path: Path, digest: str) -> None:
    """The last chunk leaves only if all of them had the digest: else the client sees an answer that was cut off."""
    hasher, held = blake3(), b""
    with await in_thread(lambda: path.open("rb")) as file:
        while chunk := await in_thread(lambda: file.read(_CHUNK_BYTES)):
            hasher.update(chunk)
            if held:
                await send({"type": "http.response.body", "body": held, "more_body": True})
            held = chunk
    if f"b3:{hasher.hexdigest()}" != digest:
        raise CutOff(f"blob {digest} is not as it was written; restore it from a backup")
    await send({"type": "http.response.body", "body": held, "more_body": False})


def _head(size: int, media_type: str, **headers: str) -> Any:
    head = {"content-type": media_type, "content-length": str(size), "x-content-type-options": "nosniff", **headers}
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in head.items()]
