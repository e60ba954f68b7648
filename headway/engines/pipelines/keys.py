"""The key of a step's call: the same key means the same result.

It covers the code of the step and all it reaches in the project (`reach.py`), each argument by its content, defaults
included, the outputs of other steps by digest (so a step that gives the same bytes as before stops what comes after
it from running again), files and folders by what is in them, the packages that code reaches or that inputs are read
by, Python's version and the version that the step declares.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from headway.engines.pipelines.canonical import canonical
from headway.engines.pipelines.files import FileDigests
from headway.engines.pipelines.formats import class_of_record, content_digest, package_of
from headway.engines.pipelines.parts import shown_value, written
from headway.engines.pipelines.reach import Reach
from headway.errors import BadPipeline
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.pipeline import Step
from headway.lifecycle.runs.records import Given, KeyParts
from headway.lifecycle.runs.results import Result, results_in

_SCHEME = 2
"""Raised when keys are made differently: results kept under older ones are not found any more."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_SHORT = 19


@dataclass(frozen=True, slots=True)
class Key:
    """A key as `b3:...`, and what it was made of: `given` has the name and the content of each argument."""

    text: str
    code: str
    given: list[list[Any]]
    packages: dict[str, str]


class Keys:
    """Keys for steps of the project in `folder`; the code is read once, so one of these serves one run."""

    def __init__(self, folder: Path, files: FileDigests | None = None) -> None:
        self._folder = folder
        self._reach = Reach(folder)
        self._files = files or FileDigests(folder)
        self._written: dict[str, bytes] = {}
        self._packages: dict[str, tuple[tuple[str, str], ...]] = {}

    def of(self, step: Step, arguments: inspect.BoundArguments) -> str:
        """The text of `key`."""
        return self.key(step, arguments).text

    def key(self, step: Step, arguments: inspect.BoundArguments) -> Key:
        """Raises `BadPipeline` naming the argument, or what it reaches, that has no content to tell it apart by."""
        code = self.code(step)
        given = [[name, self._content(step, name, value)] for name, value in arguments.arguments.items()]
        packages = self._read_by(arguments)
        text = digest(encode([_SCHEME, code, given, sorted(packages.items()), PYTHON, step.version]))
        return Key(text, code, given, packages)

    def code(self, step: Step) -> str:
        """The digest of the step's code and of all that it reaches; raises `BadPipeline` as `key` does."""
        try:
            return self._reach.digest(step.function)
        except BadPipeline as error:
            raise BadPipeline(f"step {step.name!r} has no key: {error}", step=step.name) from error

    def parts(self, step: Step, arguments: inspect.BoundArguments, key: Key) -> KeyParts:
        """What `key` was made of, to be kept with the result; `arguments` are as they were given, not resolved."""
        given = (
            Given(name=name, digest=digest(encode(content))[:_SHORT], shown=_shown(arguments.arguments[name]))
            for name, content in key.given
        )
        return KeyParts(code=key.code, given=tuple(given), packages=key.packages, python=PYTHON, version=step.version)

    def written(self, code: str) -> bytes:
        """A `StepCode` of what the digest `code` covers, as bytes."""
        if code not in self._written:
            self._written[code] = written(self._reach.found(code), self._folder)
        return self._written[code]

    def _read_by(self, arguments: inspect.BoundArguments) -> dict[str, str]:
        """The packages, and classes of the project, that make values of the handles among the arguments."""
        packages: dict[str, str] = {}
        for value in arguments.arguments.values():
            for result in results_in(value):
                for name in formats_of(result):
                    packages.update(self._package(name))
        return packages

    def _package(self, name: str) -> Sequence[tuple[str, str]]:
        """Of a record it is the code of its class, whose methods a step may call."""
        if name not in self._packages:
            package = package_of(name)
            found = self._reach.packages.of(package) if package else ()
            cls = class_of_record(name)
            if cls is not None:
                found = ((f"class {cls.__module__}.{cls.__qualname__}", self._reach.digest(cls)[:_SHORT]),)
            self._packages[name] = found
        return self._packages[name]

    def _content(self, step: Step, name: str, value: Any) -> Any:
        try:
            return canonical(value, self._other, self._files.content)
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


def formats_of(result: Result) -> Sequence[str]:
    """The formats of the outputs behind a handle, as far as its content says."""
    formats: Sequence[str] = getattr(result.content, "formats", ())
    return formats


def _shown(value: Any) -> str:
    steps = list(dict.fromkeys(result.step for result in results_in(value)))
    if steps:
        more = f" and {len(steps) - 2} more" if len(steps) > 2 else ""
        return f"what {', '.join(steps[:2])}{more} gives"
    return shown_value(value)
