"""Bringing a spool to the server: in the background while a run goes on, or later by `headway sync`.

Everything may be sent twice: the server keeps a point once, a param has one value, and of a tag the last one counts.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from headway.client.spool import Attached, Ended, Logged, Points, Spool, Texts
from headway.errors import HeadwayError, Invalid, Unavailable
from headway.kernel.records import Value, json_numbers

_LOG = logging.getLogger("headway.client")
EVERY_S = 1.0
_LONGEST_PAUSE_S = 30.0
_MOST_OF_A_CORE = 0.003
"""The share of one core that sending may take from the loop that is logged: rests grow with what a sending takes."""
_MOST_BYTES = 1024 * 1024
_MOST_POINTS = 50_000


class Line(Protocol):
    """How a run's log reaches the server."""

    def points(self, run: str, curves: Mapping[str, Mapping[str, Any]], *, late: bool = False) -> None: ...
    def texts(self, run: str, params: dict[str, str], tags: dict[str, str]) -> None: ...
    def add_artifact(self, run: str, name: str, data: bytes, *, media_type: str = "") -> Any: ...
    def end(self, run: str, state: str, error: str) -> None: ...


class Shipper:
    """Sends what is in a spool, every second and when it is flushed, in order.

    What the server refuses is left out, and the error raised by the next `check` or `flush`; what does not get
    through stays in the spool and is tried again. `late` is for a run that may have been ended meanwhile.
    """

    def __init__(self, spool: Spool, line: Line, *, every_s: float = EVERY_S, late: bool = False) -> None:
        self._spool, self._line, self._every_s, self._late = spool, line, every_s, late
        self._sending, self._stopped = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._error: HeadwayError | None = None
        self.calm = False
        """Whether there is nothing to `check` and nothing to `start`."""

    def start(self) -> None:
        """Begin to send by itself; a second call does nothing."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._keep_sending, name="headway-log", daemon=True)
                self._thread.start()
                atexit.register(self._last_words)
                self.calm = self._error is None

    def check(self) -> None:
        """Raise what the server has refused since the last call."""
        if self._error is not None:
            error, self._error, self.calm = self._error, None, self._thread is not None
            raise error

    def flush(self) -> None:
        """Send everything that was logged before this call; raises what went wrong."""
        self.send()
        self.check()

    def stop(self) -> None:
        """Send nothing by itself any more."""
        self._stopped.set()
        atexit.unregister(self._last_words)

    def send(self) -> None:
        """Send all that was there before this call and is not sent; what is logged meanwhile goes with the next call,
        in one request. Raises `Unavailable` when the server does not answer."""
        with self._sending:
            until = self._spool.bytes
            while self._spool.offset < until:
                frames, end = self._spool.unsent(_MOST_BYTES)
                if end == self._spool.offset:
                    return
                self._deliver(frames)
                self._spool.sent(end) if frames else self._skip(end)

    def _skip(self, end: int) -> None:
        """Past the spool's own notes, which need no note in turn."""
        self._spool.offset = end

    def _deliver(self, frames: list[Logged]) -> None:
        start = 0
        while start < len(frames):
            stretch = _stretch(frames, start)
            try:
                self._together(stretch)
            except Unavailable:
                raise
            except HeadwayError as error:
                self._one_by_one(stretch, error)
            start += len(stretch)

    def _one_by_one(self, frames: list[Logged], error: HeadwayError) -> None:
        """So that only what is refused by itself is left out."""
        for frame in frames if len(frames) > 1 else []:
            try:
                self._together([frame])
            except Unavailable:
                raise
            except HeadwayError as refused:
                self._refused(frame, refused)
        if len(frames) == 1:
            self._refused(frames[0], error)

    def _refused(self, frame: Logged, error: HeadwayError) -> None:
        """Nobody asked for what a run records by itself, so nobody's call fails for it."""
        if isinstance(frame, Attached):
            _LOG.warning("%s of run %s is not kept: %s", frame.name, self._spool.opening.run, error)
        else:
            self._error, self.calm = self._error or error, False

    def _together(self, frames: list[Logged]) -> None:
        run = self._spool.opening.run
        curves = _columns([frame for frame in frames if isinstance(frame, Points)])
        if curves:
            self._line.points(run, curves, late=self._late)
        texts = [frame for frame in frames if isinstance(frame, Texts)]
        if texts:
            params = {key: value for frame in texts for key, value in frame.params.items()}
            self._line.texts(run, params, {key: value for frame in texts for key, value in frame.tags.items()})
        for frame in frames:
            if isinstance(frame, Attached):
                self._line.add_artifact(run, frame.name, frame.content, media_type=frame.media_type)
            elif isinstance(frame, Ended):
                self._line.end(run, frame.state, frame.error)

    def _keep_sending(self) -> None:
        failures, pause_s = 0, self._every_s
        while not self._stopped.wait(min(pause_s * 2**failures, _LONGEST_PAUSE_S)):
            began = time.thread_time()
            try:
                self._spool.sync()
                self.send()
                failures, pause_s = 0, max(self._every_s, (time.thread_time() - began) / _MOST_OF_A_CORE)
            except Unavailable as error:
                failures = min(failures + 1, 10)
                _LOG.info("what run %s logs waits: %s", self._spool.opening.run, error)
            except (ValueError, OSError):  # the spool was closed meanwhile, or its disk is gone
                return

    def _last_words(self) -> None:
        try:
            self.send()
        except HeadwayError as error:
            _LOG.warning("what run %s logged is kept in %s: %s", self._spool.opening.run, self._spool.path, error)


def _stretch(frames: list[Logged], start: int) -> list[Logged]:
    """As many frames as go into one request, at least one; the end of a run goes by itself."""
    end, points = start, 0
    while end < len(frames):
        frame = frames[end]
        if end > start and (isinstance(frame, Ended) or points > _MOST_POINTS):
            break
        points += len(frame.values) if isinstance(frame, Points) else 0
        end += 1
        if isinstance(frame, Ended):
            break
    return frames[start:end]


def _columns(frames: list[Points]) -> dict[str, dict[str, list[Any]]]:
    """Points by metric, as they travel: JSON has no NaN and no infinity, they go as text."""
    found: dict[str, tuple[list[int], list[int], list[Any]]] = {}
    for frame in frames:
        step, at_us = frame.step, frame.at_us
        for key, value in frame.values.items():
            columns = found.get(key)
            if columns is None:
                columns = found[key] = ([], [], [])
            columns[0].append(step)
            columns[1].append(at_us)
            columns[2].append(value)
    return {
        key: {"steps": steps, "at_us": at_us, "values": json_numbers(values)}
        for key, (steps, at_us, values) in found.items()
    }


class Shipped(Value):
    """What became of a spool that was left behind. `error` is empty when everything has arrived."""

    run: str
    path: str
    frames: int
    error: str = ""


def ship(path: Path, line: Line, url: str) -> Shipped:
    """Send what a process has left in a spool to the server that it is for, and remove it when nothing was refused."""
    try:
        spool = Spool.open(path)
    except HeadwayError as error:
        return Shipped(run="", path=str(path), frames=0, error=str(error))
    run, frames = spool.opening.run, len(spool.unsent(spool.bytes)[0])
    try:
        if spool.opening.url != url:
            raise Invalid(f"it is for the server at {spool.opening.url}; say --url {spool.opening.url}")
        Shipper(spool, line, late=True).flush()
    except HeadwayError as error:
        spool.close()
        return Shipped(run=run, path=str(path), frames=frames, error=str(error))
    spool.remove()
    return Shipped(run=run, path=str(path), frames=frames)
