"""The pointer: a small text that stands in a repository for the files of a version, beside where they belong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from headway.errors import Invalid
from headway.kernel.blobs import checked_digest
from headway.kernel.naming import checked_name
from headway.kernel.records import Value
from headway.lifecycle.datasets.listing import checked_paths
from headway.lifecycle.datasets.records import DatasetVersion, Form

SUFFIX = ".dataset.toml"
_HEAD = "# Headway keeps these files. `headway dataset pull` brings them to `path`, beside this file.\n"


class Pointer(Value):
    """`path` is beside the pointer, and `digest` says what has to be there; `version` is where that was found."""

    dataset: str
    version: int
    digest: str
    path: str
    files: int = 0
    size: int = 0

    @property
    def label(self) -> str:
        return f"{self.dataset}@{self.version}"


def pointer_to(version: DatasetVersion, path: str) -> Pointer:
    """Raises `Invalid` for a version of a table."""
    if version.form is not Form.FILES:
        raise Invalid(f"{version.label} is a table; a pointer leads to files")
    return Pointer(
        dataset=version.dataset, version=version.number, digest=version.digest, path=path, files=version.files,
        size=version.size,
    )  # fmt: skip


def write_pointer(file: Path, pointer: Pointer) -> None:
    """As TOML, one line a field, so that two versions of it are told apart at a glance."""
    fields = msgspec.structs.asdict(pointer)
    lines = (f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in fields.items())
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(_HEAD + "".join(lines))
    fresh.replace(file)


def read_pointer(file: Path) -> Pointer:
    """Raises `Invalid` for what is none, or leads out of its folder: it may have come from anywhere."""
    try:
        pointer = msgspec.convert(tomllib.loads(file.read_text()), Pointer)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Invalid(f"{file} is no pointer to a dataset: {error}") from None
    checked_name(pointer.dataset, "dataset")
    checked_digest(pointer.digest)
    checked_paths([pointer.path])
    return pointer
