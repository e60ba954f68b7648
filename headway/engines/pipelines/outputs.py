"""What a step gives, as blobs. One value is one output; a tuple, list or dict that is more than JSON is several: a
tree first, which says how they hang together and holds what is plain, then each of the others."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headway.engines.pipelines.files import files_in
from headway.engines.pipelines.formats import (
    PLAIN,
    decode_value,
    encode_value,
    is_plain,
    opener_of,
    plain_bytes,
    python_number,
)
from headway.errors import BadPipeline
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.records import Output

TREE = "tree"
FILE = "file"
_KEYS = (str, int, float, bool, type(None))

Node = list[Any]
"""["plain", value], ["output", index of the output] or ["tree", "tuple" | "list" | "dict", keys, nodes]. Of files and
folders ["tree", "files", [name, name below...], nodes]."""


def _nowhere(digest: str) -> None:
    """No file: the blob is had by its bytes."""


def pack(
    value: Any, put: Callable[[bytes], str], option: str = "", *, pickle: bool = False
) -> tuple[Output, ...]:  # fmt: skip
    """The outputs that `value` makes; `put` keeps bytes and gives their digest. `option` and `pickle` are as for
    `encode_value`.

    Raises `BadPipeline` naming the place inside `value` that no format takes; nothing is kept then.
    """
    packed: list[tuple[str, bytes]] = []
    try:
        node = _Packing(packed, option, pickle).node(value, "")
    except RecursionError:
        raise BadPipeline("the value contains itself, or is nested too deeply to be stored") from None
    if node[0] == "tree":
        packed.insert(0, (TREE, plain_bytes(node)))
    elif node[0] == "plain":
        packed.append((PLAIN, plain_bytes(node[1])))
    return tuple(Output(blob=put(data), format=name) for name, data in packed)


class _Packing:
    def __init__(self, packed: list[tuple[str, bytes]], option: str, pickle: bool) -> None:
        self._packed, self._option, self._pickle = packed, option, pickle

    def node(self, value: Any, place: str) -> Node:
        value = python_number(value)
        if is_plain(value):
            return ["plain", value]
        if type(value) in (list, tuple):
            nodes = [self.node(item, f"{place}[{index}]") for index, item in enumerate(value)]
            return ["tree", type(value).__name__, None, nodes]
        if type(value) is dict and all(type(key) in _KEYS for key in value):
            nodes = [self.node(item, f"{place}[{key!r}]") for key, item in value.items()]
            return ["tree", "dict", list(value), nodes]
        try:
            if isinstance(value, Path):
                return self._files(value)
            self._packed.append(encode_value(value, self._option, pickle=self._pickle))
        except BadPipeline as error:
            raise BadPipeline(f"at {place}: {error}" if place else str(error)) from error
        return ["output", len(self._packed)]

    def _files(self, path: Path) -> Node:
        """A file, or a folder with all that is in it: its name, and an output for each file by its name below."""
        if path.is_file():
            names = {"": path}
        elif path.is_dir():
            names = dict(files_in(path))
        else:
            raise BadPipeline(f"there is no file or folder {path} to keep; return a str if only the name counts")
        nodes = []
        for file in names.values():
            self._packed.append((FILE, file.read_bytes()))
            nodes.append(["output", len(self._packed)])
        return ["tree", "files", [path.name, *names], nodes]


class Stored:
    """The content of outputs, read by `get` when it is needed. With `node` only that part of the tree.

    `file` gives the file that a blob lies in, where there is one on this machine: large values are mapped from there.
    `pickle` says whether the step that gave it allows that.
    """

    def __init__(
        self, outputs: Sequence[Output], get: Callable[[str], bytes], node: Node | None = None, *,
        file: Callable[[str], Path | None] = _nowhere, pickle: bool = False,
    ) -> None:  # fmt: skip
        self._outputs, self._get, self._part, self._file, self._pickle = tuple(outputs), get, node, file, pickle

    @property
    def outputs(self) -> tuple[Output, ...]:
        return self._outputs

    @property
    def node(self) -> Node | None:
        """The part of the tree that this is, None for all of it."""
        return self._part

    @property
    def pickle(self) -> bool:
        """Whether the step that gave it allows that."""
        return self._pickle

    @property
    def formats(self) -> tuple[str, ...]:
        """Those of all outputs, also of parts that are not looked at."""
        return tuple(output.format for output in self._outputs)

    @functools.cached_property
    def digest(self) -> str:
        if self._part is None:
            return digest(encode([[output.format, output.blob] for output in self._outputs]))
        used = [self._outputs[index] for index in _outputs_in(self._part)]
        return digest(encode([digest(plain_bytes(self._part)), [[output.format, output.blob] for output in used]]))

    @functools.cached_property
    def _first(self) -> bytes:
        return self._get(self._outputs[0].blob)

    @property
    def _root(self) -> Node:
        if self._part is not None:
            return self._part
        if self._outputs[0].format == TREE:
            return list(json.loads(self._first))
        if self._outputs[0].format == PLAIN:
            return ["plain", json.loads(self._first)]
        return ["output", 0]

    def load(self) -> Any:
        return self._built(self._root if self._part is None else copy.deepcopy(self._part))

    def _built(self, node: Node) -> Any:
        if node[0] == "plain":
            return node[1]
        if node[0] == "output":
            return self._value(self._outputs[node[1]])
        _, kind, keys, nodes = node
        if kind == "files":
            from headway.engines.pipelines.scratch import copied  # noqa: PLC0415  # few steps take files

            return copied(keys, [self._outputs[node[1]].blob for node in nodes], self._get, self._file)
        values = [self._built(each) for each in nodes]
        if kind == "dict":
            return dict(zip(keys, values, strict=True))
        return tuple(values) if kind == "tuple" else values

    def _value(self, output: Output) -> Any:
        opener = opener_of(output.format)
        path = self._file(output.blob) if opener else None
        if opener and path:
            return opener(path)
        return decode_value(output.format, self._get(output.blob), pickle=self._pickle)

    def keys(self) -> range | tuple[Hashable, ...] | None:
        node = self._root
        if node[0] == "tree" and node[1] == "files":
            return None
        if node[0] == "tree":
            return range(len(node[3])) if node[2] is None else tuple(node[2])
        if node[0] == "plain" and isinstance(node[1], list):
            return range(len(node[1]))
        return tuple(node[1]) if node[0] == "plain" and isinstance(node[1], dict) else None

    def part(self, key: Any) -> Stored:
        node = self._root
        if node[0] == "plain":
            return self._like((), ["plain", node[1][key]])
        child = node[3][key if node[2] is None else node[2].index(key)]
        if child[0] == "output":
            return self._like((self._outputs[child[1]],), None)
        return self._like(self._outputs, child)

    def _like(self, outputs: Sequence[Output], node: Node | None) -> Stored:
        return Stored(outputs, self._get, node, file=self._file, pickle=self._pickle)


def _outputs_in(node: Node) -> Iterator[int]:
    if node[0] == "output":
        yield node[1]
    elif node[0] == "tree":
        for child in node[3]:
            yield from _outputs_in(child)
