"""The isolated process of one model: `PYTHON -I isolated.py SOCKET ASKED ANSWERED MEMORY_BYTES NETWORK`.

It runs in whatever interpreter the operator names, where Headway is not installed: this file needs the standard library
and numpy alone. It listens to nobody but the process that started it, over the socket pair of descriptor SOCKET, and
ends with that one. Tensors travel as raw bytes, behind a header of JSON or, when they are large, in the memory that
ASKED and ANSWERED share (-1 where the system has none). Nothing that is received is unpickled.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

INLINE_BYTES = 16 * 1024
"""A tensor larger than this goes through shared memory, the cheaper way from there on (`benchmarks/workers.py`)."""
MOST_HEADER_BYTES = 4 * 2**20
DTYPES = {"BOOL": "?", "INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"}
_LENGTH = struct.Struct("<I")
_ALIGNED = 64
_LONGEST_TRACE = 2000
Tensors = dict[str, "np.ndarray[Any, Any]"]


class Memory:
    """A descriptor's memory, which both sides see; it grows and never shrinks."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None

    @property
    def there(self) -> bool:
        return self._descriptor >= 0

    def view(self, size: int, grow: bool = False) -> memoryview:
        """The first `size` bytes at least; raises `ValueError` when there are fewer, unless it may `grow`."""
        if self._map is None or len(self._map) < size:
            have = os.fstat(self._descriptor).st_size
            if have < size and grow:
                have = 1 << max(size - 1, 1).bit_length()
                os.ftruncate(self._descriptor, have)
            if have < size:
                raise ValueError("a tensor lies outside the shared memory")
            self._map = mmap.mmap(self._descriptor, have)
        return memoryview(self._map)


def send(stream: socket.socket, header: Any, tensors: Tensors, memory: Memory) -> None:
    """A message: its length, a header of JSON that tells where each tensor is, and the small tensors."""
    packed = {name: _packed(array) for name, array in tensors.items()}
    large = [name for name in packed if memory.there and len(packed[name]) > INLINE_BYTES]
    ends, at = {}, 0
    for name in large:
        ends[name], at = at, at + -(-len(packed[name]) // _ALIGNED) * _ALIGNED
    if large:
        shared = memory.view(at, grow=True)
        for name in large:
            shared[ends[name] : ends[name] + len(packed[name])] = packed[name]
    told = [
        {"name": name, "datatype": _datatype(array), "shape": list(array.shape), "size": len(packed[name]),
         "at": ends.get(name, -1)}
        for name, array in tensors.items()
    ]  # fmt: skip
    text = json.dumps([header, told]).encode()
    stream.sendall(b"".join([_LENGTH.pack(len(text)), text, *(packed[name] for name in packed if name not in ends)]))


def receive(read: Callable[[int], bytes], memory: Memory, borrow: bool = False) -> tuple[Any, Tensors]:
    """The next message; `read` gives exactly so many bytes. Raises `ValueError` for what is none.

    Large tensors are copied out of the shared memory, or, with `borrow`, are in it until the next message.
    """
    (size,) = _LENGTH.unpack(read(_LENGTH.size))
    if size > MOST_HEADER_BYTES:
        raise ValueError("a header is too long")
    header, told = json.loads(read(size))
    tensors = {}
    for each in told:
        length, at = int(each["size"]), int(each["at"])
        if at < 0 and length > max(INLINE_BYTES, 0 if memory.there else sys.maxsize):
            raise ValueError("a tensor is too long")
        data = read(length) if at < 0 else memory.view(at + length)[at : at + length]
        if at >= 0 and not (borrow and each["datatype"] != "BYTES"):
            data = bytes(data)
        tensors[str(each["name"])] = _unpacked(data, str(each["datatype"]), [int(n) for n in each["shape"]])
    return header, tensors


def _datatype(array: np.ndarray[Any, Any]) -> str:
    for name, dtype in DTYPES.items():
        if array.dtype == np.dtype(dtype):
            return name
    return "BYTES"


def _packed(array: np.ndarray[Any, Any]) -> bytes | memoryview:
    """The elements one after the other; numbers where they are, which may be the array's own memory."""
    if _datatype(array) != "BYTES":
        plain = np.ascontiguousarray(array).reshape(-1)
        return plain.view(np.uint8).data if plain.size else b""
    texts = [str(text).encode() for text in array.ravel().tolist()]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)


def _unpacked(data: bytes | memoryview, datatype: str, shape: list[int]) -> np.ndarray[Any, Any]:
    if datatype != "BYTES":
        return np.frombuffer(data, np.dtype(DTYPES[datatype])).reshape(shape)
    texts, at = [], 0
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + size
        texts.append(bytes(data[at - size : at]).decode())
    return np.array(texts, dtype=object).reshape(shape)


