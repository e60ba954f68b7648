"""Files of runs, logged models and traces. A path is a name in our records and leads to no other file."""

from __future__ import annotations

import mimetypes
import posixpath
from collections.abc import AsyncIterator, Iterable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple, cast

from anyio import to_thread
from blake3 import blake3

from headway.errors import Invalid, LedgerBroken, NotFound
from headway.kernel.access import Permission
from headway.kernel.blobs import BlobStore
from headway.kernel.naming import checked_path
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.records import Artifact
from headway.server.mlflow.experiments import shown_id
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.runs import RunId, experiment_named, native_model, shown_model
from headway.server.mlflow.versions import number_of, source_of
from headway.server.mlflow.wire import Answer, Ask, Desk

PROXIED = "/mlflow-artifacts/artifacts"
_SCHEME = "mlflow-artifacts:/"


class Place(NamedTuple):
    """What a path of the protocol means: a file, or a folder, of something that has an id here."""

    owner: str
    name: str


class ListArtifacts(RunId):
    path: str = ""


class ListModelArtifacts(Ask):
    model_id: str
    artifact_directory_path: str = ""


def place_of(platform: Platform, path: str) -> Place:
    """`{experiment}/{run}/artifacts/...`, `{experiment}/models/{model}/artifacts/...` or
    `{experiment}/traces/{trace}/artifacts/...`; raises `Invalid` for a path that leads elsewhere and `NotFound`."""
    checked_path(path)
    parts = path.split("/")
    if len(parts) >= 3 and parts[2] == "artifacts":
        return Place(platform.runs.get(parts[1]).id, "/".join(parts[3:]))
    if len(parts) >= 4 and parts[3] == "artifacts" and parts[1] == "models":
        return Place(platform.logged_models.get(native_model(parts[2]), deleted=True).id, "/".join(parts[4:]))
    if len(parts) >= 4 and parts[3] == "artifacts" and parts[1] == "traces":
        return Place(platform.traces.get(parts[2]).id, "/".join(parts[4:]))
    raise NotFound(f"{path[:200]!r} is no place for artifacts: they belong to a run, a logged model or a trace")


def listed(artifacts: Iterable[Artifact], folder: str) -> list[Answer]:
    """What lies directly in `folder`: files, and folders that have files. Paths begin at the owner."""
    start = len(folder) + 1 if folder else 0
    files, folders = {}, set()
    for artifact in artifacts:
        head, deeper, _ = artifact.name[start:].partition("/")
        if deeper:
            folders.add(artifact.name[:start] + head)
        else:
            files[artifact.name] = artifact.size
    found: list[Answer] = [{"path": path, "is_dir": True} for path in folders]
    found += [{"path": path, "is_dir": False, "file_size": size} for path, size in files.items()]
    return sorted(found, key=lambda each: str(each["path"]))


def list_proxied(platform: Platform, path: str) -> Answer:
    """As the proxy lists: paths begin at the folder that was asked for."""
    place = place_of(platform, path)
    found = listed(platform.artifacts.below(place.owner, place.name), place.name)
    return {"files": [each | {"path": posixpath.basename(each["path"])} for each in found]}


def of_run(ask: ListArtifacts, desk: Desk) -> Answer:
    run = desk.platform.runs.get(ask.run)
    experiment = shown_id(experiment_named(desk.platform, run.experiment))
    files = listed(desk.platform.artifacts.below(run.id, ask.path), ask.path)
    return {"root_uri": f"{_SCHEME}{experiment}/{run.id}/artifacts", "files": files}


def of_model(ask: ListModelArtifacts, desk: Desk) -> Answer:
    model = desk.platform.logged_models.get(native_model(ask.model_id))
    experiment = shown_id(desk.platform.experiments.get(model.experiment))
    folder = ask.artifact_directory_path
    files = listed(desk.platform.artifacts.below(model.id, folder), folder)
    return {"root_uri": f"{_SCHEME}{experiment}/models/{shown_model(model.id)}/artifacts", "files": files}


def opened(platform: Platform, place: Place) -> Artifact:
    if not place.name:
        raise Invalid("this is a folder; name a file in it")
    return platform.artifacts.named(place.owner, place.name)


def of_version(platform: Platform, name: str, version: str, path: str) -> Artifact:
    source = source_of(platform.registry.registered(name, number_of(version)))
    if not source.startswith(_SCHEME):
        raise NotFound(f"version {version} of {name[:200]!r} has no files of its own here")
    return opened(platform, place_of(platform, f"{source.removeprefix(_SCHEME)}/{path}"))


async def kept(desk: Desk, path: str, chunks: AsyncIterator[bytes]) -> Artifact:
    """Keep an upload, written to disk as it comes, then named: cut off in the middle it leaves nothing."""
    desk.by.must(Permission.WRITE)
    place = await to_thread.run_sync(place_of, desk.platform, path)
    if not place.name:
        raise Invalid("this is a folder; name a file in it")
    with NamedTemporaryFile(dir=desk.uploads, prefix="artifact-") as file:
        hasher, size = blake3(), 0
        async for chunk in chunks:
            hasher.update(chunk)
            size += file.write(chunk)
        file.flush()
        return await to_thread.run_sync(kept_file, desk, place, Path(file.name), hasher.hexdigest(), size)


def kept_file(desk: Desk, place: Place, path: Path, hexdigest: str, size: int) -> Artifact:
    """Keep the file at `path` as a blob, and name it; raises `LedgerBroken` when it no longer has its BLAKE3."""
    digest = f"b3:{hexdigest}"
    if _keep(desk.blobs, path, size) != digest:
        raise LedgerBroken(f"what was uploaded changed on the disk before it was kept as {digest}; send it again")
    media_type = mimetypes.guess_type(place.name)[0] or "application/octet-stream"
    return desk.platform.artifacts.put(*place, digest, size, by=desk.by, media_type=media_type)


def _keep(blobs: BlobStore, path: Path, size: int) -> str:
    if size == 0:  # an empty file cannot be mapped
        return blobs.put(b"")
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as view:
        return blobs.put(cast(bytes, view))


def removed(desk: Desk, path: str) -> Answer:
    place = place_of(desk.platform, path)
    if place.name:
        desk.platform.artifacts.remove(place.owner, place.name, by=desk.by)
        return {}
    for artifact in desk.platform.artifacts.below(place.owner):
        desk.platform.artifacts.remove(place.owner, artifact.name, by=desk.by)
    return {}


ENDPOINTS = (
    Endpoint("GET", "artifacts/list", ListArtifacts, of_run),
    Endpoint("GET", "logged-models/{model_id}/artifacts/directories", ListModelArtifacts, of_model),
)
