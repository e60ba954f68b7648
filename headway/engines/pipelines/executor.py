"""Runs a pipeline in this process: each call of a step is looked up by its key, or run and kept."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from headway.engines.pipelines.failures import told
from headway.engines.pipelines.files import FileDigests
from headway.engines.pipelines.keys import Keys
from headway.engines.pipelines.lookup import Decision, Lookup
from headway.engines.pipelines.names import Names
from headway.engines.pipelines.outputs import Stored, pack
from headway.errors import BadPipeline, HeadwayError, StepFailed
from headway.kernel.clock import Clock
from headway.lifecycle.runs.explanations import Explanation
from headway.lifecycle.runs.pipeline import Pipeline, Step, executing
from headway.lifecycle.runs.records import KeyParts, Output, PipelineNode, StepResult, StepRun, StepState
from headway.lifecycle.runs.results import Content, Result, resolved, results_in
from headway.lifecycle.runs.session import Session

Report = Callable[[StepRun], None]
"""Told of each state a step comes to."""
Explain = Callable[[Explanation], None]
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
        self, session: Session, clock: Clock, folder: Path, report: Report = silent, *, goes_on_from: str = "",
        force: Collection[str] = (), explain: Explain | None = None, files: FileDigests | None = None,
    ) -> None:  # fmt: skip
        """`goes_on_from` is the run whose finished steps are not run again, those without a cache included; it may be
        this run itself. Steps of the names in `force` run in any case. `explain` is told why each step runs or is found
        again."""
        self._session, self._clock, self._report, self._explain = session, clock, report, explain
        self._folder = folder.resolve()
        self._files = files or FileDigests(self._folder)
        self._lookup = Lookup(session, Keys(self._folder, self._files), clock, force, goes_on_from)
        self._steps: dict[str, StepRun] = {}
        self._unsent: dict[str, None] = {}
        self._nodes: list[PipelineNode] = []
        self._names = Names()

    @property
    def nodes(self) -> tuple[PipelineNode, ...]:
        """The graph as drawn so far."""
        return tuple(self._nodes)

    def run(self, pipeline: Pipeline, params: Mapping[str, Any]) -> Any:
        """What `pipeline` gives, a handle or whatever it made of handles.

        Raises `StepFailed` chained to what a step or the pipeline's own code raised, `BadPipeline` for a value that
        has no key or cannot be stored. What was finished by then is kept.
        """
        pipeline.bound(params)
        try:
            with executing(self):
                given = pipeline.function(**params)
            self._lookup.check_forced()
            return given
        except HeadwayError:
            raise
        except (Exception, SystemExit) as error:
            text, short = told(error, self._folder)
            raise StepFailed(f"pipeline {pipeline.name!r} failed between its steps: {short}", traceback=text) from error
        finally:
            self._files.save()
            self._send(list(self._steps), self._nodes)

    def call(self, step: Step, arguments: inspect.BoundArguments) -> Result:
        """The result of one call: from the cache, or by running it."""
        return self._answered(step, arguments, self._draw(step, arguments))

    def _answered(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Result:
        try:
            decision = self._lookup.decide(step, arguments, name)
            if decision.kept is None:
                return Result(name, self._ran(step, arguments, decision))
            self._tell_why(decision)
            self._move(name, StepState.CACHED, key=decision.text, ended_at=self._clock.now())
            return Result(name, self._stored(step, decision.kept.outputs, self._session.get_blob))
        except BaseException as error:
            text = error.details["traceback"] if isinstance(error, StepFailed) else told(error, self._folder)[0]
            self._move(name, StepState.FAILED, ended_at=self._clock.now(), error=text)
            self._send(list(self._unsent))
            raise

    def _draw(self, step: Step, arguments: inspect.BoundArguments) -> str:
        """Add the call to the graph, under a name of its own."""
        name = self._names.next(step.name)
        inputs = (result.step for value in arguments.arguments.values() for result in results_in(value))
        after = dict.fromkeys((*inputs, *(result.step for result in step.waits_for)))
        self._nodes.append(PipelineNode(step=name, after=tuple(after)))
        self._steps[name] = StepRun(step=name, started_at=self._clock.now())
        return name

    def _tell_why(self, decision: Decision) -> None:
        if self._explain is not None:
            self._explain(self._lookup.explain(decision))

    def _ran(self, step: Step, arguments: inspect.BoundArguments, decision: Decision) -> Content:
        self._tell_why(decision)
        name = decision.name
        self._move(name, StepState.RUNNING, key=decision.text)
        self._send(list(self._unsent))
        self._steps[name] = self._steps[name].but(started_at=self._clock.now())  # to say so may have taken its time
        held: dict[str, bytes] = {}
        outputs = self._kept_outputs(step, name, self._tried(step, arguments, name), held)
        return self._finished(decision, self._lookup.kept_parts(decision), outputs, held)

    def _finished(
        self, decision: Decision, made_of: KeyParts | None, outputs: tuple[Output, ...], held: dict[str, bytes]
    ) -> Stored:
        """Remember what a step gave; `held` has the bytes that are at hand."""
        step, name = decision.step, decision.name
        now = self._clock.now()
        self._session.keep(
            StepResult(
                id="", created_at=now, key=decision.text, step=name, run=self._session.run, outputs=outputs,
                made_of=made_of,
            )
        )  # fmt: skip
        self._move(name, StepState.DONE, ended_at=now, error="")
        if sum(map(len, held.values())) > _HELD_BYTES:
            held.clear()
        return self._stored(step, outputs, lambda blob: held[blob] if blob in held else self._session.get_blob(blob))

    def _stored(self, step: Step, outputs: Sequence[Output], get: Callable[[str], bytes]) -> Stored:
        return Stored(outputs, get, file=self._session.blob_file, pickle=step.pickle)

    def _tried(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Any:
        """What the step gives, after as many retries as it asks for; each attempt gets its inputs anew."""
        for attempt in itertools.count(1):
            values = {argument: resolved(value) for argument, value in arguments.arguments.items()}
            inputs = inspect.BoundArguments(step.signature, values)
            step.check_arguments(inputs)
            try:
                value = self._value(step, inputs, name)
            except StepFailed as error:
                if attempt > step.limits.retries:
                    raise
                self._move(name, StepState.RUNNING, attempts=attempt + 1, error=error.details["traceback"])
                time.sleep(step.limits.wait_s(attempt))
            else:
                step.check_value(value)
                return value
        raise AssertionError("the last attempt returns or raises")

    def _value(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Any:
        try:
            with executing(None):
                return step.function(*arguments.args, **arguments.kwargs)
        except (Exception, SystemExit) as error:
            text, short = told(error, self._folder)
            raise StepFailed(f"step {name!r} failed: {short}", step=name, traceback=text) from error

    def _kept_outputs(self, step: Step, name: str, value: Any, held: dict[str, bytes]) -> tuple[Output, ...]:
        def put(data: bytes) -> str:
            blob = self._session.put_blob(data)
            held[blob] = data
            return blob

        try:
            return pack(value, put, step.format, pickle=step.pickle)
        except BadPipeline as error:
            raise BadPipeline(f"step {name!r} gives what cannot be stored: {error}", step=name) from error

    def _move(self, name: str, state: StepState, **facts: Any) -> None:
        self._steps[name] = self._steps[name].but(state=state, **facts)
        self._unsent[name] = None
        self._report(self._steps[name])

    def _send(self, names: list[str], nodes: Sequence[PipelineNode] = ()) -> None:
        self._unsent.clear()
        self._session.progress([self._steps[name] for name in names], nodes)
