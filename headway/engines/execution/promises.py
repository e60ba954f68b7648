"""Results that are not there yet: a handle on one is had at once, and looking at it waits."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Hashable
from typing import Any

from headway.engines.execution.schedule import Task
from headway.errors import BadPipeline
from headway.lifecycle.runs.results import Content, Result, results_in


class Promised:
    """The content of what a task will give, or with `path` of a part of it."""

    def __init__(self, task: Task, path: tuple[Any, ...] = ()) -> None:
        self.task, self._path = task, path

    def settled(self) -> Content:
        """The content itself; waits for it, and raises what went wrong instead."""
        while not self.task.over.wait(60.0):  # a wait without an end could not be interrupted everywhere
            pass
        if self.task.error is not None:
            self.task.seen = True
            raise self.task.error
        content = self.task.content
        assert content is not None
        for index, key in enumerate(self._path):
            self._check(content, key, index)
            content = content.part(key)
        return content

    @property
    def digest(self) -> str:
        return self.settled().digest

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(getattr(self.settled(), "formats", ()))

    def load(self) -> Any:
        return self.settled().load()

    def keys(self) -> range | tuple[Hashable, ...] | None:
        """Of a step that says how many it gives, `-> tuple[int, str]`, without waiting."""
        declared = None if self._path or self.task.over.is_set() else _declared_parts(self.task.step.signature)
        return range(declared) if declared is not None else self.settled().keys()

    def part(self, key: Any) -> Content:
        if self.task.over.is_set():
            return self.settled().part(key)
        return Promised(self.task, (*self._path, key))

    def _check(self, content: Content, key: Any, index: int) -> None:
        declared = None if index else _declared_parts(self.task.step.signature)
        keys = content.keys()
        if declared is not None and (not isinstance(keys, range) or len(keys) != declared):
            given = f"{len(keys)} parts" if keys is not None else "a value without parts"
            raise BadPipeline(
                f"step {self.task.name!r} says that it gives a tuple of {declared} and gives {given}; "
                "correct its annotation",
                step=self.task.name,
            )


def _declared_parts(signature: inspect.Signature) -> int | None:
    """How many parts a step says to give, None when it does not say so."""
    declared = signature.return_annotation
    if typing.get_origin(declared) is not tuple:
        return None
    parts = typing.get_args(declared)
    return None if Ellipsis in parts or parts == ((),) else len(parts)


def tasks_in(values: typing.Iterable[Any]) -> list[Task]:
    """Tasks that the results in `values` come from."""
    contents = [result.content for value in values for result in results_in(value)]
    return list(dict.fromkeys(content.task for content in contents if isinstance(content, Promised)))


def settled(result: Result) -> Content:
    content = result.content
    return content.settled() if isinstance(content, Promised) else content
