"""From an address to a source."""

from __future__ import annotations

from collections.abc import Mapping

from headway.client.mlflow.server import ServerSource
from headway.client.mlflow.source import Source
from headway.client.mlflow.wire import Wire
from headway.errors import Invalid


def open_source(uri: str, env: Mapping[str, str]) -> Source:
    """The source at `uri`; raises `Invalid` for what leads to none."""
    if uri.startswith(("http://", "https://")):
        return ServerSource(Wire(uri, env))
    raise Invalid(
        f"{uri!r} is no MLflow server, such as http://127.0.0.1:5000; for a database or a folder start one on it, "
        "with `mlflow server --backend-store-uri URI`, and import from that"
    )
