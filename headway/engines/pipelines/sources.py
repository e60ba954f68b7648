"""The project's modules: imported from their text as it stands now, and that text kept for the keys of steps.

Bytecode caches are not used: Python takes one for fresh when the time in whole seconds and the size agree, which an
edit by a script easily meets; the key would then be of one text and the run of another. For the same reason a module
keeps the text it was made from: the file may be edited while a pipeline runs.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source
from pathlib import Path
from types import CodeType, ModuleType


class _FromText(SourceFileLoader):
    """Compiles the file each time, and keeps what it read."""

    text = ""

    def get_code(self, fullname: str) -> CodeType:
        data = self.get_data(self.path)
        self.text = decode_source(data)
        code: CodeType = self.source_to_code(data, self.path)
        return code


class _ProjectFinder:
    """Finds modules of the project, before the search along `sys.path` would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for entry in [str(self.folder)] if path is None else path:
            if belongs(self.folder, entry):
                spec = FileFinder(entry, (_FromText, [".py"])).find_spec(name)
                if spec is not None and spec.loader is not None:
                    return spec
        return None


def belongs(folder: Path, file: str) -> bool:
    """Whether `file` is the project's own: in its folder, and not in an environment that is kept there too."""
    inside = file == str(folder) or file.startswith(f"{folder}{os.sep}")
    return inside and "site-packages" not in file and "dist-packages" not in file


def text_of(module: ModuleType) -> str | None:
    """The source that `module` was made from, or None when there is none to read."""
    loader = module.__spec__.loader if module.__spec__ else None
    if isinstance(loader, _FromText):
        return loader.text
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return None


def open_project(folder: Path) -> None:
    """Let modules of the project in `folder`, a resolved path, be imported as they stand now. What was imported so
    before, of this project or another, is forgotten."""
    _forget()
    before_path = next((place for place, finder in enumerate(sys.meta_path) if finder is PathFinder), 0)
    sys.meta_path.insert(before_path, _ProjectFinder(folder))
    sys.path.insert(0, str(folder))  # for processes that a library starts and gives this path


def _forget() -> None:
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if isinstance(getattr(spec, "loader", None), _FromText):
            del sys.modules[name]
    for finder in [finder for finder in sys.meta_path if isinstance(finder, _ProjectFinder)]:
        sys.meta_path.remove(finder)
        if str(finder.folder) in sys.path:
            sys.path.remove(str(finder.folder))
