"""The layout of an export: what is where, and what the manifest says. `docs/export.md` tells it to others."""

from __future__ import annotations

import msgspec

from headway.errors import Invalid
from headway.kernel.ledger import Anchor
from headway.kernel.records import UNREADABLE, Value

FORMAT, VERSION = "headway-export", 1
MANIFEST = "manifest.json"
LEDGER, LINEAGE, BLOBS = "ledger.jsonl", "lineage.jsonl", "blobs.jsonl"
POINTS = "metric_points"
PROJECT = "project.toml"
SECRETS = "secrets"


class Content(Value):
    """A file: its digest, its bytes and, if it is a table, its rows."""

    digest: str
    size: int
    rows: int | None = None


class Blob(Value):
    digest: str
    size: int


class Manifest(Value):
    """`database` is the version of the database that it was read from; `head` is the ledger's last entry."""

    format: str
    version: int
    headway: str
    database: str
    head: Anchor
    blobs: int
    blob_bytes: int
    files: dict[str, Content]


def record_file(table: str) -> str:
    return f"records/{table}.jsonl"


def blob_file(digest: str) -> str:
    name = digest.removeprefix("b3:")
    return f"blobs/{name[:2]}/{name[2:]}"


def read_manifest(data: bytes) -> Manifest:
    """Raises `Invalid` for what is no manifest, or one of a version that is not known here."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except UNREADABLE as error:
        raise Invalid(f"{MANIFEST} is damaged, or of no export: {error}") from error
    if manifest.format != FORMAT or manifest.version != VERSION:
        raise Invalid(f"{MANIFEST} is of {manifest.format} {manifest.version}; this Headway reads {FORMAT} {VERSION}")
    return manifest
