"""Which installed packages a module is of, by what the folders of distributions say: metadata is not parsed, since
that takes a hundred times as long."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from headway.kernel.records import digest

_DIST_INFO = ".dist-info"
_OTHERWISE_CALLED = {
    "sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow", "yaml": "pyyaml", "bs4": "beautifulsoup4",
    "cv2": "opencv-python", "dateutil": "python-dateutil", "attr": "attrs"
}  # fmt: skip
"""Looked at first; it counts only what is installed under that name."""
_OURS = "headway"


class Packages:
    """What is installed along `sys.path` when this is made."""

    def __init__(self) -> None:
        self._places: list[str] = list(dict.fromkeys(entry or os.getcwd() for entry in sys.path))
        self._installed: dict[str, tuple[str, str]] | None = None
        self._folders: dict[str, str] = {}
        self._of: dict[str, tuple[tuple[str, str], ...]] = {}

    def of(self, module: str) -> tuple[tuple[str, str], ...]:
        """Name and version of the distributions that `module` is of, imported or not. For a module that none has
        installed, or that is installed to be edited, its text has a digest. Nothing for the standard library."""
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in (_OURS, "__main__", "builtins", ""):
            return ()
        if top not in self._of:
            self._of[top] = self._found(top)
        return self._of[top]

    def _found(self, top: str) -> tuple[tuple[str, str], ...]:
        file = _file_of(top)
        installed = self._by_name(top) or self._by_record(top)
        if file is None or any(file.startswith(place) for place in {place for _, place in installed}):
            return tuple(said for said, _ in installed)
        with suppress(OSError):
            text = Path(file).read_bytes() if Path(file).is_file() else b""
            return (*(said for said, _ in installed), (f"the text of {top}", digest(text)[:15]))
        return tuple(said for said, _ in installed)

    def _by_name(self, top: str) -> list[tuple[tuple[str, str], str]]:
        kept = self._all()
        for name in (_OTHERWISE_CALLED.get(top, ""), top):
            if found := kept.get(_normal(name)):
                version, place = found
                return [((_normal(name), version), place)]
        return []

    def _by_record(self, top: str) -> list[tuple[tuple[str, str], str]]:
        """Of which distributions any file of the module is."""
        found = []
        wanted = (f"\n{top}/".encode(), f"\n{top}.".encode())
        for name, (version, place) in self._all().items():
            with suppress(OSError):
                record = b"\n" + Path(place, self._folders[name], "RECORD").read_bytes()
                if any(each in record for each in wanted):
                    found.append(((name, version), place))
        return sorted(found)

    def _all(self) -> dict[str, tuple[str, str]]:
        """Version and place by normal name; what comes first on the path counts."""
        if self._installed is None:
            self._installed = {}
            for place in self._places:
                with suppress(OSError):
                    for entry in os.listdir(place):
                        if entry.endswith(_DIST_INFO):
                            name, _, version = entry.removesuffix(_DIST_INFO).rpartition("-")
                            self._installed.setdefault(_normal(name), (version, place))
                            self._folders.setdefault(_normal(name), entry)
        return self._installed


def _file_of(top: str) -> str | None:
    """The file or folder of a top-level module, or None when there is none."""
    loaded: ModuleType | None = sys.modules.get(top)
    try:
        spec = loaded.__spec__ if loaded is not None else find_spec(top)
    except (ValueError, AttributeError, ImportError):
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
