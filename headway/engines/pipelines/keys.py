"""The key of a step's call: the same key means the same result.

It covers the code of the step and all it reaches in the project (`reach.py`), each argument by its content, defaults
included, the outputs of other steps by digest (so a step that gives the same bytes as before stops what comes after
it from running again), Python's version and the version that the step declares.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from headway.engines.pipelines.canonical import canonical
from headway.engines.pipelines.formats import content_digest
from headway.engines.pipelines.reach import Reach
from headway.errors import BadPipeline
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.pipeline import Step
from headway.lifecycle.runs.results import Result

_SCHEME = 1
"""Raised when keys are made differently: results kept under older ones are not found any more."""
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Keys:
    """Keys for steps of the project in `folder`; the code is read once, so one of these serves one run."""

    def __init__(self, folder: Path) -> None:
        self._reach = Reach(folder)

    def of(self, step: Step, arguments: inspect.BoundArguments) -> str:
        """The key as `b3:...`; raises `BadPipeline` naming the argument, or what it reaches, that has no content to
        tell it apart by."""
        try:
            code = self._reach.digest(step.function)
        except BadPipeline as error:
            raise BadPipeline(f"step {step.name!r} has no key: {error}", step=step.name) from error
        given = [[name, self._content(step, name, value)] for name, value in arguments.arguments.items()]
        return digest(encode([_SCHEME, code, given, _PYTHON, step.version]))

    def _content(self, step: Step, name: str, value: Any) -> Any:
        try:
            return canonical(value, self._other)
        except BadPipeline as error:
            raise BadPipeline(
                f"step {step.name!r}, argument {name!r}: {error}", step=step.name, argument=name
            ) from error
        except RecursionError:
            raise BadPipeline(f"step {step.name!r}, argument {name!r}: the value contains itself") from None

    def _other(self, value: Any) -> Any:
        if isinstance(value, Result):
            return ["result", value.content.digest]
        if isinstance(value, FunctionType | type | ModuleType | Step):
            return ["code", self._reach.digest(value)]
        return content_digest(value)
