"""A project, looked through without running it: what it declares, its modules, its contracts, and what has changed."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from headway.engines.pipelines.project import coerce_params, load_spec
from headway.engines.pipelines.snapshot import Snapshot, changed
from headway.errors import HeadwayError, Invalid
from headway.lifecycle.changes.project import Project, read_project
from headway.lifecycle.datasets.contract import Contract, checked_contract
from headway.lifecycle.gates.check import registered
from headway.lifecycle.gates.names import CHECKS

_PATIENCE_S = 120.0
_MODULE = "headway.engines.pipelines.snapshot"


class Looked(NamedTuple):
    """The project, if it can be read, and everything that is wrong with it."""

    project: Project | None
    contracts: dict[str, Contract]
    mistakes: tuple[str, ...]


def look_through(folder: Path) -> Looked:
    """Read `headway.toml`, load what it names, and gather every mistake instead of ending at the first."""
    try:
        text = (folder / "headway.toml").read_text()
        project = read_project(text)
    except (HeadwayError, UnicodeDecodeError) as error:
        return Looked(None, {}, (f"headway.toml: {error}",))
    contracts: dict[str, Contract] = {}
    mistakes: list[str] = []
    for name, spec in project.pipelines.items():
        try:
            pipeline = load_spec(folder, name, spec)
            contracts |= dict(_contracts(folder))  # modules are forgotten when the next one is loaded
            coerce_params(pipeline, {**spec.params, **project.ci.params.get(name, {})})
        except HeadwayError as error:
            mistakes.append(f"[pipelines.{name}] {error}")
    for name, contract in contracts.items():
        mistakes += [f"contract {name}: {each}" for each in _contract_mistakes(contract)]
    if not mistakes:
        try:
            read_project(text, checks={*CHECKS, *registered()})
        except HeadwayError as error:
            mistakes.append(f"headway.toml: {error}")
    return Looked(project, contracts, tuple(mistakes))


def _contracts(folder: Path) -> Iterator[tuple[str, Contract]]:
    """Those that stand in the project's modules by a name of their own."""
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).resolve().is_relative_to(folder.resolve()):
            yield from ((f"{name}.{key}", each) for key, each in sorted(vars(module).items()) if type(each) is Contract)


def _contract_mistakes(contract: Contract) -> Iterator[str]:
    try:
        checked_contract(contract)
    except Invalid as error:
        yield str(error)
    names = [rule.name for rule in contract.columns]
    yield from (f"column {name!r} has two rules" for name in sorted({n for n in names if names.count(n) > 1}))
    for rule in contract.columns:
        if rule.low is not None and rule.high is not None and rule.low > rule.high:
            yield f"column {rule.name!r}: no number is from {rule.low:g} to {rule.high:g}"
        if rule.median is not None and rule.median[0] > rule.median[1]:
            yield f"column {rule.name!r}: no median is from {rule.median[0]:g} to {rule.median[1]:g}"
        if not 0 <= rule.nulls <= 1:
            yield f"column {rule.name!r}: nulls is a share from 0 to 1, not {rule.nulls:g}"


def changed_since(folder: Path, base: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The commit that `base` names, and which pipelines are not as they were there, each with its changed steps.

    Raises `Invalid` where git does not have it. A project that could not be read there has changed as a whole.
    """
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if commit is None:
        raise Invalid(
            f"git has no commit {base[:60]!r} here; fetch all of the history (fetch-depth: 0), or name another"
        )
    name = commit.decode().strip()
    with tempfile.TemporaryDirectory(prefix="headway-ci-") as whole:
        # One place for both, one after the other: a constant such as the folder of a module is part of its code.
        place = Path(whole) / "project"
        archive = _git(folder, "archive", "--format=tar", name, "--", ".")
        place.mkdir()
        if archive is not None:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(place, filter="data")
        before = _snapshot(place, or_none=True) if (place / "headway.toml").is_file() else Snapshot()
        shutil.rmtree(place)
        _copy(folder, place)
        return name, changed(before, _snapshot(place))


def _copy(folder: Path, place: Path) -> None:
    """The files of the project as they are now, without those that git ignores."""
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".") or b""
    for each in dict.fromkeys(filter(None, listed.decode(errors="surrogateescape").split("\0"))):
        if (folder / each).is_file():
            (place / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / each, place / each)


def _snapshot(folder: Path, *, or_none: bool = False) -> Snapshot:
    """Read in a process of its own: two states of a module bear one name."""
    done = subprocess.run(
        [sys.executable, "-m", _MODULE, str(folder)], cwd=folder, capture_output=True, timeout=_PATIENCE_S, check=False
    )
    if done.returncode and or_none:
        return Snapshot()
    if done.returncode:
        raise Invalid(f"the project cannot be read: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return msgspec.json.decode(done.stdout, type=Snapshot)


def _git(folder: Path, *arguments: str) -> bytes | None:
    command = ["git", "-c", "core.fsmonitor=false", "--no-optional-locks", *arguments]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=_PATIENCE_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
