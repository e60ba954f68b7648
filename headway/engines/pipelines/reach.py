"""What a function's behaviour depends on inside the project: its own code, and all that it reaches from there.

Code is compared as syntax trees without docstrings, so comments and layout do not count. Followed are global names
(functions, classes, modules by the attributes used, constants by value or, failing that, by the statement that makes
them), closures, defaults, decorators that are not Headway's, and imports inside functions. Of a library outside the
project that code leads to, the installed version counts (`packages.py`).
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import sys
from contextlib import suppress
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from headway.engines.pipelines.canonical import canonical
from headway.engines.pipelines.cells import Cells, is_interactive, read_cells
from headway.engines.pipelines.formats import content_digest
from headway.engines.pipelines.packages import Packages
from headway.engines.pipelines.parts import Found, shown_value
from headway.engines.pipelines.sources import belongs
from headway.engines.pipelines.syntax import (
    Definition,
    Source,
    chains,
    drop_annotations_of,
    dump,
    dump_code,
    global_names,
    local_imports,
    names_in,
    read_source,
)
from headway.errors import BadPipeline
from headway.kernel.records import digest, encode
from headway.lifecycle.runs.pipeline import Pipeline, Step


class Reach:
    """Digests of functions of the project in `folder`, for one run.

    Code and constants count as they are when the first digest is asked for: a memo that fills, or a counter that
    moves, while steps run would otherwise change the keys of those that come later.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = {folder.resolve(), folder.absolute()}
        self._sources: dict[ModuleType, Source | Cells | None] = {}
        self._digests: dict[Any, str] = {}
        self._found: dict[str, list[Found]] = {}
        self.packages = Packages()

    def digest(self, function: Any) -> str:
        """Raises `BadPipeline` when something reached cannot be told apart."""
        if not self._digests:
            self._digest_known_steps()
        if function not in self._digests:
            self._digests[function] = self._fresh(function)
        return self._digests[function]

    def found(self, digest: str) -> list[Found]:
        """What the digest of a function was made of."""
        return self._found[digest]

    def _digest_known_steps(self) -> None:
        own = [module for module in list(sys.modules.values()) if self.is_own(module)]
        for value in [value for module in own for value in list(vars(module).values())]:
            if isinstance(value, Step):
                with suppress(BadPipeline):  # it may never be called
                    self._digests[value.function] = self._fresh(value.function)

    def _fresh(self, function: Any) -> str:
        walk = _Walk(self, function)
        made = digest(encode([walk.parts, sorted(walk.packages.items())]))
        self._found[made] = [*walk.found, *(Found("package", name, shown=v) for name, v in walk.packages.items())]
        return made

    def source(self, module: ModuleType) -> Source | Cells | None:
        if module not in self._sources:
            self._sources[module] = read_cells(module) if is_interactive(module) else read_source(module)
        return self._sources[module]

    def is_own(self, module: ModuleType | None) -> bool:
        if module is not None and is_interactive(module):
            return True
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and self.is_own_file(file)

    def is_own_file(self, file: str) -> bool:
        """Modules bear the path by which they were found, which may lead through a link."""
        return any(belongs(folder, file) for folder in self._folders)


class _NotPlain(Exception):
    pass


_FOLLOWED = (FunctionType, type, ModuleType, Step, Pipeline)
_OF_EVERY_CLASS = {"__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__"}


