"""A project's folder: where it is, which code is in it, the pipelines that its modules define, and their params."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import blake3
import msgspec

from headway.engines.pipelines.failures import told
from headway.engines.pipelines.sources import open_project
from headway.errors import BadPipeline, BadSettings
from headway.kernel.naming import nearest
from headway.lifecycle.runs.pipeline import DeclaredStep, Pipeline, Step, declared
from headway.lifecycle.runs.records import Code

PROJECT_FILE = "headway.toml"
_GIT_TIMEOUT_S = 3.0
_UNNAMED = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class Declared(Protocol):
    """What `headway.toml` says of a pipeline: `module:function`, or without one the steps of its graph."""

    @property
    def entry(self) -> str: ...
    @property
    def steps(self) -> Mapping[str, DeclaredStep]: ...


def find_project(start: Path) -> Path:
    """The nearest folder with a `headway.toml`, from `start` upward; raises `BadSettings` when there is none."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    raise BadSettings(f"no {PROJECT_FILE} in {start} or above it; run this inside a project, or make one: headway init")


def code_of(folder: Path) -> Code:
    """Digest of the project's Python files and its `headway.toml`; commit and whether it was edited since, when git
    can tell. Hidden folders and environments do not count."""
    whole = blake3.blake3()
    for path in sorted(_code_files(folder), key=lambda path: path.as_posix()):
        name, data = path.relative_to(folder).as_posix().encode(), path.read_bytes()
        whole.update(len(name).to_bytes(8, "little") + name + len(data).to_bytes(8, "little") + data)
    said = _git(folder, "status", "--porcelain=v2", "--branch", "--", ".", ":(exclude).headway") or ""
    commit = next((line.split()[2] for line in said.splitlines() if line.startswith("# branch.oid ")), "(none)")
    if commit.startswith("("):  # nothing was committed yet
        return Code(digest="b3:" + whole.hexdigest())
    edited = any(not line.startswith("# ") for line in said.splitlines())
    return Code(digest="b3:" + whole.hexdigest(), commit=commit, dirty=edited)


