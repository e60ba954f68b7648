"""The isolated process: what travels to it, what it may do, and what becomes of one that misbehaves."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from headway.engines.models.adoption import skops_signature
from headway.engines.runtimes.folders import laid_out
from headway.engines.runtimes.isolated import INLINE_BYTES, Memory, Skops, landlock, reader_of, receive, send
from headway.engines.runtimes.python import Plan, PythonWorker, Raised, _memory
from headway.engines.runtimes.skops import ALLOWED_TYPES
from headway.errors import Invalid, LedgerBroken, Unavailable
from headway.kernel.records import digest, encode
from headway.lifecycle.models.records import Feeding, Form, ModelFile, ModelFolder, PythonRuntime
from tests.serving.workers import SIGNATURE, folder_of, stand_in

SHAPE = st.tuples(st.integers(0, 5), st.integers(1, 3))
TENSOR = st.one_of(
    *(arrays.arrays(dtype, SHAPE) for dtype in ("?", "<i4", "<i8", "<f4", "<f8")),
    st.lists(st.text(max_size=5), max_size=5).map(lambda texts: np.array(texts, dtype=object)),
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=5), TENSOR, max_size=4), st.booleans())
def test_tensors_arrive_as_they_were(tensors: dict[str, Any], shared: bool) -> None:
    assert _there_and_back({"a": [1]}, tensors, shared) == {"a": [1]}


@pytest.mark.parametrize("shared", [True, False])
def test_large_tensors_arrive_as_they_were(shared: bool) -> None:
    large = np.arange(INLINE_BYTES, dtype="<f8")
    texts = np.array([f"text {place}" for place in range(20_000)], dtype=object)
    _there_and_back({}, {"large": large, "small": large[:3], "texts": texts, "again": large + 1}, shared)


def _there_and_back(header: Any, tensors: dict[str, Any], shared: bool) -> Any:
    ours, theirs = socket.socketpair()
    descriptor = _memory("test") if shared else -1
    sender, receiver = Memory(descriptor), Memory(descriptor)
    with ours, theirs:
        thread = threading.Thread(target=send, args=(ours, header, tensors, sender))
        thread.start()
        found, arrived = receive(reader_of(theirs), receiver)
        thread.join()
    if shared:
        os.close(descriptor)
    assert arrived.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert arrived[name].dtype == tensor.dtype
        np.testing.assert_array_equal(arrived[name], tensor)
    return found


def test_shared_memory_cannot_be_taken_from_under_its_reader() -> None:
    descriptor = _memory("test")
    os.ftruncate(descriptor, 1000)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 10)
    with pytest.raises(ValueError, match="outside"):
        Memory(descriptor).view(2000)
    os.close(descriptor)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stand_in(tmp_path_factory.mktemp("stand-in"))


PRYING = """
import os, socket
import numpy as np

class Model:
    def predict(self, rows):
        what = int(rows[0, 0])
        ways = [self.read, self.write, self.connect, self.listen, self.signal, self.own]
        return np.full(len(rows), float(ways[what]()))

    def read(self):
        return len(open({secret!r}).read())

    def write(self):
        return open({secret!r} + ".new", "w").write("x")

    def connect(self):
        socket.create_connection(("127.0.0.1", {port}), timeout=2).close()
        return 1

    def listen(self):
        socket.create_server(("127.0.0.1", 0)).close()
        return 1

    def signal(self):
        os.kill({pid}, 0)
        return 1

    def own(self):
        with open("scratch", "w") as file:
            file.write("x")
        return len(open(__file__).read()) > 0 and len(open("scratch").read())
