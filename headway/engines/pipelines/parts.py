"""What a step's key is made of, told to people: which functions, constants and packages, where they stand, and what
they say."""

from __future__ import annotations

import ast
import os
import reprlib
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.engines.pipelines.failures import without_secrets
from headway.engines.pipelines.syntax import Source
from headway.kernel.records import encode
from headway.lifecycle.runs.explanations import CodePart, StepCode

_SHORT = (bool, int, float, complex, str, bytes, type(None))
_LONGEST_VALUE = 120


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a function reaches; it is written out only when somebody keeps it."""

    kind: str
    """function, class, module, statement, value or package."""
    name: str
    source: Source | None = None
    node: ast.AST | None = None
    shown: str = ""


def shown_value(value: Any) -> str:
    """A value in a few characters."""
    if type(value) in _SHORT:
        return repr(value)[:_LONGEST_VALUE]
    if type(value) in (list, tuple, dict, set, frozenset):
        return reprlib.repr(value)[:_LONGEST_VALUE]
    return f"a {type(value).__qualname__}"


def written(found: Iterable[Found], folder: Path) -> bytes:
    """A `StepCode` as bytes, without what looks like a secret; files are named from `folder`."""
    seen: Counter[str] = Counter()
    parts = []
    for each in found:
        seen[each.name] += 1
        name = each.name if seen[each.name] == 1 else f"{each.name} ({seen[each.name]})"
        parts.append(_part(each, name, folder))
    return encode(StepCode(parts=tuple(parts)))


def _said(found: Found) -> str:
    """What is shown of a value, unless its name or its look is a secret's."""
    bare = found.name.rpartition(".")[2]
    return without_secrets(f"{bare} = {found.shown}").partition(" = ")[2]


def _part(found: Found, name: str, folder: Path) -> CodePart:
    if found.source is None or found.node is None:
        return CodePart(kind=found.kind, name=name, text=_said(found))
    first, last = _lines(found.node)
    lines = found.source.text.splitlines()[first - 1 : last]
    text = _said(found) if found.kind == "value" else without_secrets(textwrap.dedent("\n".join(lines)))
    return CodePart(kind=found.kind, name=name, file=_place(found.source.file, folder), line=first, text=text)


def _lines(node: ast.AST) -> tuple[int, int]:
    if isinstance(node, ast.Module):
        return 1, max((each.end_lineno or 1 for each in node.body), default=1)
    decorators = [each.lineno for each in getattr(node, "decorator_list", [])]
    first: int = min([node.lineno, *decorators])  # type: ignore[attr-defined]
    return first, getattr(node, "end_lineno", None) or first


def _place(file: str, folder: Path) -> str:
    return os.path.relpath(file, folder) if os.path.isabs(file) else file
