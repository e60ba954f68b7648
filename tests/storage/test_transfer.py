"""An export and what is made of it: the same again, or nothing."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from headway.errors import Conflict, Invalid, LedgerBroken, NotFound, Unavailable
from headway.kernel.ledger import verify
from headway.kernel.records import encode
from headway.lifecycle.runs.records import Artifact, Run
from headway.storage.transfer import columns
from headway.storage.transfer.exporting import export_home
from headway.storage.transfer.importing import import_home
from headway.storage.transfer.layout import Manifest
from tests.storage.homes import SmallHome, Step, fill, homes, small_home


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database to copy."""
    folder = tmp_path_factory.mktemp("migrated")
    with small_home(folder):
        pass
    return folder / "headway.db"


def exported(home: SmallHome, place: Path) -> Manifest:
    return export_home(home.portable, home.blobs, place, {"project.toml": b"[project]"})


def imported(home: SmallHome, place: Path) -> Manifest:
    return import_home(home.portable, home.blobs, place, lambda name, content: None)


def there_and_back(steps: list[Step], migrated: Path) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        with small_home(folder / "one", migrated) as one, small_home(folder / "two", migrated) as two:
            fill(one, steps)
            first = exported(one, folder / "first")
            imported(two, folder / "first")
            assert encode(exported(two, folder / "second.tar")) == encode(first)
            assert verify(two.portable.ledger) == verify(one.portable.ledger)
            for table in one.portable.record_tables():
                assert list(two.portable.records(table)) == list(one.portable.records(table))
            fill(two, steps[:1])  # which numbers what it writes behind the rest
            with small_home(folder / "three", migrated) as three:
                imported(three, folder / "second.tar")


_ANY_HOME = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=4, **_ANY_HOME)
@given(steps=homes())
def test_there_and_back_is_the_same(steps: list[Step], migrated: Path) -> None:
    there_and_back(steps, migrated)


@pytest.mark.slow
@settings(max_examples=80, **_ANY_HOME)
@given(steps=homes())
def test_there_and_back_is_the_same_for_many_homes(steps: list[Step], migrated: Path) -> None:
    there_and_back(steps, migrated)


@pytest.fixture
def one(tmp_path: Path, migrated: Path) -> SmallHome:
    """A home with two runs, their points and a file."""
    with small_home(tmp_path / "one", migrated) as home:
        write(home, "rn_1", b"a file")
        write(home, "rn_2", b"another")
        yield home


def write(home: SmallHome, name: str, content: bytes) -> None:
    now = home.clock.now()
    blob = home.blobs.put(content)
    with home.opened.journal.act("ada", "run.start") as act:
        act.save(home.opened.stores.runs, Run(id=name, created_at=now, experiment="late"))
        artifact = Artifact(id=f"ar_{name}".ljust(29, "0"), created_at=now, run=name, name="f", blob=blob, size=1)
        act.save(home.opened.stores.artifacts, artifact, came_from=[name])
        act.emit("RunEnded", name)


@pytest.fixture
def two(tmp_path: Path, migrated: Path) -> SmallHome:
    with small_home(tmp_path / "two", migrated) as home:
        yield home


def test_without_polars_it_is_json_lines(
    one: SmallHome, two: SmallHome, tmp_path: Path
) -> None:  # fmt: skip
    rows = [("p/1", 0.5, 1_700_000_000_000_001, None), ("p/2", float("inf"), None, "late")]
    described = one.portable.columns("labels")
    [part] = columns.parts("labels", described, [rows], parquet=False)
    (tmp_path / "labels.jsonl").write_bytes(b"".join(part.chunks))
    with (tmp_path / "labels.jsonl").open("rb") as file:
        assert list(columns.read_rows(part.name, described, file)) == rows
    assert json.loads((tmp_path / "labels.jsonl").read_bytes().splitlines()[1])["value"] == "inf"


def test_an_export_is_of_one_moment(one: SmallHome, two: SmallHome, tmp_path: Path) -> None:
    going = threading.Event()

    def keep_writing() -> None:
        for number in range(40):
            write(one, f"rn_x{number:04}", str(number).encode())
            going.set()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    going.wait(10)
    first = exported(one, tmp_path / "out")
    writer.join()
    imported(two, tmp_path / "out")
    assert 4 < first.head.number < 84
    assert verify(two.portable.ledger) == first.head.number


