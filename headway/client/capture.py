"""What a run records by itself, in a thread of its own: nobody waits for it, and its failure is nobody's."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from headway.client.machine import Reading, readings
from headway.client.origin import command_tags, edits, package_lock, repository_tags
from headway.client.spool import Attached, Points, Texts
from headway.kernel.clock import Clock, to_us
from headway.kernel.records import encode
from headway.lifecycle.runs.capture import DIFF, LOCK, LOCK_TAG, REQUIREMENTS, SYSTEM, CaptureSpec, PackageLock

_LOG = logging.getLogger("headway.client")
_FIRST_S = 0.1
"""How long the first sample looks at the CPU."""
_PATIENCE_S = 10.0
Note = Callable[[Points | Texts | Attached], None]


class Capture:
    """Records for one run what `spec` says; `folder` is where its code is. `arguments` are the process's own."""

    def __init__(
        self,
        spec: CaptureSpec,
        folder: Path,
        *,
        arguments: Sequence[str] = (),
        look: Callable[[], list[Reading]] = readings,
    ) -> None:
        self._spec, self._folder, self._arguments, self._look = spec, folder, arguments or sys.orig_argv, look
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, note: Note, clock: Clock, known: Mapping[str, str]) -> None:
        """Begin. `note` writes what is found into the run's log; tags that the run has are left as they are."""
        if self._spec.command:
            _note_tags(note, command_tags(self._arguments, sys.argv[0] if sys.argv else ""), known)
        if self._spec.system or self._spec.code or self._spec.packages:
            self._thread = threading.Thread(
                target=self._record, args=(note, clock, known), name="headway-capture", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End it, once what it is at is done."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def _record(self, note: Note, clock: Clock, known: Mapping[str, str]) -> None:
        try:
            samples = self._samples(note, clock) if self._spec.system else None
            if samples:
                next(samples, None)
            if self._spec.code:
                _note_tags(note, repository_tags(self._folder), known)
                if patch := edits(self._folder):
                    note(Attached(DIFF, patch, "text/x-patch; charset=utf-8"))
            if self._spec.packages:
                lock = _own_lock()
                note(Attached(LOCK, encode(lock), "application/json"))
                note(Attached(REQUIREMENTS, lock.requirements.encode(), "text/plain; charset=utf-8"))
                _note_tags(note, {LOCK_TAG: lock.digest}, known)
            for _ in samples or ():
                pass
        except Exception as error:  # whatever it is, training goes on
            _LOG.warning("the run goes on without what it would record by itself: %s", error)

    def _samples(self, note: Note, clock: Clock) -> Iterator[None]:
        """One sample after another until the end: the first at once, the last when it is stopped."""
        looked = self._look()
        step, pause_s = 0, _FIRST_S
        while True:
            over = self._stopped.wait(pause_s)
            values = {SYSTEM + key: value for read in looked for key, value in read().items()}
            if values:
                note(Points(step, to_us(clock.now()), values))
            if over:
                return
            yield
            step, pause_s = step + 1, self._spec.every_s


@lru_cache(1)
def _own_lock() -> PackageLock:
    """Once for the process: what is installed while it runs is nothing that it has imported."""
    return package_lock()


def _note_tags(note: Note, tags: Mapping[str, str], known: Mapping[str, str]) -> None:
    if fresh := {key: value for key, value in tags.items() if key not in known}:
        note(Texts({}, fresh))