"""


@pytest.fixture(scope="module")
def pryer(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonWorker]:
    folder = tmp_path_factory.mktemp("prying")
    secret = folder / "tokens"
    secret.write_text("hw_secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = PRYING.format(secret=str(secret), port=listener.getsockname()[1], pid=os.getpid())
        plan = Plan(
            Form.MLFLOW, folder_of(text, folder / "model"), PythonRuntime(python=python), SIGNATURE, Feeding.ARRAY
        )
        worker = PythonWorker(plan)
        yield worker
        worker.end()


@pytest.mark.skipif(landlock() < 6, reason="this kernel does not confine as much")
@pytest.mark.parametrize("what", range(5), ids=["read", "write", "connect", "listen", "signal"])
def test_a_model_cannot_reach_what_is_not_its_own(pryer: PythonWorker, what: float) -> None:
    with pytest.raises(Raised, match="PermissionError"):
        pryer.run({"input": np.array([[what, 0.0]])})


def test_a_model_has_its_files_and_a_scratch_folder(pryer: PythonWorker) -> None:
    assert pryer.run({"input": np.array([[5.0, 0.0]])})[0].tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit", "SystemExit"),
        ("nonsense(", "SyntaxError"),
    ],
)
def test_what_does_not_load(python: str, tmp_path: Path, text: str, named: str) -> None:
    plan = Plan(Form.MLFLOW, folder_of(text, tmp_path / "m"), PythonRuntime(python=python), SIGNATURE, Feeding.ARRAY)
    with pytest.raises(Invalid, match=named):
        PythonWorker(plan)


def test_what_ends_or_hangs_while_it_loads(python: str, tmp_path: Path) -> None:
    ends, hangs = ("ends", "import os; os._exit(4)", 120, "exit code 4"), ("hangs", "while True: pass", 2, "2 s")
    for name, text, limit_s, said in (ends, hangs):
        runtime = PythonRuntime(python=python, start_limit_s=limit_s)
        plan = Plan(Form.MLFLOW, folder_of(text, tmp_path / name), runtime, SIGNATURE, Feeding.ARRAY)
        with pytest.raises(Unavailable, match=said):
            PythonWorker(plan)


@pytest.mark.parametrize("command", ["/nowhere/python", "/bin/true", "/bin/cat"])
def test_what_is_no_interpreter(command: str, tmp_path: Path) -> None:
    plan = Plan(Form.SKOPS, tmp_path, PythonRuntime(python=command, start_limit_s=2))
    with pytest.raises(Unavailable):
        PythonWorker(plan)


def test_types_that_are_on_no_list_are_not_loaded(tmp_path: Path) -> None:
    rows, truth = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    skops.io.dump(LogisticRegression().fit(rows, truth), tmp_path / "known.skops")
    skops.io.dump(FunctionTransformer(os.path.join).fit(rows), tmp_path / "unknown.skops")
    allowed = sorted(ALLOWED_TYPES)
    about = Skops(str(tmp_path / "known.skops"), allowed, None).about()
    assert about == {"features": [], "width": 2, "classes": 2, "names": [0, 1], "label": "INT64"}
    with pytest.raises(ValueError, match=r"on no list: .*join"):
        Skops(str(tmp_path / "unknown.skops"), allowed, None)


@pytest.mark.slow
def test_skops_in_a_worker(tmp_path: Path) -> None:
    rows, truth = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    skops.io.dump(LogisticRegression().fit(rows, truth), tmp_path / "known.skops")
    skops.io.dump(FunctionTransformer(os.path.join).fit(rows), tmp_path / "unknown.skops")
    assert skops_signature(tmp_path / "known.skops").inputs[0].shape == (-1, 2)
    with pytest.raises(Invalid, match="on no list"):
        skops_signature(tmp_path / "unknown.skops")


def test_files_are_laid_out_as_their_digests_say(tmp_path: Path) -> None:
    blobs = {digest(data): data for data in (b"one", b"two")}
    files = tuple(ModelFile(name=name, blob=digest(data), size=3) for name, data in (("a/b", b"one"), ("c", b"two")))
    blobs[digest(encode(ModelFolder(files=files)))] = encode(ModelFolder(files=files))
    whole = digest(encode(ModelFolder(files=files)))
    path = laid_out(Form.MLFLOW, whole, blobs.__getitem__, tmp_path / "good")
    assert {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()} == {
        "a/b": b"one",
        "c": b"two",
    }
    with pytest.raises(LedgerBroken):
        laid_out(Form.MLFLOW, whole, lambda name: blobs[name] + b" ", tmp_path / "bad")
    for name in ("../out", "/etc/x", "a//b", ""):
        crafted = encode(ModelFolder(files=(files[0].but(name=name),)))
        with pytest.raises(Invalid):
            laid_out(Form.MLFLOW, digest(crafted), {**blobs, digest(crafted): crafted}.__getitem__, tmp_path / "out")
    assert not (tmp_path / "out").exists()
