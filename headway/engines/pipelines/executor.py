"""Runs a pipeline in this process: each call of a step is looked up by its key, or run and kept."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.engines.pipelines.failures import told
from headway.engines.pipelines.keys import Keys
from headway.engines.pipelines.outputs import Stored, pack
from headway.errors import BadPipeline, HeadwayError, StepFailed
from headway.kernel.clock import Clock
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.pipeline import Pipeline, Step, executing
from headway.lifecycle.runs.records import Output, PipelineNode, StepResult, StepRun, StepState
from headway.lifecycle.runs.results import Content, Result, resolved, results_in
from headway.lifecycle.runs.session import Session

Report = Callable[[StepRun], None]
"""Told of each state a step comes to."""
_HELD_BYTES = 64 * 2**20
"""Outputs up to this size stay in memory for as long as a handle on them is there."""


def silent(step: StepRun) -> None:
    """Tells nobody."""


class LocalExecutor:
    """Runs one pipeline of the project in `folder`, once.

    Progress is sent when a step starts to run or fails: the steps that have changed. Those found in the cache go
    along with the next, so that a thousand of them cost no thousand messages. At the end go all steps, and the graph.
    """

    def __init__(
        self, session: Session, clock: Clock, folder: Path, report: Report = silent, *, goes_on_from: str = ""
    ) -> None:
        """`goes_on_from` is the run whose finished steps are not run again, those without a cache included; it may be
        this run itself."""
        self._session, self._clock, self._report = session, clock, report
        self._goes_on = goes_on_from
        self._folder = folder.resolve()
        self._keys = Keys(self._folder)
        self._steps: dict[str, StepRun] = {}
        self._unsent: dict[str, None] = {}
        self._nodes: list[PipelineNode] = []

    @property
    def nodes(self) -> tuple[PipelineNode, ...]:
        """The graph as drawn so far."""
        return tuple(self._nodes)

    def run(self, pipeline: Pipeline, params: Mapping[str, Any]) -> Any:
        """What `pipeline` gives, a handle or whatever it made of handles.

        Raises `StepFailed` chained to what a step or the pipeline's own code raised, `BadPipeline` for a value that
        has no key or cannot be stored. What was finished by then is kept.
        """
        try:
            pipeline.signature.bind(**params)
        except TypeError as error:
            raise BadPipeline(f"pipeline {pipeline.name!r} cannot be called so: {error}") from None
        try:
            with executing(self):
                return pipeline.function(**params)
        except HeadwayError:
            raise
        except (Exception, SystemExit) as error:
            text, short = told(error, self._folder)
            raise StepFailed(f"pipeline {pipeline.name!r} failed between its steps: {short}", traceback=text) from error
        finally:
            self._send(list(self._steps), self._nodes)

    def call(self, step: Step, arguments: inspect.BoundArguments) -> Result:
        """The result of one call: from the cache, or by running it."""
        return self._answered(step, arguments, self._draw(step, arguments))

    def _answered(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Result:
        try:
            key = self._keys.of(step, arguments) if step.cache else self._own_key(name)
            kept = self._session.cached(key) if step.cache or self._goes_on else None
            if kept is not None:
                self._move(name, StepState.CACHED, key=key, ended_at=self._clock.now())
                return Result(name, Stored(kept.outputs, self._session.get_blob))
            return Result(name, self._ran(step, arguments, name, key))
        except BaseException as error:
            text = error.details["traceback"] if isinstance(error, StepFailed) else told(error, self._folder)[0]
            self._move(name, StepState.FAILED, ended_at=self._clock.now(), error=text)
            self._send(list(self._unsent))
            raise

    def _draw(self, step: Step, arguments: inspect.BoundArguments) -> str:
        """Add the call to the graph, under a name of its own."""
        name, count = step.name, 1
        while name in self._steps:
            count += 1
            name = f"{step.name}-{count}"
        inputs = (result.step for value in arguments.arguments.values() for result in results_in(value))
        after = dict.fromkeys((*inputs, *(result.step for result in step.waits_for)))
        self._nodes.append(PipelineNode(step=name, after=tuple(after)))
        self._steps[name] = StepRun(step=name, started_at=self._clock.now())
        return name

    def _own_key(self, name: str) -> str:
        """A key that no other call has, for a step that must run each time."""
        return digest(encode([self._goes_on or self._session.run, name]))

    def _ran(self, step: Step, arguments: inspect.BoundArguments, name: str, key: str) -> Content:
        self._move(name, StepState.RUNNING, key=key)
        self._send(list(self._unsent))
        held: dict[str, bytes] = {}
        outputs = self._kept_outputs(name, self._tried(step, arguments, name), held)
        return self._finished(name, key, outputs, held)

    def _finished(self, name: str, key: str, outputs: tuple[Output, ...], held: dict[str, bytes]) -> Stored:
        """Remember what a step gave; `held` has the bytes that are at hand."""
        now = self._clock.now()
        self._session.keep(
            StepResult(id="", created_at=now, key=key, step=name, run=self._session.run, outputs=outputs)
        )
        self._move(name, StepState.DONE, ended_at=now, error="")
        if sum(map(len, held.values())) > _HELD_BYTES:
            held.clear()
        return Stored(outputs, lambda blob: held[blob] if blob in held else self._session.get_blob(blob))

    def _tried(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Any:
        """What the step gives, after as many retries as it asks for; each attempt gets its inputs anew."""
        for attempt in itertools.count(1):
            values = {argument: resolved(value) for argument, value in arguments.arguments.items()}
            try:
                return self._value(step, inspect.BoundArguments(step.signature, values), name)
            except StepFailed as error:
                if attempt > step.limits.retries:
                    raise
                self._move(name, StepState.RUNNING, attempts=attempt + 1, error=error.details["traceback"])
                time.sleep(step.limits.wait_s(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _value(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Any:
        try:
            with executing(None):
                return step.function(*arguments.args, **arguments.kwargs)
        except (Exception, SystemExit) as error:
            text, short = told(error, self._folder)
            raise StepFailed(f"step {name!r} failed: {short}", step=name, traceback=text) from error

    def _kept_outputs(self, name: str, value: Any, held: dict[str, bytes]) -> tuple[Output, ...]:
        def put(data: bytes) -> str:
            blob = self._session.put_blob(data)
            held[blob] = data
            return blob

        try:
            return pack(value, put)
        except BadPipeline as error:
            raise BadPipeline(f"step {name!r} gives what cannot be stored: {error}", step=name) from error

    def _move(self, name: str, state: StepState, **facts: Any) -> None:
        self._steps[name] = self._steps[name].but(state=state, **facts)
        self._unsent[name] = None
        self._report(self._steps[name])

    def _send(self, names: list[str], nodes: Sequence[PipelineNode] = ()) -> None:
        self._unsent.clear()
        self._session.progress([self._steps[name] for name in names], nodes)
