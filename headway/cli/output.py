"""What commands print: tables and facts for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click
import msgspec

from headway.kernel.paging import Page
from headway.kernel.records import encode

Item = TypeVar("Item")
Columns = Mapping[str, Callable[[Item], str]]
"""Heading -> what stands below it for one item."""

_COLOURS = {
    "finished": "green", "done": "green", "cached": "green", "settled": "green", "promoted": "green", "pass": "green",
    "yes": "green", "resolved": "green", "running": "cyan", "rolling_out": "cyan", "released": "cyan", "judged": "cyan",
    "registered": "cyan", "opened": "cyan", "pending": "cyan", "acknowledged": "yellow", "unproven": "yellow",
    "cancelled": "yellow", "failed": "red", "fail": "red", "rejected": "red", "rolled_back": "red", "open": "red",
}  # fmt: skip


def print_json(value: Any) -> None:
    """`value` as the server says it, indented, with keys in order."""
    click.echo(msgspec.json.format(encode(value), indent=2).decode())


def print_done(as_json: bool, record: Any, sentence: str) -> None:
    """What a command did: the record for programs, a sentence for people."""
    if as_json:
        print_json(record)
    else:
        click.echo(sentence)


def print_list(as_json: bool, page: Page[Item], columns: Columns[Item], *, empty: str) -> None:
    """A page as a table, or `empty`: what to do so that there is something."""
    if as_json:
        print_json(page)
        return
    if not page.items:
        click.echo(empty)
        return
    print_table(list(columns), [[cell(item) for cell in columns.values()] for item in page.items])
    if page.next:
        click.echo("There are more; --limit shows them.")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if sys.stdout.isatty():
        _rich_table(headings, rows)
        return
    widths = [max(len(row[place]) for row in [headings, *rows]) for place in range(len(headings))]
    for row in [[heading.upper() for heading in headings], *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_facts(as_json: bool, record: Any, facts: Mapping[str, str]) -> None:
    """A record as a list of what is known of it; empty facts are left out."""
    if as_json:
        print_json(record)
        return
    shown = {name: text for name, text in facts.items() if text}
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        first, *rest = text.splitlines()
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {paint(first)}")
        for line in rest:
            click.echo(f"{' ' * width}  {line}")


def print_section(title: str) -> None:
    click.echo(f"\n{click.style(title, bold=True)}")


def lines(texts: Iterable[object]) -> str:
    return "\n".join(map(str, texts))


def paint(text: str) -> str:
    """`text` in the colour of what it says, on a terminal."""
    colour = _COLOURS.get(text.split(" ")[0])
    return click.style(text, fg=colour) if colour else text


def _rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell.split(" ")[0], "")) for cell in row))
    Console().print(table)