def reader_of(stream: socket.socket) -> Callable[[int], bytes]:
    """Raises `EOFError` when the other side is gone."""

    def read(size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            part = stream.recv(min(size - len(found), 1 << 20))
            if not part:
                raise EOFError
            found += part
        return bytes(found)

    return read


# Source of the numbers: linux/prctl.h, linux/landlock.h; the system calls have the same numbers on all architectures.
_PDEATHSIG, _NO_NEW_PRIVS, _CREATE, _ADD, _RESTRICT = 1, 38, 444, 445, 446
_READ = 0b1101  # execute, read a file, list a folder
_WRITES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF}
"""All that there is to do with files, by version of Landlock; from 3 on it stays so."""
_TCP, _SCOPED = 0b11, 0b11
"""Connecting and listening; and, kept inside, abstract sockets and signals."""
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/dev", "/sys/devices/system/cpu", "/proc/self",
           "/proc/cpuinfo", "/proc/meminfo", "/opt", "/nix")  # fmt: skip


def landlock() -> int:
    """The version of Landlock that confines here: from 4 on it holds TCP, from 6 on signals; below 1, nothing."""
    if not sys.platform.startswith("linux"):
        return 0
    return int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, 0, 1))


def confine(memory_bytes: int, network: bool, readable: list[str], own: str) -> None:
    """Bound memory, end with the parent, and, where Linux can, read only `readable` and what a program needs, write
    only below `own`, and have no TCP unless `network`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS has none that can be set
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    if not sys.platform.startswith("linux"):
        return
    libc, version = ctypes.CDLL(None, use_errno=True), landlock()
    libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if version < 1:
        return
    files = _WRITES.get(version, _WRITES[3])
    known_bytes = 24 if version >= 6 else 16 if version >= 4 else 8
    handled = struct.pack("<QQQ", files, 0 if network else _TCP, _SCOPED)[:known_bytes]
    rules = libc.syscall(_CREATE, handled, len(handled), 0)
    for path in (*_SYSTEM, *readable):
        _let(libc, rules, path, _READ)
    _let(libc, rules, own, files)
    for path in ("/dev/null", "/dev/shm"):
        _let(libc, rules, path, files)
    if libc.syscall(_RESTRICT, rules, 0):
        raise OSError(ctypes.get_errno(), "the process cannot be confined")
    os.close(rules)


def _let(libc: Any, rules: int, path: str, allowed: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        allowed &= 0b111 | 1 << 14  # what one can do with a file
    libc.syscall(_ADD, rules, 1, struct.pack("<Qi", allowed, descriptor), 0)
    os.close(descriptor)


class Skops:
    """A scikit-learn estimator from a skops file, of which every type is on a list."""

    def __init__(self, path: str, allowed: list[str], signature: Any) -> None:
        from skops.io import get_untrusted_types, load  # noqa: PLC0415

        if strange := sorted(set(get_untrusted_types(file=path)) - set(allowed)):
            raise ValueError(f"it holds types that are on no list: {', '.join(strange)[:500]}")
        self._estimator = load(path, trusted=allowed)
        self._names = [str(name) for name in getattr(self._estimator, "feature_names_in_", ())]
        self._inputs = [each["name"] for each in signature["inputs"]] if signature else []

    def about(self) -> Any:
        """What `signature` is made of where nobody tells it."""
        classes = getattr(self._estimator, "classes_", None)
        count = len(classes) if classes is not None and hasattr(self._estimator, "predict_proba") else 0
        return {
            "features": self._names, "width": int(getattr(self._estimator, "n_features_in_", 0)),
            "classes": count, "names": [] if classes is None else np.asarray(classes).tolist(),
            "label": "BYTES" if classes is None or np.asarray(classes).dtype.kind in "OUS" else "INT64",
        }  # fmt: skip

    def run(self, feed: Tensors) -> Tensors:
        rows = self._frame(feed) if self._names else _side_by_side([feed[name] for name in self._inputs])
        answers = np.asarray(self._estimator.predict(rows))
        if not hasattr(self._estimator, "predict_proba"):
            return {"variable": answers.astype(np.float64).reshape(len(answers), -1)}
        probabilities = np.asarray(self._estimator.predict_proba(rows), dtype=np.float64)
        return {"label": _labels(answers), "probabilities": probabilities}

    def _frame(self, feed: Tensors) -> Any:
        columns = _columns(feed)
        ordered = {name: columns[name] for name in self._names}
        try:
            import polars  # noqa: PLC0415
        except ImportError:
            import pandas  # noqa: PLC0415

            return pandas.DataFrame(ordered)
        return polars.DataFrame({name: column.tolist() if column.dtype == object else column
                                 for name, column in ordered.items()})  # fmt: skip


class Mlflow:
    """What `mlflow.pyfunc.load_model` makes of a folder."""

    def __init__(self, path: str, allowed: list[str], signature: Any) -> None:
        from mlflow import pyfunc  # noqa: PLC0415

        self._model = pyfunc.load_model(path)
        self._feeding, self._outputs = signature["feeding"], signature["outputs"]
        self._inputs = [each["name"] for each in signature["inputs"]]

    def about(self) -> Any:
        return {}

    def run(self, feed: Tensors) -> Tensors:
        return self._named(self._model.predict(self._rows(feed)))

    def _rows(self, feed: Tensors) -> Any:
        if self._feeding == "arrays":
            return feed
        if self._feeding == "array":
            return _side_by_side([feed[name] for name in self._inputs])
        import pandas  # noqa: PLC0415

        return pandas.DataFrame(_columns(feed))

    def _named(self, answer: Any) -> Tensors:
        if answer is None:
            raise ValueError("`predict` gave None: it must return its outputs")
        names = [output["name"] for output in self._outputs]
        columns = getattr(answer, "columns", None)
        if isinstance(answer, dict) or (columns is not None and set(names) <= set(columns)):
            answers = [answer[name] for name in names]
        elif len(names) == 1:
            answers = [answer.to_numpy() if hasattr(answer, "to_numpy") else answer]
        else:
            found = np.asarray(answer)
            answers = [found[:, place] for place in range(len(names))]
        return {
            output["name"]: _as_declared(np.asarray(each), output)
            for output, each in zip(self._outputs, answers)  # noqa: B905 (Python 3.9 has no strict)
        }


def _as_declared(answer: np.ndarray[Any, Any], output: Any) -> np.ndarray[Any, Any]:
    if output["datatype"] == "BYTES":
        return answer.astype(object)
    shape = [len(answer), *(-1 if size < 0 else size for size in output["shape"][1:])]
    return answer.astype(np.dtype(DTYPES[output["datatype"]]), casting="same_kind").reshape(shape)


def _labels(answers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return answers.astype(object if answers.dtype.kind in "OUS" else np.int64)


def _columns(feed: Tensors) -> Tensors:
    found = {}
    for name, array in feed.items():
        if array.ndim < 2 or array.shape[1] == 1:
            found[name] = array.reshape(-1)
        else:
            found.update({f"{name}_{place}": array[:, place] for place in range(array.shape[1])})
    return found


def _side_by_side(arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    return np.column_stack(arrays) if len(arrays) > 1 else arrays[0]


KINDS: dict[str, Any] = {"skops": Skops, "mlflow": Mlflow}


def serve(stream: socket.socket, asked: Memory, answered: Memory, bounds: list[int]) -> None:
    read = reader_of(stream)
    told, _ = receive(read, asked)
    kinds = KINDS if told["kind"] in KINDS else _beside("native.py").KINDS
    try:
        prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, told["path"]]
        confine(bounds[0], bool(bounds[1]), [path for path in prefixes if path], os.getcwd())
        model = kinds[told["kind"]](told["path"], told["allowed"], told["signature"])
        answer = model.about()
    except BaseException as error:
        traceback.print_exc()
        send(stream, {"failed": _said(error) + _where(error, told["path"])}, {}, answered)
        return
    send(stream, {"ready": answer}, {}, answered)
    while True:
        _, feed = receive(read, asked, borrow=True)
        try:
            outputs = model.run(feed)
            send(stream, {}, outputs, answered)
        except Exception as error:
            trace = traceback.format_exc()[-_LONGEST_TRACE:]
            send(stream, {"failed": _said(error), "trace": trace}, {}, answered)


def _beside(name: str) -> Any:
    """A module in the folder of this file, which `-I` keeps from being found by its name."""
    spec = importlib.util.spec_from_file_location(
        name.removesuffix(".py"), os.path.join(os.path.dirname(__file__), name)
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _where(error: BaseException, path: str) -> str:
    """The last line of the model's own files that was run; nothing where there is none."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(path)]
    return f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:1000]


def _end_with(stream: socket.socket) -> None:
    """Also amid a model's work, and where the system does not tell of a parent's end."""
    poll = select.poll()
    poll.register(stream, getattr(select, "POLLRDHUP", 0))
    poll.poll()
    os._exit(0)


def main() -> None:
    descriptor, asked, answered, *bounds = map(int, sys.argv[1:])
    stream = socket.socket(fileno=descriptor)
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(stream,), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(stream, Memory(asked), Memory(answered), bounds)
    os._exit(0)


if __name__ == "__main__":
    main()
