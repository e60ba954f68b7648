"""Traces are searched by begin, status, name, tag and metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = sa.MetaData()
_FOUND = sa.Table(
    "trace_search",
    _TABLES,
    sa.Column("trace", _TEXT, primary_key=True),
    sa.Column("experiment", _TEXT, nullable=False),
    sa.Column("deleted", sa.BigInteger, nullable=False),
    sa.Column("began_ms", sa.BigInteger, nullable=False),
    sa.Column("request", _TEXT, nullable=False),
    sa.Column("status", _TEXT),
    sa.Column("name", _TEXT),
    sa.Index("trace_search_newest", "experiment", "deleted", "began_ms", "trace"),
)
_TEXTS = sa.Table(
    "trace_texts",
    _TABLES,
    sa.Column("trace", _TEXT, primary_key=True),
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("key", _TEXT, primary_key=True),
    sa.Column("value", _TEXT, nullable=False),
    sa.Index("trace_texts_by_value", "kind", "key", "value", "trace"),
    sqlite_with_rowid=False,
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z")
_LONGEST = 250
_AT_ONCE = 1000


def upgrade() -> None:
    connection = op.get_bind()
    _TABLES.create_all(connection)
    after = ""
    page = sa.text("SELECT id, body FROM traces WHERE id > :after ORDER BY id LIMIT :most")
    while rows := connection.execute(page, {"after": after, "most": _AT_ONCE}).all():
        traces = [msgspec.json.decode(body, type=dict[str, Any]) for _, body in rows]
        connection.execute(_FOUND.insert(), [_row(trace) for trace in traces])
        if texts := [text for trace in traces for text in _texts(trace)]:
            connection.execute(_TEXTS.insert(), texts)
        after = rows[-1][0]


def _row(trace: dict[str, Any]) -> dict[str, Any]:
    state, name = trace.get("told", {}).get("state"), trace.get("tags", {}).get("mlflow.traceName")
    return {
        "trace": trace["id"], "experiment": trace["experiment"], "deleted": int(trace.get("deleted_at") is not None),
        "began_ms": _began_ms(trace), "request": trace["request"],
        "status": _written(state) if isinstance(state, str) else None, "name": None if name is None else _written(name),
    }  # fmt: skip


def _texts(trace: dict[str, Any]) -> Iterator[dict[str, str]]:
    metadata = trace.get("told", {}).get("trace_metadata")
    for kind, texts in (("tag", trace.get("tags", {})), ("metadata", metadata if isinstance(metadata, dict) else {})):
        for key, text in texts.items():
            if isinstance(text, str) and len(key) <= _LONGEST and len(text) <= _LONGEST:
                yield {"trace": trace["id"], "kind": kind, "key": _written(key), "value": _written(text)}


def _began_ms(trace: dict[str, Any]) -> int:
    match = _TIME.fullmatch(str(trace.get("told", {}).get("request_time", "")))
    if match is None:
        return int(msgspec.convert(trace["created_at"], datetime).timestamp() * 1000)
    try:
        whole = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(whole.timestamp()) * 1000 + int(((match[2] or ".") + "000")[1:4])


def _written(text: str) -> str:
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
