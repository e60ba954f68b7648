"""What the pipelines of a project are made of, so that two states of it can be compared.

`python -m headway.engines.pipelines.snapshot FOLDER` prints it: modules of two states bear the same names, and so must
be read by two processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from headway.engines.pipelines.project import load_spec
from headway.engines.pipelines.reach import Reach
from headway.errors import HeadwayError
from headway.kernel.records import Value, digest, encode
from headway.lifecycle.changes.project import PipelineSpec, read_project
from headway.lifecycle.runs.pipeline import Step


class Snapshot(Value):
    """By pipeline, the digest of its declaration and of all code that it reaches; by step, as `module:name`, that of
    its code. A pipeline that cannot be read has the reason for it instead."""

    pipelines: dict[str, str] = {}
    steps: dict[str, str] = {}


def snapshot(folder: Path) -> Snapshot:
    """Raises `BadSettings` when `headway.toml` cannot be read."""
    folder = folder.resolve()
    project = read_project((folder / "headway.toml").read_text())
    pipelines: dict[str, str] = {}
    steps: dict[str, str] = {}
    for name, spec in project.pipelines.items():
        try:
            pipelines[name], found = _pipeline(folder, name, spec)
        except HeadwayError as error:
            pipelines[name] = f"it cannot be read: {error}"
        else:
            steps |= found
    return Snapshot(pipelines=pipelines, steps=steps)


def _pipeline(folder: Path, name: str, spec: PipelineSpec) -> tuple[str, dict[str, str]]:
    """Its digest, and those of the steps in its modules. All that the function reaches counts, steps and helpers too.
    Modules are forgotten when the next pipeline is loaded."""
    pipeline = load_spec(folder, name, spec)
    reach = Reach(folder)
    steps = {name: _step(reach, step) for name, step in _steps(folder)}
    reached = reach.digest(pipeline.function) if spec.entry else [steps[node.call] for node in spec.steps.values()]
    return digest(encode([spec, reached])), steps


def _steps(folder: Path) -> Iterator[tuple[str, Step]]:
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).resolve().is_relative_to(folder):
            for key, value in sorted(vars(module).items()):
                if isinstance(value, Step) and getattr(value.function, "__module__", name) == name:
                    yield f"{name}:{key}", value


def _step(reach: Reach, step: Step) -> str:
    try:
        return digest(encode([reach.digest(step.function), step.version]))
    except HeadwayError as error:
        return f"it has no key: {error}"


def changed(before: Snapshot, after: Snapshot) -> dict[str, tuple[str, ...]]:
    """The pipelines of `after` that are not as they were, each with the steps of the project that are not."""
    steps = tuple(sorted(name for name, code in after.steps.items() if before.steps.get(name) != code))
    return {name: steps for name, code in after.pipelines.items() if before.pipelines.get(name) != code}


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(encode(snapshot(Path(sys.argv[1]))))
    except HeadwayError as error:
        sys.exit(str(error))
