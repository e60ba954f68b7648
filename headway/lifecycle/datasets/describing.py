"""A contract as a page for people, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from headway.lifecycle.datasets.contract import ColumnRule, Contract, WhenSkewed

_DONE = {
    WhenSkewed.REFUSE: "are refused",
    WhenSkewed.WARN: "are warned of",
    WhenSkewed.CHANGE: "are warned of, and open a change",
}


def described(contract: Contract, title: str) -> str:
    """Everything that `contract` demands, as a table with a row for each column; the same contract, the same text."""
    head = [f"# {_safe(title)}", "", f"Contract `{contract.digest}`.", "", *(f"- {line}" for line in _whole(contract))]
    rows = ["| column | kind | use | values | nulls | unit | default | tags |", "|---|---|---|---|---|---|---|---|"]
    rows += [f"| {' | '.join(_safe(cell) for cell in _cells(rule))} |" for rule in contract.columns]
    return "\n".join([*head, "", *rows, ""])


def _whole(contract: Contract) -> Iterator[str]:
    yield f"At least {contract.min_rows:,} rows."
    yield "No other columns." if contract.closed else "Other columns may be there."
    yield f"Values outside of these rules {_DONE[contract.when_skewed]}."
    for rule in contract.columns:
        if rule.when_skewed not in (None, contract.when_skewed):
            yield f"Those of {_safe(rule.name)} {_DONE[rule.when_skewed]}."
    if contract.columns_to(WhenSkewed.CHANGE):
        yield f"An endpoint tolerates them in {contract.tolerated:.2%} of its rows."
    if contract.tags:
        yield f"Tags: {_safe(', '.join(contract.tags))}."


def _cells(rule: ColumnRule) -> tuple[str, ...]:
    return (
        rule.name + ("" if rule.required else " (may be absent)"), rule.kind, rule.use, "; ".join(_values(rule)),
        f"at most {rule.nulls:.1%}" if rule.nulls else "none", rule.unit,
        "" if rule.default is None else repr(rule.default), ", ".join(rule.tags),
    )  # fmt: skip


def _values(rule: ColumnRule) -> Iterator[str]:
    if rule.low is not None or rule.high is not None:
        low, high = ("any" if edge is None else f"{edge:g}" for edge in (rule.low, rule.high))
        yield f"{low} to {high}"
    if rule.median is not None:
        yield f"median {rule.median[0]:g} to {rule.median[1]:g}"
    if rule.levels is not None:
        yield f"one of {', '.join(rule.levels)}"


def _safe(text: str) -> str:
    """A name from the data cannot end the cell, begin a line or a tag."""
    kept = " ".join(text.split())
    for sign in "\\`|<>*_[]":
        kept = kept.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return kept
