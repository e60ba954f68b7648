"""A module's text as a syntax tree without docstrings and without what functions annotate, indexed by what its parts
define."""

from __future__ import annotations

import ast
import dis
from collections import defaultdict
from collections.abc import Iterable, Iterator
from types import CodeType, ModuleType
from typing import Any, NamedTuple, TypeAlias

from headway.engines.pipelines.sources import text_of
from headway.errors import BadPipeline

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Source:
    """The tree of one module. `functions` are found by name and first line, as a code object knows them, `classes`
    by qualified name, `statements` by the global names they bind, `imported` by name as (module, name there)."""

    def __init__(self, text: str, file: str = "") -> None:
        self.text, self.file = text, file
        self.tree = ast.parse(text)
        self._codes = {(code.co_qualname, code.co_firstlineno, _bytecode(code)) for code in _codes(text)}
        _drop_docstrings(self.tree)
        _drop_annotations(self.tree)
        self.functions: dict[tuple[str, int], list[Definition]] = defaultdict(list)
        self.classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self.statements: dict[str, list[ast.stmt]] = defaultdict(list)
        self.imported: dict[str, tuple[str, str]] = {}
        self._index(self.tree, "")
        for statement in self.tree.body:
            for name in _bound(statement):
                self.statements[name].append(statement)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (node.module or "")
                self.imported |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}

    @property
    def sources(self) -> list[Source]:
        """The texts that the module is made of."""
        return [self]

    @property
    def trees(self) -> list[ast.Module]:
        return [self.tree]

    def defining(self, code: CodeType) -> tuple[Source, list[Definition]]:
        """Where the definitions are that `code` was made from; none when the text is not what it was made from, as
        when a file was edited after it was imported."""
        known = (code.co_qualname, code.co_firstlineno, _bytecode(code)) in self._codes
        return self, self.functions.get((code.co_name, code.co_firstlineno), []) if known else []

    def classing(self, cls: type) -> tuple[Source, list[ast.ClassDef]]:
        return self, self.classes.get(cls.__qualname__, [])

    def stating(self, name: str) -> tuple[Source, list[ast.stmt]]:
        """The statements that bind a global."""
        return self, self.statements.get(name, [])

    def _index(self, node: ast.AST, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = scope
            if isinstance(child, _DEFINITIONS):
                name = getattr(child, "name", "<lambda>")
                decorators = getattr(child, "decorator_list", [])
                self.functions[name, min([child.lineno, *(each.lineno for each in decorators)])].append(child)
                inner = f"{scope}{name}.<locals>."
            elif isinstance(child, ast.ClassDef):
                self.classes[scope + child.name].append(child)
                inner = f"{scope}{child.name}."
            self._index(child, inner)


def read_source(module: ModuleType) -> Source | None:
    """The tree of `module`, or None when its text cannot be had."""
    text = text_of(module)
    try:
        return Source(text, getattr(module, "__file__", None) or "") if text is not None else None
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BadPipeline(f"the source of module {module.__name__} cannot be read: {error}") from None


def plain_tree(text: str) -> ast.Module:
    """The tree of `text` without what does not count; raises `SyntaxError`."""
    tree = ast.parse(text)
    _drop_docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            drop_annotations_of(node)
    return tree


def dump(node: ast.AST) -> str:
    """The same text for the same code, however it is laid out."""
    return ast.dump(node, annotate_fields=False)


def dump_code(code: CodeType) -> str:
    """What `code` does, for want of its text: the same for the same code, however it was laid out."""
    inner = [_dump_constant(each) for each in code.co_consts]
    return repr(
        (code.co_name, code.co_code.hex(), code.co_names, code.co_varnames, code.co_exceptiontable.hex(), inner)
    )


def _dump_constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return dump_code(value)
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def _codes(text: str) -> Iterator[CodeType]:
    todo = [compile(text, "<module>", "exec", dont_inherit=True)]
    while todo:
        code = todo.pop()
        yield code
        todo += [each for each in code.co_consts if isinstance(each, CodeType)]


def _bytecode(code: CodeType) -> tuple[Any, ...]:
    plain = tuple(repr(each) for each in code.co_consts if not isinstance(each, CodeType | frozenset))
    return code.co_code, code.co_names, code.co_varnames, plain


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, *_NAMED)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]


_READ_BY_NOBODY = {"property", "staticmethod", "classmethod", "setter", "deleter", "override", "cached_property"}
"""Decorators that do not look at annotations."""


def _drop_annotations(tree: ast.AST) -> None:
    """Those of functions and of what is local to them, which nothing evaluates when they run. They stay where a
    decorator may read them, and in classes, where they make fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and all(
            _last_name(each) in _READ_BY_NOBODY for each in node.decorator_list
        ):
            drop_annotations_of(node)


def drop_annotations_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    node.returns = None
    arguments = node.args
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if each is not None:
            each.annotation = None
    todo: list[Any] = [node]
    while todo:
        inner = todo.pop()
        for field in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(inner, field, None), list):
                kept = [plain for each in statements if (plain := _plain(each)) is not None]
                setattr(inner, field, kept or [ast.Pass() for _ in statements[:1]])
        todo += [each for each in ast.iter_child_nodes(inner) if not isinstance(each, (ast.expr, *_NAMED))]


def _plain(statement: ast.stmt) -> ast.stmt | None:
    """`x: int = 1` as `x = 1`, and `x: int` as nothing."""
    if not isinstance(statement, ast.AnnAssign):
        return statement
    if statement.value is None:
        return None
    return ast.copy_location(ast.Assign(targets=[statement.target], value=statement.value), statement)


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, _NAMED):
        return {statement.name}
    bound = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, _NAMED):
            bound.add(node.name)
    return bound


def global_names(code: CodeType) -> set[str]:
    """Names that `code`, with the functions and classes inside it, looks up outside itself."""
    names = {each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= global_names(constant)
    return names


def names_in(nodes: Iterable[ast.AST]) -> set[str]:
    return {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}


def chains(tree: ast.AST) -> dict[str, set[tuple[str, ...]]]:
    """For each name, the attributes that are taken from it: `a.b.c` and `a` give {"a": {("b", "c"), ()}}."""
    found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    todo: list[Any] = [tree]
    while todo:
        node, path = todo.pop(), []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            found[node.id].add(tuple(reversed(path)))
        else:
            todo += ast.iter_child_nodes(node)
    return found


class LocalImport(NamedTuple):
    """An import inside a function: a name of a module, or the module as a whole when `name` is empty. `bound` is what
    the function calls it; `import a.b` binds `a`, whose attributes then begin with `b`."""

    origin: str
    name: str
    bound: str


def local_imports(node: ast.AST) -> Iterator[LocalImport]:
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            for alias in each.names:
                yield LocalImport(alias.name, "", alias.asname or alias.name.partition(".")[0])
        elif isinstance(each, ast.ImportFrom):
            origin = "." * each.level + (each.module or "")
            for alias in each.names:
                yield LocalImport(origin, "" if alias.name == "*" else alias.name, alias.asname or alias.name)
