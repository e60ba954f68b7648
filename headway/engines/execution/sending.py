"""A task on its way to another process and back: the call that says all of it, and what is kept of the answer."""

from __future__ import annotations

import threading

from headway.engines.execution.endings import TimedOut
from headway.engines.execution.output import StepOutput
from headway.engines.execution.parcels import blobs_in, place_of, wrapped
from headway.engines.execution.places import Echo, Place
from headway.engines.execution.plain import Node
from headway.engines.execution.promises import settled
from headway.engines.execution.schedule import Task, failure
from headway.engines.execution.wire import INLINE_BYTES, Call, Done, Failed
from headway.errors import BadPipeline, StepFailed
from headway.kernel.records import digest
from headway.lifecycle.runs.records import Output
from headway.lifecycle.runs.session import Session

_SMALL_BYTES = 64 * 2**20


class Sender:
    """Sends tasks of one run to places, from several threads. `run` is the record of the run, if the places are shared
    with others."""

    def __init__(self, session: Session, echo: Echo, run: bytes) -> None:
        self._session, self._echo, self._run = session, echo, run
        self._small: dict[str, bytes] = {}
        self._keeping = threading.Lock()

    def sent(self, task: Task, place: Place) -> tuple[tuple[Output, ...], dict[str, bytes]]:
        """The outputs of the task, which are kept, and the bytes of small ones.

        Raises `CannotTravel` before anything has run, `StepFailed`, `BadPipeline` for a value that cannot be kept, and
        what a place raises but for `TimedOut`.
        """
        call = self._call(task)
        output = StepOutput(lambda text: self._session.log(task.name, text), lambda text: self._echo(task.name, text))
        try:
            answer = place.perform(call, output, task.limits)
        except TimedOut:
            raise failure(task, f"took longer than timeout_s={task.limits.timeout_s:g}") from None
        finally:
            output.close()
        if isinstance(answer, Failed):
            raise _refusal(task, answer)
        return self._kept(task, answer)

    def _call(self, task: Task) -> Call:
        blobs: dict[str, bytes] = {}

        def put(data: bytes) -> str:
            if len(data) > INLINE_BYTES:
                return self._session.put_blob(data)
            blob = digest(data)
            blobs[blob] = data
            return blob

        arguments: dict[str, Node] = {
            name: wrapped(value, put, settled) for name, value in task.arguments.arguments.items()
        }
        for blob in (blob for node in arguments.values() for blob in blobs_in(node)):
            if blob in self._small:
                blobs[blob] = self._small[blob]
        return Call(
            place_of(task.step), arguments, blobs, task.limits.memory_mb, task.gpus, self._run,
            format=task.step.format, pickle=task.step.pickle,
        )  # fmt: skip

    def _kept(self, task: Task, answer: Done) -> tuple[tuple[Output, ...], dict[str, bytes]]:
        held = {each.blob: each.data for each in answer.outputs if each.data is not None}
        for blob, data in held.items():
            if self._session.put_blob(data) != blob:
                raise failure(task, "its worker gave other bytes than it says")
        with self._keeping:
            if sum(map(len, self._small.values())) > _SMALL_BYTES:
                self._small.clear()
            self._small |= held
        return tuple(Output(blob=each.blob, format=each.format) for each in answer.outputs), held


def _refusal(task: Task, answer: Failed) -> BadPipeline | StepFailed:
    if answer.annotated:
        return BadPipeline(answer.short, step=task.step.name)
    if answer.value:
        return BadPipeline(f"step {task.name!r} gives what cannot be stored: {answer.short}", step=task.name)
    return failure(task, answer.short, answer.text)
