"""What an import reads from: an MLflow server or a local MLflow store, both in the words of MLflow's REST protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from headway.kernel.records import Value

Told = dict[str, Any]
"""A JSON object as MLflow writes it."""
MOST_RUNS = 100
"""Runs in a page; as many as MLflow gives the histories of at once."""


class File(NamedTuple):
    """A file below the root of its owner; `size` is in bytes, or -1 when the source does not know."""

    path: str
    size: int


class Points(Value):
    """Points of one metric of one run, as columns; times in milliseconds since 1970."""

    steps: list[int] = []
    at_ms: list[int] = []
    values: list[float] = []


class Source(Protocol):
    """Every method raises `Unreachable` when the source does not answer, and `Invalid` for an answer that is none."""

    @property
    def uri(self) -> str:
        """Where it is, without secrets."""
        ...

    def experiments(self, *, deleted: bool) -> Iterator[Told]: ...

    def runs(self, experiment: str, *, deleted: bool) -> Iterator[list[Told]]:
        """Pages of runs, each with its params, tags and the last point of each metric."""
        ...

    def run(self, identifier: str) -> Told | None: ...
    def histories(self, runs: list[str], key: str) -> Iterator[tuple[str, Points]]:
        """The points of one metric of at most `MOST_RUNS` runs; those of a run may come in parts."""
        ...

    def logged_models(self, experiment: str) -> Iterator[Told]: ...
    def files_of_run(self, run: Told) -> Iterator[File]: ...
    def files_of_model(self, model: Told) -> Iterator[File]: ...
    def open_of_run(self, run: Told, path: str) -> AbstractContextManager[Iterator[bytes]]: ...
    def open_of_model(self, model: Told, path: str) -> AbstractContextManager[Iterator[bytes]]: ...
    def traces(self, experiment: str) -> Iterator[list[Told]]: ...

    def unread_traces(self, experiment: str) -> int:
        """How many traces there are that `traces` cannot give."""
        ...

    def spans(self, trace: Told) -> bytes | None:
        """The spans of a trace as MLflow's `traces.json`, or None when they are nowhere."""
        ...

    def models(self) -> Iterator[Told]:
        """Registered models; each with its versions under `versions`."""
        ...

    def close(self) -> None: ...
