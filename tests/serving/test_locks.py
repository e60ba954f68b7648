"""Locked environments: pinned packages and no others, made once, and the worker runs in them."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from headway.cli.main import main
from headway.engines.runtimes.environments import FOLDER, Origin, prepare, prepared
from headway.errors import Invalid, Unavailable
from headway.kernel.records import digest
from headway.lifecycle.models.locks import checked_lock
from headway.lifecycle.models.records import ModelVersion
from tests.serving.delivered import OWNER, Delivered, delivered
from tests.serving.test_classes import CONTRACT, trips
from tests.serving.test_forms import SIGNATURE, folder_of

MODEL = """
import sys, tiny

def predict(inputs):
    far = inputs["far"][:, 0]
    return {"cost": far * tiny.FACTOR, "kind": [sys.prefix] * len(far)}
"""


def wheel(folder: Path, name: str, version: str, source: str, requires: str = "") -> None:
    """A wheel of one module, written by hand."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", source)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package `tiny`, and a `numpy` that stands for the one of this interpreter, so that none is unpacked."""
    folder = tmp_path_factory.mktemp("wheels")
    wheel(folder, "tiny", "1.0", "FACTOR = 2.5\n")
    wheel(folder, "needy", "1.0", "", "nowhere")
    real = Path(np.__file__).parents[1]
    # Its folder is put in front, and the stand-in taken out of the way before the real one is imported in its place.
    source = f"import sys\nsys.path.insert(0, {str(real)!r})\ndel sys.modules['numpy']\nimport numpy\n"
    wheel(folder, "numpy", np.__version__, source)
    return folder


LOCK = checked_lock(["tiny==1.0", f"numpy=={np.__version__}"])


def test_a_lock_is_written_in_one_way() -> None:
    text = "# made by hand\nNumPy==2.4.6 \\\n    --hash=sha256:" + "a" * 64 + "\nScikit_Learn==1.9.1  # trees\n\n"
    assert checked_lock(text) == f"numpy==2.4.6 --hash=sha256:{'a' * 64}\nscikit-learn==1.9.1\n"


@pytest.mark.parametrize(
    "line",
    [
        "scipy", "scipy>=1.0", "scipy==1.*", "scipy @ https://example.org/scipy.whl", "--index-url https://example.org",
        "-e .", "./scipy.whl", "scipy==1.0; python_version<'3'", "scipy[extra]==1.0", "scipy==1.0 --hash=md5:0",
        "numpy==2.0",
    ],
)  # fmt: skip
def test_what_is_no_pin_is_refused(line: str) -> None:
    with pytest.raises(Invalid):
        checked_lock(["numpy==2.4.6", line])


def test_a_worker_needs_numpy() -> None:
    with pytest.raises(Invalid, match="lacks numpy"):
        checked_lock(["scipy==1.0"])


NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?\Z")


@given(st.dictionaries(NAMES, st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){0,2}\Z"), max_size=8))
def test_it_does_not_matter_how_a_lock_was_written(pins: dict[str, str]) -> None:
    lines = [f"{name}=={version}" for name, version in ({"numpy": "2.4.6"} | pins).items()]
    text = checked_lock(lines)
    assert checked_lock(text) == text == checked_lock(line.upper().replace("-", "_") for line in reversed(lines))


def test_an_environment_is_made_once(wheels: Path, tmp_path: Path) -> None:
    lock = digest(LOCK.encode())
    assert prepared(tmp_path, lock) is None
    first = prepare(tmp_path, lock, LOCK, Origin(wheels))
    assert (first.made, prepare(tmp_path, lock, LOCK, Origin(wheels))) == (True, first._replace(made=False))
    assert prepared(tmp_path, lock) == first.python
    assert [each.name for each in tmp_path.iterdir()] == [f"{lock[3:35]}-{sys.version_info[0]}.{sys.version_info[1]}"]


@pytest.mark.parametrize(
    ("package", "what"), [("nowhere==1.0", "nowhere"), ("needy==1.0", "needy 1.0 requires nowhere")]
)
def test_what_cannot_be_had_leaves_nothing(wheels: Path, tmp_path: Path, package: str, what: str) -> None:
    text = checked_lock([package, f"numpy=={np.__version__}"])
    with pytest.raises(Invalid, match=what):
        prepare(tmp_path, digest(text.encode()), text, Origin(wheels))
    assert list(tmp_path.iterdir()) == []


def test_the_text_must_be_that_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="not the text of the lock"):
        prepare(tmp_path, "b3:" + "0" * 64, LOCK, Origin())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    with delivered(tmp_path_factory.mktemp("locks")) as opened:
        for name, seed in (("trips", 1), ("later", 2)):
            opened.client.datasets.add(name, trips(seed), contract=CONTRACT)
        yield opened


@pytest.fixture(scope="module")
def version(world: Delivered, tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    path = folder_of(tmp_path_factory.mktemp("locked") / "model", MODEL)
    with world.run() as run:
        made = run.log_model(
            "locked", path, training=["trips"], evaluation="later", task="regression", signature=SIGNATURE,
            requirements=LOCK.splitlines(),
        )  # fmt: skip
    world.platform.models.trust(made.id, "it was read", by=OWNER)
    return made


def test_the_version_has_its_lock(world: Delivered, version: ModelVersion) -> None:
    assert version.lock
    assert world.client.blobs.get(version.lock).decode() == LOCK


@pytest.mark.slow
def test_a_worker_runs_in_it_once_it_is_prepared(world: Delivered, version: ModelVersion, wheels: Path) -> None:
    home = world.application.home.folder
    world.declare("locked", "locked")
    world.ship(version, "locked")
    server = world.serve("locked", "--environments", str(home / FOLDER))
    server.wait(lambda: "headway model prepare locked@1" in server.status()["error"])
    assert server.call("POST", "/v1/predict/locked", {"features": {"far": 2, "fare": 1}})[0] == 503
    done = _command(home, "model", "prepare", "locked@1", "--wheels", str(wheels))
    assert done.exit_code == 0, done.output
    server.wait(lambda: bool(server.call("GET", "/v2/health/ready")[0] == 200), timeout_s=60)
    status, answer = server.call("POST", "/v1/predict/locked", {"features": {"far": 2, "fare": 1}})
    assert (status, answer["score"]) == (200, 5.0)
    assert answer["label"].startswith(str(home / FOLDER))
    again = _command(home, "model", "prepare", "locked@1", "--wheels", str(wheels))
    assert "which was there" in again.output


def _command(home: Path, *arguments: str) -> Any:
    """On the home itself: sqlite lets a second process in."""
    return CliRunner().invoke(main, [*arguments, "--home", str(home)], env={**os.environ, "HEADWAY_HOME": str(home)})


def test_without_it_nothing_is_loaded(world: Delivered, version: ModelVersion, tmp_path: Path) -> None:
    from headway.serving.offline.releases import Releases  # noqa: PLC0415

    world.declare("bare", "locked")
    release = world.ship(version, "bare").id
    with Releases(world.client, environments=tmp_path) as releases, pytest.raises(Unavailable, match="model prepare"):
        releases.get(release)
