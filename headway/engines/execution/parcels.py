"""Arguments of a step on their way to another process: by content where they have one, by digest where they are
results, by name where they are code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any

from headway.engines.execution.endings import CannotTravel
from headway.engines.execution.plain import Node, plain_node, plain_value
from headway.engines.pipelines.objects import MAIN
from headway.engines.pipelines.outputs import Stored, pack
from headway.errors import BadPipeline
from headway.lifecycle.runs.pipeline import Pipeline, Step
from headway.lifecycle.runs.records import Output
from headway.lifecycle.runs.results import Content, Result, Results

_CODE = (FunctionType, type, ModuleType, Step, Pipeline)


def place_of(value: Any) -> str:
    """Where code is found again, as `module:name`; raises `CannotTravel` for what no module has under its name."""
    if isinstance(value, ModuleType):
        return f"{value.__name__}:"
    target = value.function if isinstance(value, Step | Pipeline) else value
    module, name = getattr(target, "__module__", "") or "", getattr(target, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value and getattr(found, "function", None) is not target and found is not target:
        raise CannotTravel(f"{name} is not to be found in a module; define it at the top of a file")
    if module == "__main__":
        if not getattr(sys.modules[module], "__file__", None):
            raise CannotTravel(f"{name} is defined in an interactive session; define it in a file")
        module = MAIN
    return f"{module}:{name}"


def found_at(place: str) -> Any:
    """What `place_of` has named; raises `BadPipeline` when it is not there."""
    name, _, path = place.partition(":")
    found: Any = sys.modules.get(name) or importlib.import_module(name)
    for part in path.split(".") if path else ():
        found = getattr(found, part, None)
    if found is None:
        raise BadPipeline(f"{place} is not there; is the code of the worker another one?")
    return found


def wrapped(value: Any, put: Callable[[bytes], str], content: Callable[[Result], Content]) -> Node:
    """`value` as a node: ["result", outputs, part, whether it may be a pickle], ["value", outputs], ["code", place],
    ["list", nodes], ["tuple", nodes], ["dict", nodes of keys, nodes], or one of `plain.py`. `put` is given the bytes of
    what is no result, `content` tells what a result holds.

    Raises `CannotTravel`.
    """

    def inner(item: Any) -> Node:
        return wrapped(item, put, content)

    if isinstance(value, Results):
        return ["list", [inner(part) for part in value.parts]]
    if isinstance(value, Result):
        stored = content(value)
        if not isinstance(stored, Stored):
            raise CannotTravel(f"the result of {value.step} is held in memory alone")
        return ["result", [[each.format, each.blob] for each in stored.outputs], stored.node, stored.pickle]
    if isinstance(value, _CODE):
        return ["code", place_of(value)]
    if isinstance(value, PurePath):  # a place, and not what is there
        return plain_node(value, inner) or []
    if _holds_apart(value) and (node := _container(value, inner)):
        return node
    try:
        return _stored(value, put)
    except BadPipeline as error:
        reason = str(error)
    if node := plain_node(value, inner) or _container(value, inner):
        return node
    raise CannotTravel(reason)


def _container(value: Any, inner: Callable[[Any], Node]) -> Node | None:
    """A list, tuple or dict as a node, its parts by `inner`; None for anything else."""
    if type(value) in (list, tuple):
        return [type(value).__name__, [inner(item) for item in value]]
    if type(value) is dict:
        return ["dict", [inner(key) for key in value], [inner(item) for item in value.values()]]
    return None


def _stored(value: Any, put: Callable[[bytes], str]) -> Node:
    return ["value", [[each.format, each.blob] for each in pack(value, put)]]


def _holds_apart(value: Any) -> bool:
    """Whether there is something in `value` that is not to be stored along with it."""
    if type(value) in (list, tuple):
        return any(_holds_apart(item) for item in value)
    if type(value) is dict:
        return any(_holds_apart(item) for item in value.values())
    return isinstance(value, (*_CODE, PurePath, Result))


def unwrapped(node: Node, get: Callable[[str], bytes], file: Callable[[str], Path | None] = lambda blob: None) -> Any:
    """The value of a node, a fresh copy each time; what lies in a `file` is mapped from there."""
    kind = node[0]
    if kind == "result":
        return Stored(_outputs(node[1]), get, node[2], file=file, pickle=node[3]).load()
    if kind == "value":
        return Stored(_outputs(node[1]), get).load()
    if kind == "code":
        return found_at(node[1])
    if kind not in ("dict", "list", "tuple"):
        return plain_value(node, lambda each: unwrapped(each, get, file))
    if kind == "dict":
        return {
            unwrapped(key, get, file): unwrapped(each, get, file) for key, each in zip(node[1], node[2], strict=True)
        }
    values = [unwrapped(each, get, file) for each in node[1]]
    return tuple(values) if kind == "tuple" else values


def blobs_in(node: Node) -> list[str]:
    """Digests of what a node's results hold."""
    if node[0] == "result":
        return [blob for _, blob in node[1]]
    inner = node[2] if node[0] == "dict" else node[1] if node[0] in ("list", "tuple") else ()
    return [blob for each in inner for blob in blobs_in(each)]


def _outputs(pairs: list[list[str]]) -> list[Output]:
    return [Output(format=name, blob=blob) for name, blob in pairs]
