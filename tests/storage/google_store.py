"""What of Google Cloud Storage's XML API a remote needs, as cloud.google.com/storage/docs/xml-api describes it:
`python google_store.py PORT TOKEN`.

It is written for these tests, since no emulator that can be installed takes a put in the XML API and holds to
`x-goog-if-generation-match`. So it proves what the client sends and how it reads answers, not what Google does.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 5
"""Small, so that listings take several."""


class Store(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, port: int, token: str) -> None:
        super().__init__(("127.0.0.1", port), Requests)
        self.token = token
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        if not self._may():
            return
        with self.server.lock:
            if self.headers.get("x-goog-if-generation-match") == "0" and self._name() in self.server.objects:
                return self._answer(412)
            self.server.objects[self._name()] = data
        self._answer(200, b"", data)

    def do_GET(self) -> None:
        if not self._may():
            return
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "list-type" in asked:
            return self._answer(200, self._page(asked["prefix"][0], asked.get("continuation-token", [""])[0]))
        data = self.server.objects.get(self._name())
        if data is None:
            return self._answer(404)
        self._answer(200, data, data)

    do_HEAD = do_GET

    def _may(self) -> bool:
        if self.headers.get("authorization") == f"Bearer {self.server.token}":
            return True
        self._answer(401)
        return False

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).partition("/")[2].partition("/")[2]

    def _page(self, prefix: str, after: str) -> bytes:
        names = sorted(name for name in self.server.objects if name.startswith(prefix) and name > after)
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{_etag(self.server.objects[name])}</ETag><Size>{len(self.server.objects[name])}</Size></Contents>"
            for name in names[:PAGE]
        )
        more = f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>" if names[PAGE:] else ""
        return f"<?xml version='1.0'?><ListBucketResult>{contents}{more}</ListBucketResult>".encode()

    def _answer(self, status: int, body: bytes = b"", about: bytes | None = None) -> None:
        self.send_response(status)
        if about is not None:
            self.send_header("etag", _etag(about))
            self.send_header("last-modified", formatdate(usegmt=True))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()}"'


if __name__ == "__main__":
    Store(int(sys.argv[1]), sys.argv[2]).serve_forever()
