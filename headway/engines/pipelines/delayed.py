"""Progress that waits a moment: of steps that take a millisecond nobody needs to hear twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from headway.lifecycle.runs.records import LastResult, PipelineNode, StepResult, StepRun, StepState
from headway.lifecycle.runs.session import Session

_DELAY_S = 0.1


class DelayedProgress:
    """A session as `session` is, whose progress is told in one go every so often: at once when a step fails or the
    graph is told of, else by a thread of its own. Leave it as a context manager to tell the rest."""

    def __init__(self, session: Session, delay_s: float = _DELAY_S) -> None:
        self._session, self._delay_s = session, delay_s
        self._pending: dict[str, StepRun] = {}
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def run(self) -> str:
        return self._session.run

    def put_blob(self, data: bytes) -> str:
        return self._session.put_blob(data)

    def get_blob(self, digest: str) -> bytes:
        return self._session.get_blob(digest)

    def blob_file(self, digest: str) -> Path | None:
        return self._session.blob_file(digest)

    def cached(self, key: str) -> StepResult | None:
        return self._session.cached(key)

    def last_results(self) -> Sequence[LastResult]:
        return self._session.last_results()

    def keep(self, result: StepResult) -> StepResult:
        return self._session.keep(result)

    def log(self, step: str, text: str) -> None:
        self._session.log(step, text)

    def progress(self, steps: Sequence[StepRun], nodes: Sequence[PipelineNode]) -> None:
        """Raises what a thread was told when it sent what was told before."""
        if self._error is not None:
            raise self._error
        with self._changed:
            self._pending |= {step.step: step for step in steps}
            self._changed.notify()
        if nodes or any(step.state in (StepState.FAILED, StepState.CANCELLED) for step in steps):
            self._send(nodes)
        elif self._thread is None:
            self._thread = threading.Thread(target=self._send_on, name="headway-progress", daemon=True)
            self._thread.start()

    def _send_on(self) -> None:
        while not self._closed.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed.is_set())
            self._closed.wait(self._delay_s)
            try:
                self._send()
            except Exception as error:  # for whoever tells of the next step
                self._error = error
                return

    def _send(self, nodes: Sequence[PipelineNode] = ()) -> None:
        with self._sending:  # what was told later is not overtaken
            with self._changed:
                steps, self._pending = list(self._pending.values()), {}
            if steps or nodes:
                self._session.progress(steps, nodes)

    def __enter__(self) -> DelayedProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        if error is None:
            self._send()
