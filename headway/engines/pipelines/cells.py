"""A notebook's or a prompt's code: each cell a text of its own, the newest first."""

from __future__ import annotations

import ast
import functools
from contextlib import suppress
from types import CodeType, ModuleType
from typing import Any

from headway.engines.pipelines.syntax import Definition, Source


class Cells:
    """The cells that were run, as `Source` is for the text of a module."""

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self._newest = sources[::-1]

    @property
    def trees(self) -> list[ast.Module]:
        return [source.tree for source in self.sources]

    @property
    def imported(self) -> dict[str, tuple[str, str]]:
        return {name: there for source in self.sources for name, there in source.imported.items()}

    def defining(self, code: CodeType) -> tuple[Source | None, list[Definition]]:
        for source in self._newest:
            if nodes := source.defining(code)[1]:
                return source, nodes
        return None, []

    def classing(self, cls: type) -> tuple[Source | None, list[ast.ClassDef]]:
        for source in self._newest:
            if nodes := source.classing(cls)[1]:
                return source, nodes
        return None, []

    def stating(self, name: str) -> tuple[Source | None, list[ast.stmt]]:
        for source in self._newest:
            if statements := source.stating(name)[1]:
                return source, statements
        return None, []


def is_interactive(module: ModuleType) -> bool:
    """Whether the code of `module` is typed in, cell by cell."""
    return module.__name__ == "__main__" and getattr(module, "__file__", None) is None


def read_cells(module: ModuleType) -> Cells | None:
    """The cells of a notebook as IPython has run them; None where nobody keeps what was typed."""
    shell = vars(module).get("get_ipython")
    typed = vars(module).get("In")
    if not callable(shell) or not isinstance(typed, list):
        return None
    transform = shell().transform_cell
    sources = (_read(f"cell {number}", _plain(transform, text)) for number, text in enumerate(typed) if text.strip())
    return Cells([source for source in sources if source is not None])


def _plain(transform: Any, text: str) -> str:
    """The cell as Python, its magics made calls."""
    return str(transform(text))


@functools.lru_cache(1024)
def _read(file: str, text: str) -> Source | None:
    with suppress(SyntaxError, ValueError, RecursionError):
        return Source(text, file)
    return None
