"""Requests to an MLflow tracking server. All of them read, so that each may be sent again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from headway.errors import Forbidden, HeadwayError, Invalid, NotFound, Unavailable, Unreachable

_AGAIN = frozenset({429, 500, 502, 503, 504})
_ATTEMPTS = 6
_CHUNK_BYTES = 1 << 20


class Wire:
    """`address` may hold a user and a password; else MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD, of `env` sign in."""

    def __init__(
        self, address: str, env: Mapping[str, str], *, transport: httpx2.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"{address!r} is no address of an MLflow server; take one like http://127.0.0.1:5000")
        host = parts.netloc.rpartition("@")[2]
        self.uri = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._wait, self._answered = wait, False
        headers, sign_in = {}, None
        user = parts.username or env.get("MLFLOW_TRACKING_USERNAME")
        if user:
            sign_in = (user, parts.password or env.get("MLFLOW_TRACKING_PASSWORD", ""))
        elif token := env.get("MLFLOW_TRACKING_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        trusted: Any = env.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
        insecure = env.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
        self._http = httpx2.Client(
            base_url=self.uri, headers=headers, auth=sign_in, timeout=httpx2.Timeout(120.0, connect=10.0),
            verify=False if insecure or parts.scheme == "http" else trusted, transport=transport,
        )  # fmt: skip

    def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """What is None in `query` is left out."""
        return self._read("GET", path, params={key: value for key, value in query.items() if value is not None})

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        told = {key: value for key, value in body.items() if value is not None}
        return self._read("POST", path, json=told)

    def download(self, path: str, query: Mapping[str, Any]) -> bytes:
        return self._asked("GET", path, params=dict(query)).content

    @contextmanager
    def streamed(self, path: str, query: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        try:
            with self._http.stream("GET", path, params=dict(query)) as response:
                if response.status_code >= 400:
                    response.read()
                    raise _failure(response, self.uri)
                yield response.iter_bytes(_CHUNK_BYTES)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        self._http.close()

    def _read(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        response = self._asked(method, path, **what)
        try:
            told = json.loads(response.content)  # which takes the bare NaN that some of MLflow's answers have
        except ValueError as error:
            raise Invalid(f"{self.uri}{path} does not answer as an MLflow server does: {error}") from error
        if not isinstance(told, dict):
            raise Invalid(f"{self.uri}{path} does not answer as an MLflow server does: it takes a JSON object")
        return told

    def _asked(self, method: str, path: str, **what: Any) -> httpx2.Response:
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                response = self._http.request(method, path, **what)
                self._answered = True
                if response.status_code < 400:
                    return response
                if response.status_code not in _AGAIN or not left:
                    raise _failure(response, self.uri)
            except httpx2.TransportError as error:
                if not left or not self._answered:  # an address that never answered is a wrong one
                    raise self._unreachable(error) from error
            self._wait(0.2 * 2 ** (_ATTEMPTS - 1 - left))
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: httpx2.TransportError) -> Unreachable:
        return Unreachable(f"the MLflow server at {self.uri} does not answer ({error}); import again when it does")


def _failure(response: httpx2.Response, uri: str) -> HeadwayError:
    path, status = response.request.url.path, response.status_code
    try:
        said = str(json.loads(response.content).get("message", ""))[:300]
    except (ValueError, AttributeError):
        said = ""
    message = f"{uri} answered {path} with status {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        return Forbidden(f"{message}; set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD")
    if status == 404:
        return NotFound(message)
    return Unavailable(message) if status >= 500 or status == 429 else Invalid(message)
