"""Values that are more than bytes in memory: files and folders, mapped arrays and frames, records, and pickles."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper
from scipy import sparse

from headway.client.blob_files import BlobFiles
from headway.engines.pipelines.executor import LocalExecutor
from headway.engines.pipelines.files import FileDigests, files_in
from headway.engines.pipelines.formats import Format, content_digest, decode_value, register_format
from headway.engines.pipelines.outputs import Stored, pack
from headway.errors import BadPipeline, StepFailed
from headway.kernel.blobs import blob_place
from headway.kernel.clock import SystemClock
from headway.kernel.records import digest
from headway.lifecycle.runs.pipeline import Pipeline, pipeline, step
from headway.lifecycle.runs.records import Output, StepState
from headway.storage.blobs import open_blobs
from headway.testing.session import MemorySession

FOLDER = Path(__file__).parent


class FolderBlobs:
    """Blobs as a home keeps them; `read` holds those whose bytes were asked for."""

    def __init__(self, root: Path) -> None:
        self.root, self.read = root, list[str]()
        self._store = open_blobs(root)
        self.put = self._store.put

    def get(self, blob: str) -> bytes:
        self.read.append(blob)
        return self._store.get(blob)

    def stored(self, value: Any, option: str = "", *, pickle: bool = False) -> Stored:
        outputs = pack(value, self.put, option, pickle=pickle)
        return Stored(outputs, self.get, file=BlobFiles(self.root).path, pickle=pickle)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


def runner(session: MemorySession) -> Callable[..., Any]:
    def run(of: Pipeline, **params: Any) -> Any:
        return LocalExecutor(session, SystemClock(), FOLDER).run(of, params).value

    return run


def test_a_large_array_is_mapped_and_stays_as_it_was(blobs: FolderBlobs) -> None:
    array = np.arange(2**18, dtype=np.float64)
    stored = blobs.stored((array, "small", array[:3]))
    mapped, _, small = stored.load()
    assert type(mapped) is np.ndarray
    assert isinstance(_root_of(mapped), np.memmap)
    assert not isinstance(_root_of(small), np.memmap)
    assert len(blobs.read) == 2  # the tree and the small one
    mapped[0] = -1.0
    small[0] = -1.0
    assert stored.load()[0][0] == 0.0
    assert pack(mapped[1:], blobs.put) == pack(array[1:], blobs.put)


def _root_of(array: Any) -> Any:
    while getattr(array, "base", None) is not None and not isinstance(array, np.memmap):
        array = array.base
    return array


def test_a_frame_is_mapped_where_a_step_asks_for_arrow(blobs: FolderBlobs) -> None:
    frame = pl.DataFrame({"a": np.arange(2**18), "b": ["x", None] * 2**17})
    stored = blobs.stored(frame, "arrow")
    assert stored.load().equals(frame)
    assert blobs.read == []
    assert stored.formats == ("polars-arrow",)
    small = blobs.stored(frame.head(3), "arrow")
    assert small.load().equals(frame.head(3))
    assert len(blobs.read) == 1
    assert blobs.stored(frame).formats == ("parquet",)
    assert pack(frame, blobs.put, "arrow") == pack(frame.clone(), blobs.put, "arrow")


_TAKING = """
import sys
from pathlib import Path
import polars, pyarrow.ipc
from headway.engines.pipelines.outputs import Stored
from headway.lifecycle.runs.records import Output

def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