def _code_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name for name in folders
            if not name.startswith(".") and name != "__pycache__" and not Path(place, name, "pyvenv.cfg").exists()
        ]  # fmt: skip
        for name in files:
            path = Path(place, name)
            if (name.endswith(".py") or (name == PROJECT_FILE and path.parent == folder)) and path.is_file():
                yield path


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None when it is missing, slow, or knows no repository here."""
    if not any((place / ".git").exists() for place in (folder, *folder.parents)):
        return None
    import subprocess  # noqa: PLC0415  # not needed where there is no repository

    # No repository's own program is run to watch its files, and no lock is taken.
    command = ["git", "-c", "core.fsmonitor=false", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def load_pipeline(folder: Path, entry: str) -> Pipeline:
    """The pipeline `module:function` of the project, its modules imported as they stand now.

    Raises `BadPipeline` that says what is missing, or where the project's own code failed.
    """
    open_project(folder.resolve())
    found = _named(folder.resolve(), entry, Pipeline)
    assert isinstance(found, Pipeline)
    return found


def load_declared(folder: Path, name: str, graph: Mapping[str, DeclaredStep]) -> Pipeline:
    """The pipeline that the steps in `graph` make; raises `BadPipeline` as `load_pipeline` and `declared` do."""
    open_project(folder.resolve())
    return declared(name, graph, {node.call: _step(folder.resolve(), node.call) for node in graph.values()})


def load_spec(folder: Path, name: str, spec: Declared) -> Pipeline:
    """The pipeline `name` as `headway.toml` says it, by an entry or by steps; raises `BadPipeline` as these do."""
    return load_pipeline(folder, spec.entry) if spec.entry else load_declared(folder, name, spec.steps)


def _step(folder: Path, entry: str) -> Step:
    found = _named(folder, entry, Step)
    assert isinstance(found, Step)
    return found


def _named(folder: Path, entry: str, kind: type[Pipeline] | type[Step]) -> Pipeline | Step:
    module_name, _, name = entry.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise BadPipeline(f"{entry!r} is no entry: write module:function, such as pipeline:train")
    module = _imported(folder, module_name)
    found = getattr(module, name, None)
    if isinstance(found, kind):
        return found
    what = kind.__name__.lower()
    if callable(found):
        raise BadPipeline(f"{entry} is no {what}: put @{what} above its definition")
    known = [key for key, value in vars(module).items() if isinstance(value, kind)]
    listed = f" (it has {', '.join(sorted(known))})" if known else f"; mark a function with @{what}"
    raise BadPipeline(f"{module.__name__} has no {what} {name!r}{nearest(name, known) or listed}")


def _imported(folder: Path, name: str) -> ModuleType:
    path = folder.joinpath(*name.split("."))
    if not path.with_suffix(".py").is_file() and not (path / "__init__.py").is_file():
        known = [file.stem for file in folder.glob("*.py")]
        raise BadPipeline(f"there is no {path.name}.py in {path.parent}{nearest(name, known)}")
    try:
        module = importlib.import_module(name)
    except SyntaxError as error:
        raise BadPipeline(f"{_place(folder, error)} cannot be read: {error.msg}") from error
    except (Exception, SystemExit) as error:
        text, short = told(error, folder)
        raise BadPipeline(f"module {name!r} failed while it was imported: {short}", traceback=text) from error
    if not Path(module.__file__ or "").is_relative_to(folder):
        raise BadPipeline(f"{path.name}.py has the name of a module that is loaded already; rename it")
    return module


def _place(folder: Path, error: SyntaxError) -> str:
    file = Path(error.filename or "")
    return f"{file.relative_to(folder) if file.is_relative_to(folder) else file} line {error.lineno}"


def coerce_params(pipeline: Pipeline, given: Mapping[str, str]) -> dict[str, Any]:
    """Each text as the type that the function's annotation says, or else its default's; without both, as JSON if it
    is that, and as it stands if not. Containers are given as JSON.

    Raises `BadPipeline` for a param that is unknown, missing, or not of its type.
    """
    takes = {name: each for name, each in pipeline.signature.parameters.items() if each.kind not in _UNNAMED}
    if not any(each.kind is Parameter.VAR_KEYWORD for each in pipeline.signature.parameters.values()):
        for name in given:
            if name not in takes:
                known = ", ".join(takes) or "none"
                raise BadPipeline(f"pipeline {pipeline.name!r} has no param {name!r}{nearest(name, takes)} ({known})")
    missing = [name for name, each in takes.items() if each.default is Parameter.empty and name not in given]
    if missing:
        raise BadPipeline(f"pipeline {pipeline.name!r} needs a value for {', '.join(missing)}: {missing[0]}=...")
    return {name: _value(name, text, takes.get(name)) for name, text in given.items()}


def _value(name: str, text: str, parameter: Parameter | None) -> Any:
    wanted = _type_of(parameter)
    if wanted is str:
        return text
    if wanted is None:
        try:
            return json.loads(text)
        except ValueError:
            return text
    for read in (_from_text, _from_json):
        try:
            return read(text, wanted)
        except (msgspec.MsgspecError, TypeError):
            continue
    raise BadPipeline(f"param {name!r} takes {_told(wanted)}, and {text[:100]!r} is none")


def _type_of(parameter: Parameter | None) -> Any:
    """The type to read, None when nothing says which."""
    if parameter is None:
        return None
    if parameter.annotation not in (Parameter.empty, Any) and not isinstance(parameter.annotation, str):
        return parameter.annotation
    return type(parameter.default) if parameter.default not in (Parameter.empty, None) else None


def _from_text(text: str, wanted: Any) -> Any:
    return msgspec.convert(text, wanted, strict=False)


def _from_json(text: str, wanted: Any) -> Any:
    return msgspec.json.decode(text, type=wanted)


def _told(wanted: Any) -> str:
    return wanted.__name__ if isinstance(wanted, type) else str(wanted)
