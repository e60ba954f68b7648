"""Runs the steps of a pipeline side by side, elsewhere: in worker processes, or on a cluster.

The pipeline's own function runs here, in one thread. A call of a step gives a handle at once; its key can be told when
its inputs are there, and then it is found in the cache or handed to the next free thread, which has a `Place` to run
it in. Order, names, keys and results are those of `LocalExecutor`, which this is in all else.
"""

from __future__ import annotations

import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.engines.execution.endings import CannotTravel, Stopped, WorkerLost
from headway.engines.execution.places import Echo, Place, Places
from headway.engines.execution.promises import Promised, tasks_in
from headway.engines.execution.schedule import Schedule, Task, failure, unfinished
from headway.engines.pipelines.executor import Explain, LocalExecutor, Report, silent
from headway.engines.pipelines.files import FileDigests
from headway.engines.pipelines.lookup import Decision
from headway.errors import BadPipeline, RunCancelled, StepFailed
from headway.kernel.clock import Clock
from headway.lifecycle.runs.pipeline import Pipeline, Step
from headway.lifecycle.runs.records import PipelineNode, StepState
from headway.lifecycle.runs.results import Content, Result
from headway.lifecycle.runs.session import Session

if TYPE_CHECKING:
    from headway.engines.execution.sending import Sender

_MOST_LOST = 2
"""A step whose worker was killed is begun anew; after so many times it fails."""
_TELL_S = 0.25


