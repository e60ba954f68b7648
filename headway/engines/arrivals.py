"""Looks for files that have arrived in the operator's folder, for the triggers that listen to files.

A file has arrived once its size and time have stayed the same for as long as its trigger asks. It is told by what is in
it: the same content fires once, under whatever name and however often it comes.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import blake3

from headway.errors import HeadwayError
from headway.kernel.clock import Clock
from headway.lifecycle.changes.globs import globbed
from headway.lifecycle.changes.records import Cause, Noticed, Trigger
from headway.lifecycle.platform import Platform

_LOG = logging.getLogger("headway.arrivals")
_CHUNK = 1 << 20
MOST_FILES = 10_000
"""In the folder; what is beyond is not looked at, and the log says so."""


class _Look(NamedTuple):
    """How a file was seen. `changed_ns` is when it was put where it is, or written last."""

    size: int
    written_ns: int
    changed_ns: int
    inode: int


class Arrivals:
    """`folder` is None where the operator has named none: then nothing ever arrives."""

    def __init__(self, platform: Platform, clock: Clock, folder: Path | None) -> None:
        self._platform, self._clock, self._folder = platform, clock, folder
        self._seen: dict[str, tuple[_Look, datetime]] = {}
        """As each file is since when."""
        self._digests: dict[str, tuple[_Look, str]] = {}

    def step(self) -> None:
        """One look at the folder."""
        triggers = [each for each in self._platform.triggers.all() if each.on is Cause.FILE and not each.paused_at]
        if self._folder is None or not triggers:
            return
        found = dict(_files(self._folder))
        now = self._clock.now()
        self._seen = {
            name: self._seen[name] if name in self._seen and self._seen[name][0] == look else (look, now)
            for name, look in found.items()
        }
        self._digests = {name: known for name, known in self._digests.items() if name in found}
        for trigger in triggers:
            try:
                self._notice(trigger, now)
            except HeadwayError as error:
                _LOG.warning("trigger %s: %s", trigger.name, error)

    def _notice(self, trigger: Trigger, now: datetime) -> None:
        pattern = globbed(trigger.source)
        for name, (look, since) in sorted(self._seen.items(), key=lambda each: (each[1][0].changed_ns, each[0])):
            stable = (now - since).total_seconds() >= trigger.stable_s
            if not stable or not pattern.fullmatch(name) or not _after(look, trigger.since):
                continue
            content = self._digest(name, look)
            if content:
                cause = Noticed(
                    key=f"{trigger.id}/file/{content}", cause=Cause.FILE, why=f"{name} arrived",
                    facts={"file": str((self._folder or Path()) / name), "digest": content},
                )  # fmt: skip
                self._platform.triggers.notice(trigger, [cause])

    def _digest(self, name: str, look: _Look) -> str:
        """Of what is in the file; nothing while somebody still writes it."""
        known = self._digests.get(name)
        if known is None or known[0] != look:
            content = _read(self._folder or Path(), name, look)
            if not content:
                return ""
            known = self._digests[name] = look, content
        return known[1]


def _files(folder: Path) -> Iterator[tuple[str, _Look]]:
    """The plain files below `folder`; links are not followed, and hidden ones are other programs' own."""
    count = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            try:
                found = path.lstat()
            except OSError:  # taken away meanwhile
                continue
            if name.startswith(".") or not stat.S_ISREG(found.st_mode):
                continue
            count += 1
            if count > MOST_FILES:
                _LOG.warning("%s has more than %d files; the others are not looked at", folder, MOST_FILES)
                return
            yield path.relative_to(folder).as_posix(), _looked(found)


def _looked(found: os.stat_result) -> _Look:
    return _Look(found.st_size, found.st_mtime_ns, max(found.st_mtime_ns, found.st_ctime_ns), found.st_ino)


def _after(look: _Look, moment: datetime) -> bool:
    """Whether it came after `moment`: a file that is moved here keeps the time of its writing, but not of its place."""
    return datetime.fromtimestamp(look.changed_ns / 1e9, UTC) > moment


def _read(folder: Path, name: str, look: _Look) -> str:
    try:
        # A name that has become a link meanwhile is not followed.
        file = os.fdopen(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError:
        return ""
    with file:
        whole = blake3.blake3()
        while data := file.read(_CHUNK):
            whole.update(data)
        same = _looked(os.fstat(file.fileno())) == look
    return "b3:" + whole.hexdigest() if same else ""
