"""The listing of a folder: what its files are called and what they hold, without a word of how they are kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import ge
from typing import NamedTuple

from headway.errors import Invalid
from headway.kernel.records import digest

MOST_PATH_BYTES = 4096
_MOST_NAME_BYTES = 255
_BAD = re.compile(r"\0(?=[\0/])|/(?=[\0/])|(?<=[\0/])\.\.?(?=[\0/])|[\x01-\x1f\x7f\\]|[\ud800-\udfff]")
_SUSPICIOUS = ("\0/", "//", "/\0", "\0\0", "\0.", "/.", "\\")
"""Without any of these, and with printable characters alone, there is nothing bad to be searched for."""
_WHY = {"\0": "begins with / or is empty", "/": "has an empty part", ".": "has a part . or ..", "\\": "has a backslash"}


class Entry(NamedTuple):
    """One file. `digest` is the BLAKE3 of its bytes; `lists` are those of its lists of chunks, in order, if it is cut
    into chunks."""

    path: str
    size: int
    executable: bool
    digest: bytes
    lists: tuple[bytes, ...] = ()


def entries_from(
    paths: Iterable[str], sizes: Iterable[int], executables: Iterable[bool], digests: Iterable[bytes],
    lists: Mapping[int, tuple[bytes, ...]],
) -> list[Entry]:  # fmt: skip
    """An entry for each place of the columns, of which `lists` has few: made in a third of the time of `Entry(...)`."""
    columns = zip(paths, sizes, executables, digests, repeat(()), strict=False)
    found: list[Entry] = list(map(tuple.__new__, repeat(Entry), columns))
    for at, names in lists.items():
        found[at] = found[at]._replace(lists=names)
    return found


def checked_paths(paths: Sequence[str]) -> None:
    """Raises `Invalid` unless these are the paths of one folder's files: relative, in order, each once, without what
    leads out of a folder or cannot be written in it."""
    joined = "\0" + "\0".join(paths) + "\0"
    plain = joined.replace("\0", "").isprintable() and not any(each in joined for each in _SUSPICIOUS)
    if not plain and (bad := _BAD.search(joined)):
        start, end = joined.rfind("\0", 0, bad.start() + 1), joined.find("\0", bad.start() + 1)
        what = _WHY.get(bad[0][0], "has a control character or is not UTF-8")
        raise Invalid(f"{joined[start + 1 : end]!r:.300} cannot be a file's path: it {what}; rename it")
    if joined.count("\0") != len(paths) + 1:
        raise Invalid("a path has a NUL character; rename it")
    if any(map(ge, paths, paths[1:])):
        raise Invalid("the paths of a listing must be in order, and each there once")
    for path in paths:
        if len(path) * 4 > _MOST_NAME_BYTES:  # most are short, which is told without encoding them
            _check_length(path)
    folders = folders_of(paths)
    if clash := next((path for path in paths if path in folders), None):
        raise Invalid(f"{clash[:300]!r} is a file and a folder at once")


def _check_length(path: str) -> None:
    if len(path.encode()) > MOST_PATH_BYTES or max(len(part.encode()) for part in path.split("/")) > _MOST_NAME_BYTES:
        raise Invalid(f"{path[:80]!r}... is too long: {_MOST_NAME_BYTES} bytes a name, {MOST_PATH_BYTES} a path")


def folders_of(paths: Iterable[str]) -> set[str]:
    """Every folder that is named in the paths."""
    found: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in paths}:
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def clashes(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs that are one name where capitals and accents are not told apart."""
    seen: dict[str, str] = {}
    found = []
    for path in (*(paths := list(paths)), *sorted(folders_of(paths))):
        same = seen.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if same != path:
            found.append((same, path))
    return found


def listing_digest(entries: Iterable[Entry]) -> str:
    """The digest of the listing: a line for each file, in order of the paths' UTF-8 bytes, of the digest in hex, `x` or
    `-`, the size and the path."""
    lines = [f"{each.digest.hex()} {'x' if each.executable else '-'} {each.size} {each.path}\n" for each in entries]
    return digest("".join(lines).encode())
