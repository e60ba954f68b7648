"""Why a key is another one than before: which line, package, argument or input has changed."""

from __future__ import annotations

import ast
import copy
import difflib
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from headway.engines.pipelines.syntax import dump, plain_tree
from headway.lifecycle.runs.explanations import Because, CodePart, Reason, StepCode
from headway.lifecycle.runs.records import KeyParts

_LONGEST_LINE = 160
_MOST = 20
"""Reasons that one step is given."""


def differences(before: KeyParts, after: KeyParts, old: StepCode | None, new: StepCode) -> tuple[Reason, ...]:
    """What makes `after` another key than `before`; `old` and `new` are what their code was, if it is still kept."""
    found: list[Reason] = []
    if before.code != after.code:
        unknown = Reason(because=Because.CODE, what="code, or a value that it reaches, of which nothing is kept")
        found += (_code(old, new) if old else []) or [unknown]
    found += _packages(before.packages, after.packages)
    if before.python != after.python:
        found.append(Reason(because=Because.PYTHON, what="Python", before=before.python, after=after.python))
    if before.version != after.version:
        found.append(Reason(because=Because.VERSION, what="version", before=before.version, after=after.version))
    found += _arguments(before, after)
    return tuple(dict.fromkeys(found))[:_MOST] or (Reason(because=Because.CODE, what="how keys are made"),)


def read_code(data: bytes) -> StepCode | None:
    """A kept `StepCode`, or None for one of another version of Headway."""
    try:
        return msgspec.json.decode(data, type=StepCode)
    except msgspec.MsgspecError:
        return None


def _packages(before: dict[str, str], after: dict[str, str]) -> list[Reason]:
    found = []
    for name in sorted({*before, *after}):
        versions = before.get(name, ""), after.get(name, "")
        if versions[0] != versions[1] and name.startswith("class "):
            found.append(Reason(because=Because.CODE, what=f"{name}, which an argument is of"))
        elif versions[0] != versions[1]:
            found.append(Reason(because=Because.PACKAGE, what=name, before=versions[0], after=versions[1]))
    return found


def _arguments(before: KeyParts, after: KeyParts) -> Iterator[Reason]:
    olds, news = ({given.name: given for given in parts.given} for parts in (before, after))
    for name in {**olds, **news}:
        old, new = olds.get(name), news.get(name)
        if old is None or new is None or old.digest != new.digest:
            shown = old.shown if old else "", new.shown if new else ""
            yield Reason(because=Because.ARGUMENT, what=name, before=shown[0], after=shown[1])


def _code(old: StepCode, new: StepCode) -> list[Reason]:
    """First what reads differently; what is reached only now or no longer follows from that, and counts by itself
    only when nothing does."""
    olds, news = ({part.name: part for part in code.parts} for code in (old, new))
    changed = [
        reason for name, part in news.items() if name in olds for reason in _part(olds[name], part)
    ]  # fmt: skip
    packages = [_package_reason(olds.get(name), news.get(name)) for name in sorted({*olds, *news})]
    changed += [reason for reason in packages if reason is not None]
    if changed:
        return changed
    fresh = [_reached(part, "is reached now") for name, part in news.items() if name not in olds]
    return fresh + [_reached(part, "is no longer reached") for name, part in olds.items() if name not in news]


def _package_reason(old: CodePart | None, new: CodePart | None) -> Reason | None:
    """A package that is of another version, is reached for the first time or no longer."""
    kinds = {part.kind for part in (old, new) if part}
    texts = old.text if old else "", new.text if new else ""
    if "package" not in kinds or texts[0] == texts[1]:
        return None
    return Reason(because=Because.PACKAGE, what=(new or old).name, before=texts[0], after=texts[1])  # type: ignore[union-attr]


def _reached(part: CodePart, what: str) -> Reason:
    return Reason(because=Because.CODE, what=f"{part.name} {what}", where=_where(part, part.line))


def _part(old: CodePart, new: CodePart) -> Iterator[Reason]:
    if new.kind == "package" or old.text == new.text:
        return
    if new.kind == "value" or not new.file or not old.file:
        yield Reason(because=Because.CODE, what=new.name, where=_where(new, new.line), before=old.text, after=new.text)
        return
    was, now = _statements(old.text), _statements(new.text)
    matcher = difflib.SequenceMatcher(None, [text for text, *_ in was], [text for text, *_ in now], autojunk=False)
    for kind, first_old, last_old, first_new, last_new in matcher.get_opcodes():
        if kind != "equal":
            gone, come = was[first_old:last_old], now[first_new:last_new]
            line = come[0][1] if come else now[first_new - 1][1] if first_new else 1
            where = _where(new, new.line + line - 1)
            yield Reason(because=Because.CODE, what=new.name, where=where, before=_said(gone), after=_said(come))


def _said(lines: list[tuple[str, int, str]]) -> str:
    return lines[0][2][:_LONGEST_LINE] if lines else ""


def _where(part: CodePart, line: int) -> str:
    return f"{part.file}:{line}" if part.file else ""


def _statements(text: str) -> list[tuple[str, int, str]]:
    """What each statement says however it is laid out, its line, and that line; those inside others by themselves."""
    lines = textwrap.dedent(text).splitlines()
    try:
        tree = plain_tree("\n".join(lines))
    except SyntaxError:  # a lambda in the midst of a call
        return [(line.strip(), number, line.strip()) for number, line in enumerate(lines, 1)]
    return [(_head(node), node.lineno, lines[node.lineno - 1].strip()) for node in _in_order(tree)]


def _in_order(node: ast.AST) -> Iterator[Any]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from getattr(child, "decorator_list", [])
            if isinstance(child, ast.stmt):
                yield child
            yield from _in_order(child)


def _head(node: ast.AST) -> str:
    """A statement without those inside it and without decorators, or a decorator."""
    own = copy.copy(node)
    for field in ("body", "orelse", "finalbody", "handlers", "cases", "decorator_list"):
        if isinstance(getattr(own, field, None), list):
            setattr(own, field, [])
    return dump(own)
