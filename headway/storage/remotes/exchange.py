"""Bringing versions from a home to a remote and back: only what is missing, several blobs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from headway.errors import NotFound
from headway.kernel.records import Value
from headway.lifecycle.datasets.records import DatasetVersion, Form
from headway.storage.remotes.addresses import Advance
from headway.storage.remotes.layout import RemoteVersion, remote_version
from headway.storage.remotes.remote import Remote

PARALLEL = 8


class Blobs(Protocol):
    """The home's side, as the client has it."""

    def has(self, name: str) -> bool: ...
    def get(self, name: str) -> bytes: ...
    def path(self, name: str) -> Path | None: ...
    def give(self, file: Path, name: str, size: int) -> None: ...


class Exchanged(Value):
    """What went over the line. `number` is the one that the version has on the other side."""

    dataset: str
    number: int
    remote: str
    blobs: int
    bytes: int
    there: int
    """Blobs that were on the other side before."""


def push(blobs: Blobs, version: DatasetVersion, remote: Remote, advance: Advance) -> tuple[RemoteVersion, Exchanged]:
    """Send a version: its blobs first, then the word that it is there. Cut off, it goes on where it was."""
    offered = remote_version(version, version.number, "")
    sizes = _sizes(offered)

    def send(digest: str) -> int:
        if remote.has(digest, sizes.get(digest)):
            return 0
        path = blobs.path(digest)
        source: Path | bytes = path if path is not None else blobs.get(digest)
        remote.put(digest, source)
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        advance(size)
        return size

    sent = _each(send, offered.blobs)
    committed = remote.commit(version)
    return committed, _told(committed, remote, sent)


def fetch(blobs: Blobs, wanted: RemoteVersion, remote: Remote, folder: Path, advance: Advance) -> Exchanged:
    """Bring the blobs of a version into the home. `folder` is for files that are not whole yet."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def bring(digest: str) -> int:
        if blobs.has(digest):
            return 0
        target = folder / f"blob-{token_hex(8)}"
        size = remote.fetch(digest, target, advance)
        blobs.give(target, digest, size)
        return size

    needed = wanted.blobs if wanted.form is Form.TABLE else tuple(pack.blob for pack in wanted.packs)
    return _told(wanted, remote, _each(bring, needed))


def wanted_version(remote: Remote, name: str, number: int | None, digest: str = "") -> RemoteVersion:
    """The version with this digest, else with this number, else the newest; raises `NotFound`."""
    if number is not None and not digest:
        return remote.version(name, number)
    known = remote.versions(name)
    matching = [each for each in known if not digest or digest in (each.digest, each.blob)]
    if not matching:
        what = f"{name} as {digest}" if digest else f"version of {name}"
        raise NotFound(f"{remote.address} has no {what}; was it pushed? `headway dataset push` does")
    return matching[-1]


def _sizes(version: RemoteVersion) -> dict[str, int]:
    whole = {version.blob: version.size} if version.form is Form.TABLE and not version.parts else {}
    return whole | {part.blob: part.size for part in version.parts} | {pack.blob: pack.size for pack in version.packs}


def _each(work: Callable[[str], int], digests: Iterable[str]) -> list[int]:
    with ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="headway-remote") as pool:
        waiting = [pool.submit(work, digest) for digest in digests]
        try:
            return [each.result() for each in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _told(version: RemoteVersion, remote: Remote, sizes: list[int]) -> Exchanged:
    sent = [size for size in sizes if size]
    return Exchanged(
        dataset=version.dataset, number=version.number, remote=remote.address, blobs=len(sent), bytes=sum(sent),
        there=len(sizes) - len(sent),
    )  # fmt: skip
