"""Globs over paths with slashes: `*` and `?` stay inside one folder, `**` goes through any number of them."""

from __future__ import annotations

import re
from functools import lru_cache

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_MEANS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def glob_mistake(glob: str) -> str:
    """What is wrong with `glob`, or an empty text."""
    if not glob or len(glob) > 500 or glob.startswith("/") or "\\" in glob or "\0" in glob:
        return f"{glob[:100]!r} is no glob below a folder, such as orders/*.parquet"
    if ".." in glob.split("/"):
        return f"{glob[:100]!r} leads out of the folder"
    return ""


@lru_cache(maxsize=256)
def globbed(glob: str) -> re.Pattern[str]:
    """A pattern whose `fullmatch` says whether a path fits."""
    return re.compile("".join(_MEANS.get(part, re.escape(part)) for part in _PARTS.findall(glob)))
