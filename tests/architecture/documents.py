"""Markdown as tests read it: headings, tables, code and links."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Section(NamedTuple):
    """`path` are the headings from the outermost to its own; `text` ends at the next heading of any level."""

    path: tuple[str, ...]
    text: str

    @property
    def rows(self) -> list[list[str]]:
        """The cells of its tables, without their headings."""
        lines = [line for line in self.text.splitlines() if line.startswith("|")]
        ruled = {at for at, line in enumerate(lines) if set(line) <= set("|- ")}
        return [_cells(line) for at, line in enumerate(lines) if at not in ruled and at + 1 not in ruled]


@cache
def markdown() -> tuple[Path, ...]:
    """Every page that is written for readers."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return tuple(sorted(page for page in pages if not any(part.startswith(".") for part in page.parts)))


@cache
def sections(page: str) -> tuple[Section, ...]:
    text = _FENCE.sub("", (ROOT / page).read_text())
    found: list[Section] = []
    path: list[str] = []
    headings = list(_HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        path = [*path[: len(heading[1]) - 1], heading[2]]
        found.append(Section(tuple(path), text[heading.end() : following.start() if following else len(text)]))
    return tuple(found)


def section(page: str, heading: str) -> Section:
    matching = [each for each in sections(page) if each.path[-1] == heading]
    assert len(matching) == 1, f"{page} has {len(matching)} headings {heading!r}; it takes one"
    return matching[0]


def below(page: str, heading: str) -> list[Section]:
    """The section and those inside it."""
    return [each for each in sections(page) if heading in each.path]


def codes(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def links(page: Path) -> list[str]:
    return _LINK.findall(_FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The names that headings can be linked by, as GitHub makes them."""
    headings = [heading for _, heading in _HEADING.findall(_FENCE.sub("", page.read_text()))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fenced(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