polars.DataFrame({"a": [1.0]}).sum()
path, before = Path(sys.argv[1]), peak()
output = Output(blob="b", format=sys.argv[2])
frame = Stored([output], lambda blob: path.read_bytes(), file=lambda blob: path).load()
frame["a"].sum()
print((peak() - before) / frame.estimated_size())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
@pytest.mark.parametrize(("option", "kept_as"), [("", "polars-arrow"), ("parquet", "parquet")])
def test_a_large_frame_is_in_memory_once(option: str, kept_as: str, blobs: FolderBlobs, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": np.random.default_rng(1).random(2**24)})
    stored = blobs.stored(frame, option)
    assert stored.formats == (kept_as,)
    assert stored.load().equals(frame)
    assert blobs.read == []
    path = tmp_path / "blobs" / blob_place(stored.outputs[0].blob)
    command = [sys.executable, "-c", _TAKING, str(path), kept_as]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert 0.9 < float(done.stdout) < 1.5  # 2 and more from its bytes


def test_a_frame_that_parquet_makes_much_smaller_is_not_mapped(blobs: FolderBlobs) -> None:
    frame = pl.DataFrame({"a": np.arange(2**22) % 100, "t": ["a text that is said again and again"] * 2**22})
    assert frame.estimated_size() > 64 * 2**20
    assert blobs.stored(frame).formats == ("parquet",)
    assert blobs.stored(frame.head(2**16), "arrow").formats == ("polars-arrow",)


def test_a_key_tells_large_frames_apart_by_what_they_hold() -> None:
    rows = 2**22
    even = pl.DataFrame({"a": np.arange(rows)}).with_columns(pl.when(pl.col("a") % 2 == 0).then(pl.col("a")).alias("b"))
    array = np.arange(rows)
    other = pl.DataFrame(
        {"a": array, "b": pl.Series(np.where(array % 2, 0, array)).set(pl.Series(array % 2 == 1), None)}
    )
    assert even.equals(other)
    assert content_digest(even) == content_digest(other)
    assert content_digest(even)[0] == "parquet"


def test_what_is_mapped_outlives_the_file(blobs: FolderBlobs, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": np.arange(2**18)})
    stored = blobs.stored(frame, "arrow")
    loaded = stored.load()
    for path in (tmp_path / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    del stored
    gc.collect()
    assert loaded["a"].sum() == frame["a"].sum()


def test_a_damaged_or_missing_file_is_not_mapped(blobs: FolderBlobs, tmp_path: Path) -> None:
    blob = blobs.put(np.arange(2**18).tobytes())
    files = BlobFiles(tmp_path / "blobs")
    path = files.path(blob)
    assert path is not None
    assert files.path(blob) == path
    path.write_bytes(b"x" * 2**21)
    assert files.path(blob) is None
    path.unlink()
    assert files.path(blob) is None
    assert BlobFiles(None).path(blob) is None
    assert BlobFiles(tmp_path / "elsewhere").path(blob) is None


def test_a_format_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadPipeline, match="no format 'feather' to ask for; there is arrow"):
        pack(pl.DataFrame({"a": [1]}), lambda data: "", "feather")


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix])
def test_sparse_matrices(blobs: FolderBlobs, kind: Any) -> None:
    matrix = kind(np.eye(5) * np.arange(5))
    loaded = blobs.stored(matrix).load()
    assert type(loaded) is type(matrix)
    assert (loaded.toarray() == matrix.toarray()).all()


def test_onnx_models(blobs: FolderBlobs) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    model = helper.make_model(helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y]))
    assert blobs.stored(model).load() == model


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    names: tuple[str, ...] = ()


class Line(msgspec.Struct):
    start: Point
    end: Point


@step
def line(x: float) -> Line:
    return Line(Point(x), Point(x + 1, ("a", "b")))


@step
def middle(of: Line) -> Point:
    return Point((of.start.x + of.end.x) / 2, of.end.names)


def test_dataclasses_and_structs_come_back_as_they_were() -> None:
    @pipeline
    def flow() -> Any:
        return middle(line(1.0))

    session = MemorySession()
    assert runner(session)(flow) == Point(1.5, ("a", "b"))
    assert runner(session)(flow) == Point(1.5, ("a", "b"))
    with pytest.raises(BadPipeline, match="import the module that defines the class"):
        decode_value("record:os.path.Nothing", b"{}")
    with pytest.raises(BadPipeline, match="import the module that defines the class"):
        decode_value("record:builtins.dict", b"{}")
    with pytest.raises(BadPipeline, match="holds what JSON cannot say"):
        pack(Line(Point(object()), Point(1)), lambda data: "")  # type: ignore[arg-type]


class Odd:
    """Nothing that a format takes."""

    def __init__(self, value: int) -> None:
        self.value = value


@step(pickle=True)
def odd(value: int) -> Any:
    return {"odd": Odd(value), "frame": pl.DataFrame({"a": [value]})}


@step(name="odd")
def strict(value: int) -> Any:
    return {"odd": Odd(value), "frame": pl.DataFrame({"a": [value]})}


@step
def opened(given: Any) -> int:
    return int(given["odd"].value)


def test_pickle_is_for_steps_that_say_so() -> None:
    @pipeline
    def flow() -> Any:
        return opened(odd(3))

    @pipeline
    def careful() -> Any:
        return opened(strict(3))

    session = MemorySession()
    assert runner(session)(flow) == 3
    kept = next(result for result in session.results.values() if result.step == "odd")
    assert {output.format for output in kept.outputs} == {"tree", "pickle", "parquet"}
    assert runner(session)(flow) == 3
    with pytest.raises(BadPipeline, match=r"at \['odd'\]: a tests Odd cannot be stored.*@step\(pickle=True\)"):
        runner(MemorySession())(careful)


def test_a_pickle_is_not_read_for_a_step_that_does_not_say_so(tmp_path: Path) -> None:
    trap = tmp_path / "opened"
    data = b"cbuiltins\nopen\n(V" + str(trap).encode() + b"\nVw\ntR."
    stored = Stored((Output(blob=digest(data), format="pickle"),), lambda blob: data)
    with pytest.raises(BadPipeline, match=r"runs code when it is read; allow it by @step\(pickle=True\)"):
        stored.load()
    assert not trap.exists()


def test_what_cannot_be_pickled_is_named() -> None:
    @step(pickle=True)
    def broken() -> Any:
        return lambda: 1

    @pipeline
    def flow() -> Any:
        return broken()

    with pytest.raises(BadPipeline, match="step 'broken' gives what cannot be stored: a function cannot be pickled"):
        runner(MemorySession())(flow)


