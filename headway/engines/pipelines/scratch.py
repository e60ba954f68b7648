"""Files and folders that steps have given, copied for those that take them."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from headway.errors import BadPipeline


def copied(
    names: Sequence[str], blobs: Sequence[str], get: Callable[[str], bytes], file: Callable[[str], Path | None]
) -> Path:
    """A copy of its own, which is gone with this process: of a file or folder of the first of `names`, the others are
    those below it, one for each blob. A blob that lies in a `file` is copied from there, others are had by `get`."""
    below = names[1:]
    if not all(map(_is_below, names)) or "/" in names[0] or ("" in below and len(below) > 1):
        raise BadPipeline("the files that were stored have names that lead elsewhere; run their step again")
    folder = Path(tempfile.mkdtemp(dir=_scratch())) / (names[0] or "files")
    for name, blob in zip(below, blobs, strict=True):
        path = folder / name if name else folder
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = file(blob)
        if kept:
            shutil.copyfile(kept, path)
        else:
            path.write_bytes(get(blob))
    if not blobs:
        folder.mkdir()
    return folder


def _is_below(name: str) -> bool:
    """Whether a name leads to a place below a folder; the empty one is the folder's own."""
    return not name or not (name.startswith("/") or "\0" in name or {"", ".", ".."} & set(name.split("/")))


@functools.cache
def _scratch() -> str:
    """A folder for files that steps are handed, removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="headway-files-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
