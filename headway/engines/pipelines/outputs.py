"""What a step gives, as blobs. One value is one output; a tuple, list or dict that is more than JSON is several: a
tree first, which says how they hang together and holds what is plain, then each of the others."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from headway.engines.pipelines.formats import PLAIN, decode_value, encode_value, is_plain, plain_bytes, python_number
from headway.errors import BadPipeline
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.records import Output

TREE = "tree"
_KEYS = (str, int, float, bool, type(None))

Node = list[Any]
"""["plain", value], ["output", index of the output] or ["tree", "tuple" | "list" | "dict", keys, nodes]."""


def pack(value: Any, put: Callable[[bytes], str]) -> tuple[Output, ...]:
    """The outputs that `value` makes; `put` keeps bytes and gives their digest.

    Raises `BadPipeline` naming the place inside `value` that no format takes; nothing is kept then.
    """
    packed: list[tuple[str, bytes]] = []
    try:
        node = _tree_of(value, "", packed)
    except RecursionError:
        raise BadPipeline("the value contains itself, or is nested too deeply to be stored") from None
    if node[0] == "tree":
        packed.insert(0, (TREE, plain_bytes(node)))
    elif node[0] == "plain":
        packed.append((PLAIN, plain_bytes(node[1])))
    return tuple(Output(blob=put(data), format=name) for name, data in packed)


def _tree_of(value: Any, place: str, packed: list[tuple[str, bytes]]) -> Node:
    value = python_number(value)
    if is_plain(value):
        return ["plain", value]
    if type(value) in (list, tuple):
        nodes = [_tree_of(item, f"{place}[{index}]", packed) for index, item in enumerate(value)]
        return ["tree", type(value).__name__, None, nodes]
    if type(value) is dict and all(type(key) in _KEYS for key in value):
        nodes = [_tree_of(item, f"{place}[{key!r}]", packed) for key, item in value.items()]
        return ["tree", "dict", list(value), nodes]
    try:
        packed.append(encode_value(value))
    except BadPipeline as error:
        raise BadPipeline(f"at {place}: {error}" if place else str(error)) from error
    return ["output", len(packed)]


class Stored:
    """The content of outputs, read by `get` when it is needed. With `node` only that part of the tree."""

    def __init__(self, outputs: Sequence[Output], get: Callable[[str], bytes], node: Node | None = None) -> None:
        self._outputs, self._get, self._part = tuple(outputs), get, node

    @property
    def outputs(self) -> tuple[Output, ...]:
        return self._outputs

    @property
    def node(self) -> Node | None:
        """The part of the tree that this is, None for all of it."""
        return self._part

    @property
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
            output = self._outputs[node[1]]
            return decode_value(output.format, self._get(output.blob))
        _, kind, keys, nodes = node
        values = [self._built(each) for each in nodes]
        if kind == "dict":
            return dict(zip(keys, values, strict=True))
        return tuple(values) if kind == "tuple" else values

    def keys(self) -> range | tuple[Hashable, ...] | None:
        node = self._root
        if node[0] == "tree":
            return range(len(node[3])) if node[2] is None else tuple(node[2])
        if node[0] == "plain" and isinstance(node[1], list):
            return range(len(node[1]))
        return tuple(node[1]) if node[0] == "plain" and isinstance(node[1], dict) else None

    def part(self, key: Any) -> Stored:
        node = self._root
        if node[0] == "plain":
            return Stored((), self._get, ["plain", node[1][key]])
        child = node[3][key if node[2] is None else node[2].index(key)]
        if child[0] == "output":
            return Stored((self._outputs[child[1]],), self._get)
        return Stored(self._outputs, self._get, child)


def _outputs_in(node: Node) -> Iterator[int]:
    if node[0] == "output":
        yield node[1]
    elif node[0] == "tree":
        for child in node[3]:
            yield from _outputs_in(child)
