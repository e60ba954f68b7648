"""What lies where in a remote. `docs/datasets.md` tells it to others: a remote can be read without Headway.

headway-remote.json                    the format, written once
blobs/ab/cdef...                       bytes under their BLAKE3, as in a home
versions/NAME/0000000003.json          version 3 of NAME, written once and never changed
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from headway.errors import Invalid
from headway.kernel.blobs import blob_place
from headway.kernel.records import UNREADABLE, Value
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.records import DatasetVersion, Form, Pack, Part
from headway.lifecycle.datasets.schema import Column

FORMAT, VERSION = "headway-remote", 1
HEAD = "headway-remote.json"
_NUMBERED = re.compile(r"(\d{10})\.json")


class Head(Value):
    format: str = FORMAT
    version: int = VERSION


class RemoteVersion(Value):
    """A version as a remote has it. `number` is the remote's: two homes may have numbered what they had alike. `token`
    is of the one who wrote it, who so knows it for its own."""

    dataset: str
    number: int
    token: str
    made_at: datetime
    form: Form
    blob: str
    size: int
    rows: int = 0
    schema: tuple[Column, ...] = ()
    contract: Contract | None = None
    parts: tuple[Part, ...] = ()
    together: int = 1
    files: int = 0
    digest: str = ""
    root: str = ""
    packs: tuple[Pack, ...] = ()
    note: str = ""

    @property
    def label(self) -> str:
        return f"{self.dataset}@{self.number}"

    @property
    def blobs(self) -> tuple[str, ...]:
        """Every blob that it needs."""
        parts, packs = (part.blob for part in self.parts), (pack.blob for pack in self.packs)
        return tuple(dict.fromkeys((self.blob, *parts, *packs)))

    def same_as(self, version: DatasetVersion) -> bool:
        """Whether they hold the same, however it is kept."""
        if self.form is Form.FILES:
            return version.form is Form.FILES and self.digest == version.digest
        return version.form is Form.TABLE and (self.blob, self.contract) == (version.blob, version.contract)


def remote_version(version: DatasetVersion, number: int, token: str) -> RemoteVersion:
    return RemoteVersion(
        dataset=version.dataset, number=number, token=token, made_at=version.created_at, form=version.form,
        blob=version.blob, size=version.size, rows=version.rows, schema=version.schema, contract=version.contract,
        parts=version.parts, together=version.together, files=version.files, digest=version.digest, root=version.root,
        packs=version.packs, note=version.note,
    )  # fmt: skip


def blob_file(digest: str) -> str:
    return f"blobs/{blob_place(digest)}"


def version_folder(name: str) -> str:
    return f"versions/{name}"


def version_file(name: str, number: int) -> str:
    return f"{version_folder(name)}/{number:010}.json"


def number_of(path: str) -> int | None:
    """The number in a version's file name; None for another file."""
    found = _NUMBERED.fullmatch(path.rpartition("/")[2])
    return int(found[1]) if found else None


def read_version(data: bytes, where: str) -> RemoteVersion:
    try:
        return msgspec.json.decode(data, type=RemoteVersion)
    except UNREADABLE as error:
        raise Invalid(f"{where} is no version that this Headway can read: {error}") from error


def check_head(data: bytes, where: str) -> None:
    """Raises `Invalid` for what is no remote, or one of another format."""
    try:
        head = msgspec.json.decode(data, type=Head)
    except UNREADABLE as error:
        raise Invalid(f"{where} is no remote of Headway: {error}") from error
    if head.format != FORMAT or head.version != VERSION:
        raise Invalid(f"{where} is {head.format} {head.version}; this Headway reads {FORMAT} {VERSION}")
