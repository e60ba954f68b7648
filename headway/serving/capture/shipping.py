"""Sends the segments in the spool to the control plane, and keeps each until it is acknowledged."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 4.0
_BAD, _ALREADY_THERE = 300, 409

log = logging.getLogger(__name__)


class Shipper:
    """`control` gives the control plane's URL, or nothing to keep everything; `deployment` names what the segments
    belong to, empty until that is known. Both are asked at each send, and the token file is read: a control plane may
    come back elsewhere, a token may be replaced."""

    def __init__(
        self,
        spool: Path,
        control: Callable[[], str],
        token_file: Path | None,
        deployment: Callable[[], str],
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool, self._control, self._token_file = spool, control, token_file
        self._deployment, self._elapsed_s = deployment, elapsed_s
        self._delay_s, self._next_at_s = FIRST_DELAY_S, 0.0
        self.error = ""
        self.recount()

    def send(self, *, at_once: bool = False) -> None:
        """Send what is there. After a failure the next attempt waits, twice as long each time, unless `at_once`.

        Workers share a spool: one of them sends at a time, and the others leave it to it, or wait if `at_once`.
        """
        with _locked(self._spool, wait=at_once) as mine:
            if mine:
                self._send(at_once=at_once)
        self.recount()
        if not self.unsent:  # maybe because another worker has sent what this one could not
            self._settle("")

    def _send(self, *, at_once: bool) -> None:
        deployment, control = self._deployment(), self._control()
        if not control or not deployment:
            return
        paths = self._segments()
        if not paths or (not at_once and self._elapsed_s() < self._next_at_s):
            return
        self.unsent, error = len(paths), ""
        for path in paths:
            try:
                status = self._put(control, deployment, path)
            except OSError as failure:
                error = f"the control plane does not answer: {failure}"
                break
            if status >= _BAD and status != _ALREADY_THERE:
                error = f"the control plane answered {status} to segment {path.stem}"
                continue
            path.unlink(missing_ok=True)
        self._settle(error)

    def _put(self, control: str, deployment: str, path: Path) -> int:
        from headway.serving.capture.upload import put  # noqa: PLC0415

        headers = {"Content-Type": "application/vnd.apache.parquet"}
        if self._token_file:
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        url = f"{control}/v1/deployments/{quote(deployment, safe='')}/segments/b3:{path.stem}"
        return put(url, path.read_bytes(), headers)

    def _settle(self, error: str) -> None:
        if error and error != self.error:
            log.warning("segments not sent", extra={"facts": {"error": error, "unsent": self.unsent}})
        self.error = error
        self._next_at_s = self._elapsed_s() + self._delay_s if error else 0.0
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S) if error else FIRST_DELAY_S

    def _segments(self) -> list[Path]:
        """Oldest first."""
        return sorted(self._spool.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)

    def recount(self) -> None:
        self.unsent = sum(1 for _ in self._spool.glob("*.parquet"))


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Whether `folder` is this process's alone within the block; the system frees what a dead process held."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError:  # there is nothing to send in a folder that is not there
        yield False
        return
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(opened)


def url_in(file: Path) -> str:
    """The `url` that a control plane has written to `file`; empty when there is none."""
    try:
        return str(json.loads(file.read_bytes())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
