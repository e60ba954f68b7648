"""The line to a server: one request, its answer as a record, its error as the error it was.

What may safely be sent twice (GET, HEAD, PUT, DELETE) is tried again after a broken connection or a 503. A POST is sent
again only when no connection came about, so that nothing can be written twice.
"""

from __future__ import annotations

import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import httpx2
import msgspec

from headway.client.home import HomeFolder, is_here
from headway.errors import (
    Conflict,
    Forbidden,
    HeadwayError,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
    Unreachable,
)
from headway.kernel.records import UNREADABLE, encode

Answer = TypeVar("Answer")

Forwarded = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""
_CHUNK_BYTES = 1 << 20
_FORWARDED = frozenset({"content-type"})
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_BRANCHES = {400: Invalid, 401: Forbidden, 403: Forbidden, 404: NotFound, 405: Invalid, 409: Conflict, 413: Invalid,
             422: Refused}  # fmt: skip


def _with_leaves(branch: type[HeadwayError]) -> dict[str, type[HeadwayError]]:
    found: dict[str, type[HeadwayError]] = {}
    for leaf in branch.__subclasses__():
        found |= _with_leaves(leaf)
    return found | {branch.code: branch}  # last: a leaf without a code of its own does not stand for all


class Connection:
    """Requests to `url`, signed with `token`. `transport` replaces the socket; `attempts` counts the first try.

    Every method raises the server's own error, or `Unreachable` when none answers.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        transport: httpx2.BaseTransport | None = None,
        timeout_s: float = 60.0,
        attempts: int = 4,
        wait: Callable[[float], None] = time.sleep,
        place: HomeFolder | None = None,
    ) -> None:
        """`place` is the home beside this client; without one, what it keeps for itself is in a folder for it alone."""
        self.url = url.rstrip("/")
        self._place = place
        self.adopt: Callable[[Path, str], None] | None = getattr(transport, "adopt", None)
        """Takes a file into the blobs without copying it, where the platform is in this process."""
        self._attempts, self._wait = attempts, wait
        self.token, self.here = token, transport is not None
        headers = {"authorization": f"Bearer {token}"} if token else {}
        timeout = httpx2.Timeout(timeout_s, connect=5.0)
        try:
            self._http = httpx2.Client(
                base_url=self.url,
                headers=headers,
                timeout=timeout,
                transport=transport,
                verify=not url.startswith("http://"),  # certificates that nobody asks for take 0.2 s to read
                trust_env=not is_here(url),  # no proxy knows the way to this machine
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise Invalid(f"{url!r} is no address of a server ({error}); take one like http://127.0.0.1:7070") from None

    def get(self, path: str, answer: type[Answer], **query: Any) -> Answer:
        return _decoded(self._send("GET", path, query=query), answer)

    def post(self, path: str, answer: type[Answer], body: Any = None, **query: Any) -> Answer:
        return _decoded(self._send("POST", path, body=None if body is None else encode(body), query=query), answer)

    def put(self, path: str, answer: type[Answer], body: bytes, media_type: str = "application/json") -> Answer:
        return _decoded(self._send("PUT", path, body=body, media_type=media_type), answer)

    def upload(self, path: str, answer: type[Answer], file: Path) -> Answer:
        """As `put`, from a file that may be larger than the memory."""
        return _decoded(self._send("PUT", path, body=file, media_type="application/octet-stream"), answer)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def download(self, path: str, **query: Any) -> bytes:
        return self._send("GET", path, query=query).content

    def exists(self, path: str) -> bool:
        try:
            self._send("HEAD", path)
        except NotFound:
            return False
        return True

    @property
    def place(self) -> HomeFolder:
        if self._place is None:
            self._place = HomeFolder(Path(mkdtemp(prefix="headway-")))
            weakref.finalize(self, shutil.rmtree, self._place.folder, ignore_errors=True)
        return self._place

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Forwarded:
        """Send a request that somebody else has made, once, and give its status, headers and body as they come."""
        try:
            response = self._http.request(method, path, content=body or None, headers=headers)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        kept = {name: value for name, value in response.headers.items() if name in _FORWARDED}
        return response.status_code, kept, response.content

    def close(self) -> None:
        self._http.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Path | None = None,
        query: dict[str, Any] | None = None,
        media_type: str = "application/json",
    ) -> httpx2.Response:
        params = {key: str(value) for key, value in (query or {}).items() if value is not None}
        headers = {} if body is None else {"content-type": media_type}
        if isinstance(body, Path):
            headers["content-length"] = str(body.stat().st_size)
        for left in range(self._attempts - 1, -1, -1):
            content = _chunks(body) if isinstance(body, Path) else body
            try:
                response = self._http.request(method, path, content=content, params=params, headers=headers)
                if response.status_code != 503 or not left or method not in _IDEMPOTENT:
                    return _checked(response)
            except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
                raise Invalid(f"cannot ask {self.url}: {error}") from None
            except httpx2.TransportError as error:
                unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
                if not left or not (unsent or method in _IDEMPOTENT):
                    raise self._unreachable(error) from error
            self._wait(0.1 * 2 ** (self._attempts - 1 - left))
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: httpx2.TransportError) -> Unreachable:
        if isinstance(error, httpx2.TimeoutException):
            why = "did not answer in time"
        else:
            why = "does not answer" + (f" ({error})" if str(error) else "")
        return Unreachable(f"the server at {self.url} {why}; is it running? `headway up` starts one", url=self.url)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            yield chunk


def _decoded(response: httpx2.Response, answer: type[Answer]) -> Answer:
    try:
        # Not strict, because JSON has no NaN: the server writes those as text.
        return msgspec.json.decode(response.content, type=answer, strict=False)
    except UNREADABLE as error:
        raise Unavailable(
            f"the server's answer to {response.request.url.path} cannot be read ({error}); "
            "client and server may be of different versions: compare `headway --version` and GET /version"
        ) from None


def _checked(response: httpx2.Response) -> httpx2.Response:
    if response.status_code < 400:
        return response
    try:
        body = msgspec.json.decode(response.content)["error"]
        code, message, details = str(body["code"]), str(body["message"]), dict(body.get("details") or {})
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        code, details = "", {}
        message = f"{response.request.url.path} answered with status {response.status_code}"
    if response.status_code >= 500 and code not in _with_leaves(Unavailable):
        raise Unavailable(f"the server failed: {message}; its log says more", **details)
    branch = _BRANCHES.get(response.status_code, Invalid)
    raise _with_leaves(HeadwayError).get(code, branch)(message, **details)
