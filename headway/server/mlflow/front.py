"""MLflow's REST protocol in front of the same services: one ASGI application for its paths, beside the native API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
from litestar.types import ASGIApp, Receive, Send

from headway.errors import Invalid
from headway.kernel.access import Permission
from headway.kernel.version import VERSION
from headway.lifecycle.runs.metrics import Logged
from headway.lifecycle.runs.records import Artifact
from headway.server.app import Application
from headway.server.auth import actor_of
from headway.server.links import Links
from headway.server.mlflow import (
    artifacts,
    assessments,
    experiments,
    logged_models,
    metrics,
    otlp,
    registered_models,
    runs,
    traces,
    users,
    versions,
    webhooks,
)
from headway.server.mlflow.multipart import AbortUpload, CompleteUpload, CreateUpload, Uploads
from headway.server.mlflow.routing import Endpoint, Table, asked
from headway.server.mlflow.sending import CutOff, in_thread, send_answer, send_body, send_file
from headway.server.mlflow.wire import Answer, Desk, Nothing, failure, speaks

_PROXY = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts(?:/(?P<path>.*))?", re.DOTALL)
_PARTS = re.compile(
    r"/(?:ajax-)?api/2\.0/mlflow-artifacts/mpu/(?P<verb>create|complete|abort|part)/(?P<path>.+)", re.DOTALL
)
_LINKED = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/presigned/(?P<path>.+)", re.DOTALL)
_INFO = re.compile(r"/(?:ajax-)?api/3\.0/mlflow/server-info")
_MODULES = (
    experiments,
    runs,
    metrics,
    registered_models,
    versions,
    logged_models,
    artifacts,
    traces,
    assessments,
    users,
    webhooks,
)
_ENDPOINTS = tuple(endpoint for module in _MODULES for endpoint in module.ENDPOINTS)
_SERVER = {
    "store_type": "SqlStore", "workspaces_enabled": False, "trace_archival_enabled": False,
    "multipart_uploads_enabled": True, "multipart_downloads_enabled": False,
    "presigned_upload_run_id_supported": False, "presigned_upload_model_id_supported": False,
    "features_enabled": {"gateway": False}, "headway_version": VERSION,
}  # fmt: skip


def paths_of(wanted: Callable[[Endpoint], bool]) -> Iterator[tuple[str, str, Endpoint]]:
    """Each path of the calls that are wanted, of those whose path has no parts of its own, with its route."""
    for endpoint in _ENDPOINTS:
        if endpoint.method == "POST" and "{" not in endpoint.path and wanted(endpoint):
            for prefix in ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/", "/api/3.0/mlflow/", "/ajax-api/3.0/mlflow/"):
                yield prefix + endpoint.path, _route(endpoint), endpoint


def _route(endpoint: Endpoint) -> str:
    return f"/api/mlflow/{endpoint.path}"


class Front:
    """Answers MLflow's paths, and leaves all others to `app`."""

    def __init__(self, app: ASGIApp, application: Application, links: Links) -> None:
        self._app, self._application, self._links = app, application, links
        self._uploads = Uploads(application.home.uploads, links, application.settings.most_blob_bytes)
        self._folder = application.home.uploads
        self._table = Table(_ENDPOINTS)

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
            await send_body(send, status, body, **headers)

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        app = self._application
        desk = Desk(app.platform, app.blobs, self._folder, actor_of(scope), app.clock)
        path, method = scope["path"], scope["method"]
        proxied = _PROXY.fullmatch(path)
        if proxied is not None:
            await self._proxied(desk, proxied["path"], scope, receive, send)
        elif (parts := _PARTS.fullmatch(path)) is not None:
            await self._in_parts(desk, parts["verb"], parts["path"], scope, receive, send)
        elif method == "GET" and (linked := _LINKED.fullmatch(path)) is not None:
            scope["path_template"] = "/api/mlflow-artifacts/presigned/{path}"
            await send_answer(send, await in_thread(lambda: self._link(desk, linked["path"], _origin(scope))))
        elif path == "/v1/traces":
            await self._exported(desk, scope, receive, send)
        elif path.endswith("artifact"):
            await _send(scope, send, desk, await in_thread(lambda: _linked(desk, path, _query(scope))))
        elif method == "GET" and _INFO.fullmatch(path):
            await send_body(send, 200, msgspec.json.encode(_SERVER))
        else:
            await self._called(desk, scope, receive, send)

    async def _called(self, desk: Desk, scope: Any, receive: Receive, send: Send) -> None:
        found = self._table.find(scope["method"], scope["path"])
        if found is None:
            raise Nothing(f"{scope['method']} {scope['path'][:200]} is no call that this server answers")
        endpoint, in_path = found
        scope["path_template"] = _route(endpoint)
        body = b"".join([chunk async for chunk in _stream(receive, self._application.settings.most_json_bytes)])
        content_type = _header(scope, b"content-type")

        if endpoint.points is not None:
            ask: Any = asked(endpoint.ask, scope["query_string"], body, content_type, in_path)
            points = endpoint.points(ask)
            if points is not None:
                await self._application.ingest.add(Logged(ask.run, points, desk.by, late=True))
                await send_body(send, 200, b"{}")
                return

        def answer() -> bytes:
            ask = asked(endpoint.ask, scope["query_string"], body, content_type, in_path)
            return msgspec.json.encode(endpoint.answer(ask, desk))

        written = self._application.ingest.write(answer) if endpoint.brief else in_thread(answer)
        await send_body(send, 200, await written)

    async def _in_parts(self, desk: Desk, verb: str, path: str, scope: Any, receive: Receive, send: Send) -> None:
        """Uploads in parts: only a part has a body of its own."""
        scope["path_template"] = f"/api/mlflow-artifacts/mpu/{verb}"
        method, settings, uploads = scope["method"], self._application.settings, self._uploads
        if method != ("PUT" if verb == "part" else "POST"):
            raise Nothing(f"{method} {path[:200]} is no call that this server answers")
        if verb == "part":
            desk.by.must(Permission.WRITE)
            identifier, _, number = path.partition("/")
            if not (number.isascii() and number.isdecimal() and len(number) < 6):
                raise Invalid("a part has a number")
            digest = await uploads.write(identifier, int(number), _stream(receive, settings.most_blob_bytes))
            await send_body(send, 200, b"", etag=f'"{digest}"')
            return
        body = b"".join([chunk async for chunk in _stream(receive, settings.most_json_bytes)])
        kinds: dict[str, type[Any]] = {"create": CreateUpload, "complete": CompleteUpload, "abort": AbortUpload}
        ask: Any = asked(kinds[verb], scope["query_string"], body, _header(scope, b"content-type"), {})
        if verb == "complete":
            await uploads.complete(desk, path, ask)
            await send_body(send, 200, b"{}")
        elif verb == "create":
            await send_answer(send, await in_thread(lambda: uploads.create(desk, path, ask, _origin(scope))))
        else:
            await send_answer(send, await in_thread(lambda: uploads.abort(desk, ask)))

    def _link(self, desk: Desk, path: str, origin: str) -> Answer:
        """A link to download a file by, for clients that fetch it in parts."""
        artifact = artifacts.opened(desk.platform, artifacts.place_of(desk.platform, path))
        link = self._links.signed("GET", f"/api/2.0{artifacts.PROXIED}/{path}", desk.by)
        return {"url": origin + link, "headers": {}, "file_size": artifact.size}

    async def _exported(self, desk: Desk, scope: Any, receive: Receive, send: Send) -> None:
        """Spans by OpenTelemetry's protocol."""
        if scope["method"] != "POST":
            raise Nothing("spans are sent by POST")
        scope["path_template"] = "/v1/traces"
        desk.by.must(Permission.WRITE)
        experiment = _header(scope, b"x-mlflow-experiment-id")
        if not experiment:
            raise Invalid("name the experiment that the spans belong to in the header x-mlflow-experiment-id")
        most, content_type = self._application.settings.most_json_bytes, _header(scope, b"content-type")
        body = b"".join([chunk async for chunk in _stream(receive, most)])

        def keep() -> None:
            encoding = _header(scope, b"content-encoding").strip().lower()
            spans = otlp.spans_of(body, content_type, encoding, most)
            traces.export(desk, experiment, _header(scope, b"x-mlflow-run-id"), spans)

        await in_thread(keep)
        if otlp.JSON in content_type:
            await send_body(send, 200, b"{}")
        else:
            await send_body(send, 200, b"", otlp.PROTOBUF)

    async def _proxied(self, desk: Desk, path: str | None, scope: Any, receive: Receive, send: Send) -> None:
        method = scope["method"]
        scope["path_template"] = "/api/mlflow-artifacts/artifacts/{path}"
        if method == "GET" and not path:
            asked_for = _query(scope).get("path", "")
            await send_answer(send, await in_thread(lambda: artifacts.list_proxied(desk.platform, asked_for)))
        elif method == "GET":
            place = await in_thread(lambda: artifacts.place_of(desk.platform, path or ""))
            await _send(scope, send, desk, await in_thread(lambda: artifacts.opened(desk.platform, place)))
        elif method == "PUT":
            await artifacts.kept(desk, path or "", _stream(receive, self._application.settings.most_blob_bytes))
            await send_body(send, 200, b"{}")
        elif method == "DELETE":
            await send_answer(send, await in_thread(lambda: artifacts.removed(desk, path or "")))
        else:
            raise Nothing(f"artifacts do not take {method}")


def _linked(desk: Desk, path: str, query: dict[str, str]) -> Artifact:
    if path.endswith("/get-trace-artifact"):
        trace = desk.platform.traces.get(query.get("request_id") or query.get("trace_id", ""))
        return artifacts.opened(desk.platform, artifacts.Place(trace.id, "traces.json"))
    if path.startswith("/model-versions"):
        return artifacts.of_version(desk.platform, *(query.get(name, "") for name in ("name", "version", "path")))
    run = desk.platform.runs.get(query.get("run_uuid") or query.get("run_id", ""))
    return artifacts.opened(desk.platform, artifacts.Place(run.id, query.get("path", "")))


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


async def _send(scope: Any, send: Send, desk: Desk, artifact: Artifact) -> None:
    await send_file(send, desk, artifact, _header(scope, b"range"), _header(scope, b"if-range"))


def _origin(scope: Any) -> str:
    """Where the client reached this server, for links back to it; a proxy in front says when that was by HTTPS."""
    secure = _header(scope, b"x-forwarded-proto").strip().lower() == "https"
    return f"{'https' if secure else scope.get('scheme', 'http')}://{_header(scope, b'host')}"
