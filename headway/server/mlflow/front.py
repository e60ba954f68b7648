"""MLflow's REST protocol in front of the same services: one ASGI application for its paths, beside the native API."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec
from blake3 import blake3
from litestar.types import ASGIApp, Receive, Send

from headway.errors import Invalid
from headway.lifecycle.runs.metrics import Logged
from headway.lifecycle.runs.records import Artifact
from headway.server.app import Application
from headway.server.auth import actor_of
from headway.server.mlflow import (
    artifacts,
    experiments,
    logged_models,
    metrics,
    registered_models,
    runs,
    traces,
    versions,
)
from headway.server.mlflow.routing import Table, asked
from headway.server.mlflow.wire import Answer, Desk, Nothing, failure, speaks

_PROXY = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts(?:/(?P<path>.*))?", re.DOTALL)
_INFO = re.compile(r"/(?:ajax-)?api/3\.0/mlflow/server-info")
_MODULES = (experiments, runs, metrics, registered_models, versions, logged_models, artifacts, traces)
_SERVER = {
    "store_type": "SqlStore", "workspaces_enabled": False, "trace_archival_enabled": False,
    "multipart_uploads_enabled": False, "multipart_downloads_enabled": False,
    "presigned_upload_run_id_supported": False, "presigned_upload_model_id_supported": False,
    "features_enabled": {"gateway": False},
}  # fmt: skip
_JSON = "application/json"
_CHUNK_BYTES = 1 << 20


class CutOff(Exception):
    """A file turned out to be damaged after its answer had begun."""


class Front:
    """Answers MLflow's paths, and leaves all others to `app`."""

    def __init__(self, app: ASGIApp, application: Application) -> None:
        self._app, self._application, self._uploads = app, application, application.home.uploads
        self._table = Table(endpoint for module in _MODULES for endpoint in module.ENDPOINTS)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not speaks(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        except CutOff:  # the answer has begun: only breaking it off tells the client
            raise
        except Exception as error:
            status, body, headers = failure(error)
            await _send(send, status, body, **headers)

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        app = self._application
        desk = Desk(app.platform, app.blobs, self._uploads, actor_of(scope))
        path, method = scope["path"], scope["method"]
        proxied = _PROXY.fullmatch(path)
        if proxied is not None:
            await self._proxied(desk, proxied["path"], scope, receive, send)
        elif path.endswith("/get-artifact"):
            artifact = await _run(lambda: _linked(desk, path, _query(scope)))
            await _send_file(send, desk, artifact)
        elif method == "GET" and _INFO.fullmatch(path):
            await _send(send, 200, msgspec.json.encode(_SERVER))
        else:
            await self._called(desk, scope, receive, send)

    async def _called(self, desk: Desk, scope: Any, receive: Receive, send: Send) -> None:
        found = self._table.find(scope["method"], scope["path"])
        if found is None:
            raise Nothing(f"{scope['method']} {scope['path'][:200]} is no call that this server answers")
        endpoint, in_path = found
        scope["path_template"] = f"/api/mlflow/{endpoint.path}"
        body = b"".join([chunk async for chunk in _stream(receive, self._application.settings.most_json_bytes)])
        content_type = _header(scope, b"content-type")

        if endpoint.points is not None:
            ask: Any = asked(endpoint.ask, scope["query_string"], body, content_type, in_path)
            points = endpoint.points(ask)
            if points is not None:
                await self._application.ingest.add(Logged(ask.run, points, desk.by, late=True))
                await _send(send, 200, b"{}")
                return

        def answer() -> bytes:
            ask = asked(endpoint.ask, scope["query_string"], body, content_type, in_path)
            return msgspec.json.encode(endpoint.answer(ask, desk))

        await _send(send, 200, await (self._application.ingest.write(answer) if endpoint.brief else _run(answer)))

    async def _proxied(self, desk: Desk, path: str | None, scope: Any, receive: Receive, send: Send) -> None:
        method = scope["method"]
        scope["path_template"] = "/api/mlflow-artifacts/artifacts/{path}"
        if method == "GET" and not path:
            asked_for = _query(scope).get("path", "")
            await _send_answer(send, await _run(lambda: artifacts.list_proxied(desk.platform, asked_for)))
        elif method == "GET":
            place = await _run(lambda: artifacts.place_of(desk.platform, path or ""))
            await _send_file(send, desk, await _run(lambda: artifacts.opened(desk.platform, place)))
        elif method == "PUT":
            await artifacts.kept(desk, path or "", _stream(receive, self._application.settings.most_blob_bytes))
            await _send(send, 200, b"{}")
        elif method == "DELETE":
            await _send_answer(send, await _run(lambda: artifacts.removed(desk, path or "")))
        else:
            raise Nothing(f"artifacts do not take {method}")


def _linked(desk: Desk, path: str, query: dict[str, str]) -> Artifact:
    if path.startswith("/model-versions"):
        return artifacts.of_version(desk.platform, *(query.get(name, "") for name in ("name", "version", "path")))
    run = desk.platform.runs.get(query.get("run_uuid") or query.get("run_id", ""))
    return artifacts.opened(desk.platform, artifacts.Place(run.id, query.get("path", "")))


async def _run(work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def _stream(receive: Receive, most: int) -> AsyncIterator[bytes]:
    size, more = 0, True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("the connection ended before the request was whole; send it again")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > most:
            raise Invalid(f"the body is larger than the {most} bytes that are taken here; send it in parts")
        yield chunk


def _header(scope: Any, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _query(scope: Any) -> dict[str, str]:
    try:
        given = parse_qs(
            scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError as error:
        raise Invalid(f"the query cannot be read: {error}") from error
    return {name: values[-1] for name, values in given.items()}


async def _send_answer(send: Send, answer: Answer) -> None:
    await _send(send, 200, msgspec.json.encode(answer))


async def _send(send: Send, status: int, body: bytes, media_type: str = _JSON, **headers: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _head(len(body), media_type, **headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _head(size: int, media_type: str, **headers: str) -> Any:
    head = {"content-type": media_type, "content-length": str(size), "x-content-type-options": "nosniff", **headers}
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in head.items()]


async def _send_file(send: Send, desk: Desk, artifact: Artifact) -> None:
    """As something to save: a page that somebody logged must not run as one of ours."""
    name = quote(posixpath.basename(artifact.name), safe="")
    disposition = f"attachment; filename*=UTF-8''{name}"
    path = Path(desk.blobs.address(artifact.blob))
    if artifact.size <= _CHUNK_BYTES or not path.is_file():
        body = await _run(lambda: desk.blobs.get(artifact.blob))
        await _send(send, 200, body, artifact.media_type, content_disposition=disposition)
        return
    head = _head(artifact.size, artifact.media_type, content_disposition=disposition)
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await _send_stored(send, path, artifact.blob)


async def _send_stored(send: Send, path: Path, digest: str) -> None:
    """The last chunk leaves only if all of them had the digest: else the client sees an answer that was cut off."""
    hasher, held = blake3(), b""
    with await _run(lambda: path.open("rb")) as file:
        while chunk := await _run(lambda: file.read(_CHUNK_BYTES)):
            hasher.update(chunk)
            if held:
                await send({"type": "http.response.body", "body": held, "more_body": True})
            held = chunk
    if f"b3:{hasher.hexdigest()}" != digest:
        raise CutOff(f"blob {digest} is not as it was written; restore it from a backup")
    await send({"type": "http.response.body", "body": held, "more_body": False})
