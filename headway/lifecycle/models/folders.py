"""Models that are folders: the files of a registration, and the list of them that stands for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from headway.errors import Invalid
from headway.kernel.blobs import checked_digest
from headway.kernel.naming import checked_path
from headway.kernel.records import UNREADABLE
from headway.lifecycle.models.records import ModelFile, ModelFolder, Registration

if TYPE_CHECKING:  # a model server needs nothing of runs, and a megabyte less
    from headway.lifecycle.runs.store import ArtifactStore

_read = msgspec.json.Decoder(ModelFolder).decode


def read_folder(data: bytes) -> ModelFolder:
    """The folder whose encoding `data` is; raises `Invalid` for what is none, and for a path that leads elsewhere."""
    try:
        folder = _read(data)
    except UNREADABLE as error:
        raise Invalid(f"this blob is no list of a model's files: {error}") from None
    for file in folder.files:
        checked_path(file.name)
        checked_digest(file.blob)
    if not folder.files or len({file.name for file in folder.files}) < len(folder.files):
        raise Invalid("a model's folder has at least one file, each under a name of its own")
    return folder


def files_of(registration: Registration, artifacts: ArtifactStore) -> tuple[ModelFile, ...]:
    """The files below a registration's source, by name; raises `Invalid` when it has none of its own here."""
    head, found, folder = registration.source.partition("/artifacts")
    owner = registration.logged_model if "/models/" in head else registration.run
    if not found or not owner or not head.startswith("mlflow-artifacts:/"):
        raise Invalid(
            f"{registration.model}@{registration.number} was registered from {registration.source[:200]}, which has no "
            "files of its own here; register the logged model itself"
        )
    under = folder.strip("/") + "/" if folder.strip("/") else ""
    files = [
        ModelFile(name=artifact.name.removeprefix(under), blob=artifact.blob, size=artifact.size)
        for artifact in artifacts.list(owner)
        if artifact.removed_at is None and artifact.name.startswith(under)
    ]
    return tuple(sorted(files, key=lambda file: file.name))
