"""Files that are somewhere else, to be added from there: every object below a URI, or the one that it names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from headway.errors import Invalid, NotFound, Unavailable, first_line
from headway.lifecycle.datasets.listing import checked_paths
from headway.storage.remotes.addresses import CHUNK_BYTES, Advance, checked_address, open_store

_PARALLEL = 8
_WEB = ("http", "https")


def fetch_all(uri: str, folder: Path, advance: Advance) -> int:
    """Write what is at `uri` into `folder`; returns how many files.

    Raises `NotFound` for a place with nothing in it, `Invalid` for names that cannot be files, `Unavailable` for a
    place that does not answer.
    """
    try:
        if urlsplit(uri).scheme in _WEB:
            above, _, name = uri.rpartition("/")
            store, paths = from_url(above), [name]
        else:
            store, paths = _listed(uri)
        checked_paths(sorted(paths))
        with ThreadPoolExecutor(max_workers=_PARALLEL, thread_name_prefix="headway-source") as pool:
            for done in [pool.submit(_fetch, store, path, folder / path, advance) for path in paths]:
                done.result()
    except (FileNotFoundError, NotFoundError) as error:
        raise NotFound(f"{_plain(uri)} is not there: {first_line(error)}") from error
    except (BaseError, OSError) as error:
        raise Unavailable(f"{_plain(uri)} cannot be read: {first_line(error)}") from error
    return len(paths)


def _listed(uri: str) -> tuple[ObjectStore, list[str]]:
    address = checked_address(uri)
    above, _, name = address.rpartition("/")
    if "://" in address and not urlsplit(address).path.strip("/"):
        above, name = address, ""
    store = open_store(above, make=False)
    if name and _is_one(store, name):
        return store, [name]
    paths = [found["path"] for chunk in store.list(name or None) for found in chunk]
    if not paths:
        raise NotFound(f"there is nothing at {_plain(uri)}")
    if not name:
        return store, paths
    return open_store(address, make=False), [path.removeprefix(name + "/") for path in paths]


def _is_one(store: ObjectStore, name: str) -> bool:
    """Whether it is one object rather than what begins like it."""
    try:
        store.head(name)
    except (FileNotFoundError, NotFoundError, IsADirectoryError):
        return False
    return True


def _fetch(store: ObjectStore, path: str, target: Path, advance: Advance) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        for chunk in store.get(path).stream(CHUNK_BYTES):
            file.write(chunk)
            advance(len(chunk))


def _plain(uri: str) -> str:
    """Without what may be a secret."""
    parts = urlsplit(uri)
    if not parts.scheme:
        raise Invalid(f"{uri[:100]!r} is no URI")
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
