"""Which step runs next: those whose inputs are there, in the order of their calls, as far as there is room for them."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterable, Sequence

from headway.engines.pipelines.lookup import Decision
from headway.errors import StepFailed
from headway.lifecycle.runs.limits import StepLimits
from headway.lifecycle.runs.pipeline import Step
from headway.lifecycle.runs.records import KeyParts
from headway.lifecycle.runs.results import Content

_MOST_PASSED = 8
"""So often smaller steps may go before one that waits for room; then it is waited for."""


class Task:
    """One call of a step, until its result is there. `needs` are those that it waits for."""

    def __init__(self, order: int, name: str, step: Step, arguments: inspect.BoundArguments) -> None:
        self.order, self.name, self.step, self.arguments = order, name, step, arguments
        self.key = ""
        self.decision: Decision | None = None
        self.made_of: KeyParts | None = None
        """What its key was made of."""
        self.needs: set[Task] = set()
        self.followers: list[Task] = []
        self.content: Content | None = None
        self.error: BaseException | None = None
        self.seen = False
        """Whether its error has come to the pipeline's code."""
        self.over = threading.Event()
        self.attempt, self.lost, self.not_before, self.passed = 1, 0, 0.0, 0
        self.gpus: tuple[str, ...] | None = None

    @property
    def limits(self) -> StepLimits:
        return self.step.limits


class Schedule:
    """Hands tasks to the threads that run them. `cpus` and `gpus` are what the run may use."""

    def __init__(self, cpus: int, gpus: Sequence[str] = ()) -> None:
        self.all_cpus, self.all_gpus = cpus, tuple(gpus)
        self._cpus, self._gpus = cpus, list(gpus)
        self._changed = threading.Condition()
        self._ready: list[Task] = []
        self._running = 0
        self._closed = False

    def offer(self, task: Task) -> bool:
        """`task` can run as soon as there is room; False when nothing runs any more."""
        with self._changed:
            if self._closed:
                return False
            self._ready.append(task)
            self._ready.sort(key=lambda each: each.order)
            self._changed.notify_all()
            return True

    def take(self) -> Task | None:
        """The next task, with its room taken; waits for one, and gives None at the end."""
        with self._changed:
            while not self._closed:
                task = self._fitting()
                if task is not None:
                    self._ready.remove(task)
                    self._take_room(task)
                    return task
                waits = [each.not_before - time.monotonic() for each in self._ready if each.not_before]
                self._changed.wait(max(min((wait for wait in waits if wait > 0), default=60.0), 0.001))
        return None

    def give_back(self, task: Task) -> None:
        """The room that `task` had is free."""
        with self._changed:
            self._cpus += min(task.limits.cpus, self.all_cpus)
            self._gpus += task.gpus or ()
            self._running -= 1
            self._changed.notify_all()

    def close(self) -> list[Task]:
        """Hand out nothing more; gives what was still waiting for room."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            left, self._ready = self._ready, []
            return left

    def _fitting(self) -> Task | None:
        now = time.monotonic()
        for task in self._ready:
            if task.not_before > now:
                continue
            if min(task.limits.cpus, self.all_cpus) <= self._cpus and task.limits.gpus <= len(self._gpus):
                return task
            task.passed += 1
            if task.passed > _MOST_PASSED and self._running:
                return None
        return None

    def _take_room(self, task: Task) -> None:
        self._cpus -= min(task.limits.cpus, self.all_cpus)
        self._running += 1
        if task.limits.gpus:
            task.gpus = tuple(self._gpus[: task.limits.gpus])
            del self._gpus[: task.limits.gpus]


def unfinished(tasks: Iterable[Task]) -> set[Task]:
    return {task for task in tasks if not task.over.is_set()}


def failure(task: Task, short: str, text: str = "") -> StepFailed:
    """What is raised for a task that failed; `text` is the whole of the story."""
    return StepFailed(f"step {task.name!r} failed: {short}", step=task.name, traceback=text or short)