def test_formats_of_the_platform_are_not_taken() -> None:
    for name in ("json", "tree", "files", "pickle"):
        with pytest.raises(BadPipeline, match="is built in"):
            register_format(dataclasses.replace(_own_format(), name=name))


def _own_format() -> Format:
    return Format("own", lambda value: False, bytes, bytes)


@step
def written(text: str, where: str) -> Path:
    folder = Path(where) / "made"
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_text(text)
    (folder / "deep" / "b.bin").write_bytes(b"\x00" * 10)
    return folder


@step
def one(folder: Path) -> Path:
    (folder / "a.txt").write_text("spoiled")
    return folder / "a.txt"


@step
def read(folder: Path, file: Path) -> tuple[str, str, list[str]]:
    return (folder / "a.txt").read_text(), file.read_text(), sorted(name for name, _ in files_in(folder))


def test_files_and_folders_are_kept_by_content(tmp_path: Path) -> None:
    @pipeline
    def flow(text: str) -> Any:
        folder = written(text, str(tmp_path))
        return read(folder, one(folder))

    session = MemorySession()
    assert runner(session)(flow, text="hello") == ("hello", "spoiled", ["a.txt", "deep/b.bin"])
    (tmp_path / "made" / "a.txt").write_text("gone")
    fresh = MemorySession("rn_2", session)
    assert runner(fresh)(flow, text="hello") == ("hello", "spoiled", ["a.txt", "deep/b.bin"])
    assert {each.state for each in fresh.steps.values()} == {StepState.CACHED}


def test_an_empty_folder_and_a_missing_one(tmp_path: Path, blobs: FolderBlobs) -> None:
    (tmp_path / "empty").mkdir()
    assert list(blobs.stored(tmp_path / "empty").load().iterdir()) == []
    with pytest.raises(BadPipeline, match="no file or folder"):
        blobs.stored(tmp_path / "missing")


@pytest.mark.parametrize(
    "names",
    [
        ["made", "../out"], ["made", "/etc/out"], ["..", "a"], ["a/b", "c"], ["made", "a/../../out"], ["made", "a//b"],
        ["made", "", "b"], ["made", "a\0b"], ["made", "./a"],
    ],
)  # fmt: skip
def test_stored_names_lead_nowhere_else(names: list[str], tmp_path: Path) -> None:
    tree = json.dumps(["tree", "files", names, [["output", 1]] * (len(names) - 1)]).encode()
    content = {digest(tree): tree, digest(b"x"): b"x"}
    outputs = (Output(blob=digest(tree), format="tree"), Output(blob=digest(b"x"), format="file"))
    with pytest.raises(BadPipeline, match="names that lead elsewhere"):
        Stored(outputs, content.__getitem__).load()


@step
def counted(data: Path) -> int:
    return len(data.read_bytes()) if data.is_file() else len(list(data.iterdir()))


def test_a_path_that_is_given_counts_by_its_content(tmp_path: Path) -> None:
    @pipeline
    def flow(path: str) -> Any:
        return counted(Path(path))

    session = MemorySession()

    def ran(path: Path) -> bool:
        nonlocal session
        session = MemorySession(session.run + "'", session)
        runner(session)(flow, path=str(path))
        return session.steps["counted"].state is StepState.DONE

    file = tmp_path / "data" / "rows.csv"
    file.parent.mkdir()
    file.write_text("a,b")
    assert ran(file)
    assert not ran(file)
    file.write_text("a,c")
    assert ran(file)
    file.write_text("a,b")
    assert not ran(file)
    assert ran(file.parent)
    assert not ran(file.parent)
    (file.parent / "more.csv").touch()
    assert ran(file.parent)
    (file.parent / ".headway").mkdir()
    (file.parent / ".headway" / "headway.db").touch()
    assert not ran(file.parent)
    with pytest.raises(StepFailed, match=r"NotADirectoryError|FileNotFoundError"):
        ran(tmp_path / "missing")


def test_digests_of_files_outlast_the_process_and_follow_edits(tmp_path: Path) -> None:
    file, index = tmp_path / "rows.bin", tmp_path / "home" / "files.json"
    file.write_bytes(b"one")
    first = FileDigests(tmp_path, index)
    assert first.digest(file) == digest(b"one")
    first.save()
    assert not index.exists()  # so young a file may be edited without its marks telling

    class Later(FileDigests):
        """Its clock is ahead: time enough has gone by since the edit."""

        @staticmethod
        def _now() -> float:
            return time.time() + 60

    later = Later(tmp_path, index)
    assert later.digest(file) == digest(b"one")
    later.save()
    known = json.loads(index.read_bytes())
    assert list(known) == [str(file)]
    index.write_text(index.read_text().replace(digest(b"one"), digest(b"told")))
    assert FileDigests(tmp_path, index).digest(file) == digest(b"told")  # it is not read again
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert FileDigests(tmp_path, index).digest(file) == digest(b"two")
    index.write_text("broken")
    assert FileDigests(tmp_path, index).digest(file) == digest(b"two")