class ParallelExecutor(LocalExecutor):
    """Runs one pipeline of the project in `folder`, once, `workers` steps at a time. `places` is asked for where to run
    them when the first step has to run; if they are shared with other runs, `run` is the record of this one. `gpus` are
    the names of those that may be used."""

    def __init__(
        self, session: Session, clock: Clock, folder: Path, places: Callable[[], Places], *, workers: int,
        gpus: Sequence[str] = (), report: Report = silent, echo: Echo = lambda step, text: None,
        goes_on_from: str = "", begun: Callable[[], None] = lambda: None, run: bytes = b"",
        force: Collection[str] = (), explain: Explain | None = None, files: FileDigests | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            session, clock, folder, report, goes_on_from=goes_on_from, force=force, explain=explain, files=files
        )
        self._open_places, self._workers, self._echo, self._begun = places, workers, echo, begun
        self._run = run
        self._places: Places | None = None
        self._sender: Sender | None = None
        self._schedule = Schedule(workers, gpus)
        self._threads: list[threading.Thread] = []
        self._tasks: list[Task] = []
        self._drawing, self._telling = threading.RLock(), threading.RLock()
        self._settling = threading.local()
        self._stopped: BaseException | None = None
        self._told, self._sent_at, self._left = 0, 0.0, threading.Event()
        self._keyed: dict[str, Task] = {}
        """Those that run, by their key."""

    def run(self, pipeline: Pipeline, params: Mapping[str, Any]) -> Any:
        """As `LocalExecutor.run`. What a step raises comes to the pipeline's code where it looks at the result, else
        to the caller at the end: the other steps are brought to their ends first, and kept. Raises `RunCancelled` when
        it was stopped."""

        def all_of_it(**given: Any) -> Any:
            with self._brought_to_an_end():
                return pipeline.function(**given)

        return super().run(Pipeline(all_of_it, name=pipeline.name, signature=pipeline.signature), params)

    def stop(self) -> None:
        """End the steps that run, and begin no others; from any thread."""
        with self._telling:
            self._stopped = self._cancelled
            if self._places is not None:
                self._places.stop()
        for task in self._schedule.close():
            self._cancel(task, self._stopped)

    def call(self, step: Step, arguments: inspect.BoundArguments) -> Result:
        """A handle on the result of one call; what it needs may not be there yet."""
        if self._stopped is not None:
            raise self._stopped
        after = tasks_in([*arguments.arguments.values(), step.waits_for])
        with self._drawing:
            waits = unfinished(after)
            if not waits and all(task.error is None for task in after):
                return super().call(step, arguments)
            task = self._task(step, arguments, self._draw(step, arguments))
            task.needs = waits
            failed = next((each.error for each in after if each.error is not None), None)
            if failed is None:
                for each in waits:
                    each.followers.append(task)
        if failed is not None:
            self._cancel(task, failed)
        return Result(task.name, Promised(task))

    def _task(self, step: Step, arguments: inspect.BoundArguments, name: str) -> Task:
        task = Task(len(self._tasks), name, step, arguments)
        self._tasks.append(task)
        return task

    def _ran(self, step: Step, arguments: inspect.BoundArguments, decision: Decision) -> Content:
        """Called with the key known and nothing in the cache: hand it over."""
        name = decision.name
        if step.limits.gpus > len(self._schedule.all_gpus):
            raise BadPipeline(
                f"step {name!r} needs {step.limits.gpus} GPUs, and there are {len(self._schedule.all_gpus)}; "
                "CUDA_VISIBLE_DEVICES names those that may be used",
                step=name,
            )
        settling: Task | None = getattr(self._settling, "task", None)
        task = settling or self._task(step, arguments, name)
        task.key, task.decision = decision.text, decision
        same = self._keyed.setdefault(task.key, task)
        if same is not task:  # it runs already: what it gives will be found in the cache
            task.needs = {same}
            same.followers.append(task)
            return Promised(task)
        try:
            self._tell_why(decision)
            self._start()
            task.made_of = self._lookup.kept_parts(decision)
        except BaseException as error:  # nobody is to wait for what cannot begin
            self._keyed.pop(task.key, None)
            task.error, task.seen = error, settling is None
            task.over.set()
            raise
        if not self._schedule.offer(task):
            task.error = self._cancelled
            task.over.set()
            raise task.error
        return Promised(task)

    @property
    def _cancelled(self) -> BaseException:
        return self._stopped or RunCancelled("the run was cancelled; what was done is kept")

    def _start(self) -> None:
        if self._threads:
            return
        from headway.engines.execution.sending import Sender  # noqa: PLC0415  # a run of cached steps is over by then

        self._begun()
        self._places, self._sender = self._open_places(), Sender(self._session, self._echo, self._run)
        for number in range(self._workers):
            context = contextvars.copy_context()
            thread = threading.Thread(
                target=context.run, args=(self._work,), name=f"headway-step-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        self._threads.append(threading.Thread(target=self._keep_telling, name="headway-progress", daemon=True))
        self._threads[-1].start()

    def _keep_telling(self) -> None:
        """What the last message has left out."""
        while not self._left.wait(_TELL_S):
            with suppress(Exception), self._telling:  # the message at the end has all of it
                self._send_soon()

    def _send_soon(self) -> None:
        """At once when the last message is some time ago, else with the next: thousands of short steps are told of in
        few messages."""
        with self._telling:
            if self._unsent and time.monotonic() - self._sent_at >= _TELL_S:
                self._send(list(self._unsent))

    def _work(self) -> None:
        assert self._places
        place: Place | None = None
        while (task := self._schedule.take()) is not None:
            try:
                place = place or self._places.place(task.limits)
                self._carry_out(task, place)
            except BaseException as error:
                self._schedule.give_back(task)
                self._end(task, error=error)
        if place is not None:
            place.close()

    def _carry_out(self, task: Task, place: Place) -> None:
        self._move(task.name, StepState.RUNNING, key=task.key, attempts=task.attempt, started_at=self._clock.now())
        self._send_soon()
        try:
            content = self._content_of(task, place)
        except StepFailed as error:
            if task.attempt > task.limits.retries or self._stopped is not None:
                raise
            wait_s, task.attempt = task.limits.wait_s(task.attempt), task.attempt + 1
            self._again(task, wait_s, error.details["traceback"])
        except WorkerLost as error:
            task.lost += 1
            if task.lost >= _MOST_LOST:
                raise failure(task, str(error)) from None
            self._again(task, 0.0, str(error))
        else:
            self._schedule.give_back(task)
            self._end(task, content)

    def _again(self, task: Task, wait_s: float, why: str) -> None:
        self._move(task.name, StepState.WAITING, error=why)
        task.not_before = time.monotonic() + wait_s if wait_s else 0.0
        self._schedule.give_back(task)
        if not self._schedule.offer(task):
            self._end(task, error=self._cancelled)

    def _content_of(self, task: Task, place: Place) -> Content:
        assert task.decision
        assert self._sender
        try:
            outputs, held = self._sender.sent(task, place)
        except CannotTravel as reason:
            if task.limits.hard:
                raise BadPipeline(
                    f"step {task.name!r} has limits that take a process of its own, and cannot go there: {reason}",
                    step=task.name,
                ) from None
            return self._here(task)
        except Stopped:
            raise self._cancelled from None
        return self._finished(task.decision, task.made_of, outputs, held)

    def _here(self, task: Task) -> Content:
        """In this process, as `LocalExecutor` does."""
        assert task.decision
        held: dict[str, bytes] = {}
        arguments = inspect.BoundArguments(task.step.signature, dict(task.arguments.arguments))
        outputs = self._kept_outputs(task.step, task.name, self._tried(task.step, arguments, task.name), held)
        return self._finished(task.decision, task.made_of, outputs, held)

    def _end(self, task: Task, content: Content | None = None, error: BaseException | None = None) -> None:
        """The task is over: whoever waits for it goes on."""
        if error is not None:
            with suppress(Exception):  # the platform does not answer: whoever waits hears of the failure all the same
                self._tell_failure(task, error)
        with self._drawing:
            task.content, task.error = content, error
            self._keyed.pop(task.key, None)
            followers, task.followers = task.followers, []
            task.over.set()
        self._follow(task, followers)

    def _tell_failure(self, task: Task, error: BaseException) -> None:
        cancelled = isinstance(error, RunCancelled)
        text = str(error.details.get("traceback", error)) if isinstance(error, StepFailed) else str(error)
        state = StepState.CANCELLED if cancelled else StepState.FAILED
        self._move(task.name, state, ended_at=self._clock.now(), error=text)
        self._send(list(self._unsent))

    def _cancel(self, task: Task, error: BaseException) -> None:
        """The task is not begun, because of `error`."""
        waiting = [task]
        while waiting:
            each = waiting.pop()
            with self._drawing:
                if each.over.is_set():
                    continue
                each.error = error
                followers, each.followers = each.followers, []
                self._move(each.name, StepState.CANCELLED, error=f"not begun: {error}"[:2000])
                each.over.set()
            waiting += followers

    def _follow(self, ended: Task, followers: Sequence[Task]) -> None:
        """Let those go on that wait for nothing else; what is found in the cache lets its own followers go on."""
        waiting = [(ended, follower) for follower in followers]
        while waiting:
            before, task = waiting.pop(0)
            if before.error is not None:
                self._cancel(task, before.error)
                continue
            with self._drawing:
                if before not in task.needs or task.over.is_set():
                    continue
                task.needs.discard(before)
                if task.needs:
                    continue
            waiting += [(task, follower) for follower in self._settle(task)]

    def _settle(self, task: Task) -> list[Task]:
        """All that the task needs is there: find it in the cache, or hand it over. Gives those that can go on."""
        if self._stopped is not None:
            self._cancel(task, self._stopped)
            return []
        with self._drawing:
            self._settling.task = task
            try:
                content = self._answered(task.step, task.arguments, task.name).content
            except BaseException as error:
                task.error = error
            else:
                if isinstance(content, Promised):
                    return []
                task.content = content
            finally:
                self._settling.task = None
            followers, task.followers = task.followers, []
            task.over.set()
        return followers

    @contextmanager
    def _brought_to_an_end(self) -> Iterator[None]:
        """When the pipeline's function is through, bring what it has drawn to its end; raise what failed unseen."""
        try:
            yield
            self._wait()
        except Exception:
            self._wait()
            raise
        except BaseException:  # an interrupt
            self.stop()
            self._wait()
            raise
        finally:
            self._leave()
        failed = next((task for task in self._tasks if task.error is not None and not task.seen), None)
        if failed is not None and failed.error is not None:
            raise failed.error

    def _wait(self) -> None:
        try:
            for task in self._tasks:
                while not task.over.wait(60.0):
                    pass
        except BaseException:
            self.stop()
            for task in self._tasks:
                task.over.wait()
            raise

    def _leave(self) -> None:
        self._schedule.close()
        self._left.set()
        for thread in self._threads:
            thread.join()
        if self._places is not None:
            self._places.close()

    def _move(self, name: str, state: StepState, **facts: Any) -> None:
        with self._telling:
            super()._move(name, state, **facts)

    def _send(self, names: list[str], nodes: Sequence[PipelineNode] = ()) -> None:
        """Along go the steps that were drawn since the last time: the platform keeps them in the order in which it
        first hears of them, which is not that in which they run."""
        with self._telling:
            drawn = list(self._steps)[self._told :]
            self._told += len(drawn)
            self._sent_at = time.monotonic()
            super()._send(list(dict.fromkeys([*drawn, *names, *self._unsent])), nodes)
