"""From an address to a source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headway.client.mlflow.database import DatabaseSource
from headway.client.mlflow.server import ServerSource
from headway.client.mlflow.source import Source
from headway.client.mlflow.wire import Wire
from headway.errors import Invalid


def open_source(uri: str, env: Mapping[str, str], artifacts: Path | None = None) -> Source:
    """The source at `uri`, whose files are in `artifacts` if it is a database; raises `Invalid` for what is none."""
    if uri.startswith(("http://", "https://")):
        return ServerSource(Wire(uri, env))
    if uri.startswith("sqlite:///"):
        return DatabaseSource(Path(uri.removeprefix("sqlite:///")).absolute(), artifacts)
    raise Invalid(
        f"{uri!r} is no MLflow server, such as http://127.0.0.1:5000, and no sqlite:///mlflow.db; for another store "
        "start a server on it, with `mlflow server --backend-store-uri URI`, and import from that"
    )