def files(place: Path) -> list[str]:
    return sorted(str(file.relative_to(place)) for file in place.rglob("*") if file.is_file())


def empty(home: SmallHome) -> bool:
    return home.portable.full_table() == ""


def test_any_changed_byte_is_refused_by_name(one: SmallHome, two: SmallHome, tmp_path: Path) -> None:
    exported(one, tmp_path / "out")
    for name in files(tmp_path / "out"):
        content = (tmp_path / "out" / name).read_bytes()
        if not content or name == "manifest.json":
            continue
        changed = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
        (tmp_path / "out" / name).write_bytes(changed)
        with pytest.raises(LedgerBroken, match=f"{name} is not as it was exported"):
            imported(two, tmp_path / "out")
        (tmp_path / "out" / name).write_bytes(content)
    assert empty(two)
    imported(two, tmp_path / "out")


def test_any_missing_file_is_refused_by_name(one: SmallHome, two: SmallHome, tmp_path: Path) -> None:
    exported(one, tmp_path / "out")
    for name in files(tmp_path / "out"):
        file = tmp_path / "out" / name
        shutil.move(file, tmp_path / "away")
        with pytest.raises(NotFound, match=f"{name} is missing"):
            imported(two, tmp_path / "out")
        shutil.move(tmp_path / "away", file)
    assert empty(two)


Change = Callable[[Manifest], Manifest]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: m.but(version=2), Invalid),
        (lambda m: m.but(database="9999"), Unavailable),
        (lambda m: m.but(head=m.head.but(number=m.head.number + 1)), LedgerBroken),
        (lambda m: m.but(files=m.files | {"../../etc/passwd": next(iter(m.files.values()))}), Invalid),
        (lambda m: m.but(files={k: v for k, v in m.files.items() if k != "records/runs.jsonl"}), LedgerBroken),
    ],
    ids=["format", "newer", "cut", "elsewhere", "left out"],
)
def test_a_manifest_that_says_something_else(
    one: SmallHome, two: SmallHome, tmp_path: Path, change: Change, error: type[Exception]
) -> None:
    manifest = exported(one, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_bytes(encode(change(manifest)))
    with pytest.raises(error):
        imported(two, tmp_path / "out")
    assert empty(two)


def test_a_ledger_that_was_written_anew_is_refused(one: SmallHome, two: SmallHome, tmp_path: Path) -> None:
    """Also when the manifest was made to fit."""
    manifest = exported(one, tmp_path / "out")
    name = "records/runs.jsonl"
    changed = (tmp_path / "out" / name).read_bytes().replace(b'"late"', b'"soon"')
    (tmp_path / "out" / name).write_bytes(changed)
    content = msgspec.structs.replace(manifest.files[name], digest=two.blobs.put(changed))
    (tmp_path / "out" / "manifest.json").write_bytes(encode(manifest.but(files=manifest.files | {name: content})))
    with pytest.raises(LedgerBroken, match="rn_1 is not as entry"):
        imported(two, tmp_path / "out")
    assert empty(two)


def test_a_missing_blob_is_no_export(one: SmallHome, tmp_path: Path) -> None:
    gone = one.blobs.put(b"a file")
    one.blobs.delete(gone)
    for place in ("out", "out.tar"):
        with pytest.raises(LedgerBroken, match=f"holds blob {gone}, which is missing"):
            exported(one, tmp_path / place)
        assert not (tmp_path / place).exists()


def test_only_into_what_is_empty(one: SmallHome, two: SmallHome, tmp_path: Path) -> None:
    exported(one, tmp_path / "out")
    with pytest.raises(Conflict, match="not empty; choose another folder"):
        exported(one, tmp_path / "out")
    imported(two, tmp_path / "out")
    with pytest.raises(Conflict, match="import into a new one"):
        imported(two, tmp_path / "out")
    with pytest.raises(Invalid, match="is no export"):
        imported(two, tmp_path / "nowhere")