class _Walk:
    """One function's reach: `parts` has a text for each thing found, in the order of finding. A thing is referred to
    by its number there, so that two that change places do not go unnoticed."""

    def __init__(self, reach: Reach, root: Any) -> None:
        self.reach, self.root = reach, root
        self.parts: list[str] = []
        self.found: list[Found] = []
        self.packages: dict[str, str] = {}
        self._numbers: dict[Any, int] = {}
        self._todo: list[tuple[int, Any, ModuleType | None, str]] = []
        self._current = self._refer(root)
        while self._todo:
            self._current, value, module, name = self._todo.pop()
            self._visit(value, module, name)

    def _refer(self, value: Any, module: ModuleType | None = None, name: str = "") -> int:
        """The number of `value`, which is called `name` in `module` if it is a global; visited later if it is new."""
        if isinstance(value, _FOLLOWED):
            place: Any = id(value)
        else:
            place = (module, name) if module else object()
        if place not in self._numbers:
            self._numbers[place] = len(self._numbers)
            self._todo.append((self._numbers[place], value, module, name))
        return self._numbers[place]

    def _note(self, text: str) -> None:
        self.parts.append(f"{self._current} {text}")

    def _visit(self, value: Any, module: ModuleType | None, name: str) -> None:
        if isinstance(value, Step | Pipeline):
            version = value.version if isinstance(value, Step) else ""
            if version:
                self.found.append(Found("value", f"version of step {value.name}", shown=repr(version)))
            self._note(f"step {version} {self._refer(value.function)}")
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, ModuleType):
            self._module(value)
        else:
            self._constant(value, module, name)

    def _function(self, function: FunctionType) -> None:
        module = sys.modules.get(function.__globals__.get("__name__", ""))
        if not self.reach.is_own(module) and function is not self.root:
            return self._outside(module, function.__qualname__)
        code = function.__code__
        if module is None:
            raise BadPipeline(f"the module of {function.__qualname__} cannot be found; define it in a file")
        label = f"{module.__name__}.{function.__qualname__}"
        source = self.reach.source(module)
        origin, nodes = source.defining(code) if source else (None, [])
        for node in nodes:
            own = self._without_our_decorators(node, module)
            self._note(f"def {dump(own)}")
            self.found.append(Found("function", label, origin, own))
            around = [*getattr(own, "decorator_list", []), *own.args.defaults, *filter(None, own.args.kw_defaults)]
            self._follow(module, global_names(code) | names_in(around), own)
            self._imports(module, own)
        if not nodes:
            self._note(f"code {dump_code(code)}")
            self.found.append(Found("function", label, shown=f"code {digest(dump_code(code).encode())[:15]}"))
            self._follow(module, global_names(code), ast.Pass())
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        for value in defaults:
            self._plain(value)
        self._closure(function)

    def _without_our_decorators(self, node: Definition, module: ModuleType) -> Definition:
        if isinstance(node, ast.Lambda):
            return node
        own = copy.copy(node)
        own.decorator_list = [each for each in node.decorator_list if not self._is_ours(each, module)]
        if not own.decorator_list:
            drop_annotations_of(own)
        return own

    @staticmethod
    def _is_ours(decorator: Any, module: ModuleType) -> bool:
        """Whether it is `@step`, `@headway.step(...)` and the like, whose options do not change what a step gives."""
        for root, paths in chains(getattr(decorator, "func", decorator)).items():
            value = vars(module).get(root)
            for attribute in next(iter(paths)):
                value = getattr(value, attribute, None)
            return str(getattr(value, "__module__", "")).split(".")[0] == "headway"
        return False

    def _closure(self, function: FunctionType) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # named before it is bound
                continue
            self._note(f"closure {name} {self._refer(value, None, f'{name} of {function.__qualname__}')}")

    def _class(self, cls: type) -> None:
        module = sys.modules.get(cls.__module__)
        source = self.reach.source(module) if module and self.reach.is_own(module) else None
        if module is None or source is None:
            return self._outside(module, cls.__qualname__)
        origin, nodes = source.classing(cls)
        for node in nodes:
            self._note(f"class {dump(node)}")
            self.found.append(Found("class", f"{module.__name__}.{cls.__qualname__}", origin, node))
            self._follow(module, names_in([node]), node)
            self._imports(module, node)
        if not nodes and not self._statement(module, cls.__qualname__):  # made by a call, such as namedtuple
            self._members(cls)

    def _members(self, cls: type) -> None:
        """A class whose text cannot be had, by what it holds."""
        self._note(f"class {cls.__qualname__} {[self._refer(each) for each in cls.__bases__]}")
        for name, value in sorted(vars(cls).items()):
            if isinstance(value, property):
                value = tuple(each for each in (value.fget, value.fset) if each)
            if isinstance(value, staticmethod | classmethod):
                value = value.__func__
            if name not in _OF_EVERY_CLASS:
                self._note(f"member {name} {self._refer(value, None, f'{cls.__qualname__}.{name}')}")

    def _module(self, module: ModuleType) -> None:
        source = self.reach.source(module) if self.reach.is_own(module) else None
        if source is None:
            return self._outside(module)
        for tree in source.trees:
            self._note(f"module {dump(tree)}")
            self._follow(module, names_in([tree]), tree)
        self.found += [Found("module", module.__name__, origin, origin.tree) for origin in source.sources]

    def _outside(self, module: ModuleType | None, name: str = "") -> None:
        """Note something outside the project by its name; the version of the package it is of is noted once."""
        full = module.__name__ if module else ""
        self._note(f"outside {full} {name}")
        self._installed(full)

    def _installed(self, module: str) -> None:
        for name, version in self.reach.packages.of(module):
            self.packages[name] = version

    def _constant(self, value: Any, module: ModuleType | None, name: str) -> None:
        if self._plain(value):
            self.found.append(self._found_value(value, module, name))
            return
        if module is not None and self._statement(module, name):
            return
        inner = self._inside(value)
        if not inner:
            raise BadPipeline(
                f"{name or 'a value'} is a {type(value).__qualname__}, whose content cannot be part of a key; "
                "hand it over as an argument that can, or mark the step @step(cache=False)"
            )
        for each in inner:
            self._note(f"holds {self._refer(each, None, name)}")

    def _found_value(self, value: Any, module: ModuleType | None, name: str) -> Found:
        source = self.reach.source(module) if module is not None and self.reach.is_own(module) else None
        origin, statements = source.stating(name) if source else (None, [])
        label = f"{module.__name__}.{name}" if module else name
        return Found("value", label, origin, statements[0] if statements else None, shown_value(value))

    @staticmethod
    def _inside(value: Any) -> list[Any]:
        """The parts of a callable that wraps another."""
        if isinstance(value, MethodType):
            return [value.__func__, value.__self__]
        if isinstance(value, functools.partial):
            return [value.func, value.args, value.keywords]
        return [value.__wrapped__] if hasattr(value, "__wrapped__") else []

    def _plain(self, value: Any) -> bool:
        """Note a value by its content, if that can be told."""
        try:
            self._note(f"value {digest(encode(canonical(value, self._other)))}")
        except _NotPlain:
            return False
        return True

    def _other(self, value: Any) -> Any:
        if isinstance(value, _FOLLOWED):
            return ["number", self._refer(value)]
        try:
            return content_digest(value)
        except BadPipeline:
            raise _NotPlain from None

    def _statement(self, module: ModuleType, name: str) -> bool:
        """Note a global by the statements that make it; False when there are none."""
        source = self.reach.source(module) if self.reach.is_own(module) else None
        if source is None:
            self._outside(module, name)
            return True
        if name in source.imported:
            place, there = source.imported[name]
            found = sys.modules.get(resolve_name(place, module.__package__))
            if found is not None and self.reach.is_own(found):
                self._note(f"import {self._attribute(found, (there,))}")
            else:
                self._outside(found, there)
            return True
        origin, statements = source.stating(name)
        for statement in statements:
            self._note(f"statement {dump(statement)}")
            self.found.append(Found("statement", f"{module.__name__}.{name}", origin, statement))
            self._follow(module, names_in([statement]), statement)
        return bool(statements)

    def _follow(self, module: ModuleType, names: set[str], node: ast.AST) -> None:
        """Note what each of `names` that is a global stands for; `node` shows how they are used."""
        used = chains(node)
        for name in sorted(names & vars(module).keys()):
            value = vars(module)[name]
            if isinstance(value, ModuleType) and self.reach.is_own(value):
                for path in sorted(used.get(name, {()})):
                    self._note(f"global {name} {path} {self._attribute(value, path)}")
            else:
                self._note(f"global {name} {self._refer(value, module, name)}")

    def _attribute(self, module: ModuleType, path: tuple[str, ...]) -> int:
        """What `path` leads to from `module`: a global of it, or all of a module that is used as a whole."""
        while path and path[0] in vars(module):
            value = vars(module)[path[0]]
            if not isinstance(value, ModuleType):
                return self._refer(value, module, path[0])
            module, path = value, path[1:]
        return self._refer(module)

    def _imports(self, module: ModuleType, node: ast.AST) -> None:
        used = chains(node)
        for each in local_imports(node):
            absolute = resolve_name(each.origin, module.__package__)
            if not self._is_own_name(absolute.split(".")[0]):
                self._installed(absolute)
                continue
            start, first = importlib.import_module(absolute), (each.name,) if each.name else ()
            if each.name and each.name not in vars(start):
                with suppress(ImportError):  # a module of its own, which nothing has imported yet
                    importlib.import_module(f"{absolute}.{each.name}")
            if not first and each.bound == absolute.partition(".")[0]:
                start = sys.modules[each.bound]
            for path in sorted(used.get(each.bound, {()})):
                self._note(f"import {absolute} {each.name} {path} {self._attribute(start, (*first, *path))}")

    def _is_own_name(self, top: str) -> bool:
        try:
            spec = find_spec(top)
        except ValueError:  # `__main__` has no spec
            return False
        places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
        return any(place and self.reach.is_own_file(place) for place in places)
