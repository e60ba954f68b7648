"""What is asked of the platform by what keeps datasets: over HTTP, or by something nearer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from headway.client.home import HomeFolder

Answer = TypeVar("Answer")


class Line(Protocol):
    """One request and its answer as a record; its error as the error it was. `Connection` says what the methods do."""

    url: str
    adopt: Callable[[Path, str], None] | None
    """Takes a file into the blobs without copying it, where the platform is in this process."""

    @property
    def place(self) -> HomeFolder: ...
    def get(self, path: str, answer: type[Answer], **query: Any) -> Answer: ...
    def post(self, path: str, answer: type[Answer], body: Any = None, **query: Any) -> Answer: ...
    def put(self, path: str, answer: type[Answer], body: bytes, media_type: str = "application/json") -> Answer: ...
    def upload(self, path: str, answer: type[Answer], file: Path) -> Answer: ...
    def download(self, path: str, **query: Any) -> bytes: ...
    def exists(self, path: str) -> bool: ...


def segment(text: str) -> str:
    """`text` as one part of a path."""
    return quote(text, safe="@:")
