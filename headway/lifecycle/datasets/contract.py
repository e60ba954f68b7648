"""The contract: what a dataset or a request must satisfy, one object for ingest, training and serving.

`violations` judges a summary of many rows, `request_violations` one request. Both are pure; a message names the
column, the rule, what was expected and what was found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta

from headway.errors import Invalid
from headway.kernel.records import Value, digest, encode
from headway.lifecycle.datasets.schema import ColumnSummary, Kind, Summary


class Use(StrEnum):
    """What a column is for. Only features reach a model; `banned` columns are known too late, or are not allowed."""

    FEATURE = "feature"
    LABEL = "label"
    KEY = "key"
    TIME = "time"
    BANNED = "banned"
    OTHER = "other"


class WhenSkewed(StrEnum):
    """What is done with a table or a request whose columns are right and whose values are not."""

    REFUSE = "refuse"
    WARN = "warn"
    """A table is added, and the version says what is broken; a request is answered, and its row is marked."""
    CHANGE = "change"
    """As `warn`, and a monitor raises an alert, which opens the next change."""


class ColumnRule(Value):
    """Rules for one column; a rule that is None is not checked.

    `median` is the range in which the median must lie: it catches a change of unit that `low` and `high` let through.
    """

    name: str
    kind: Kind
    use: Use = Use.FEATURE
    required: bool = True
    nulls: float = 0.0
    """The largest share of nulls, 0 to 1."""
    low: float | None = None
    high: float | None = None
    median: tuple[float, float] | None = None
    levels: tuple[str, ...] | None = None
    unit: str = ""
    default: bool | int | float | str | None = None
    """What a request that lacks the feature, or has a null in its place, is taken to say. Tables are not filled."""
    tags: tuple[str, ...] = ()
    """What must be known of it wherever it goes, such as `pii`; they travel along lineage to models."""
    when_skewed: WhenSkewed | None = None
    """As the contract says, if left out."""


class Contract(Value):
    """Rules by column; `closed` refuses columns without a rule."""

    columns: tuple[ColumnRule, ...]
    min_rows: int = 1
    closed: bool = True
    when_skewed: WhenSkewed = WhenSkewed.REFUSE
    """Of values, for every column that does not say otherwise. What is not of the schema is always refused."""
    tolerated: Annotated[float, Meta(ge=0, lt=1)] = 0.01
    """The share of a release's rows that may break rules of values under `change` without an alert."""
    tags: tuple[str, ...] = ()
    """Of the dataset as a whole, such as `licence:cc-by-nc`."""

    @property
    def digest(self) -> str:
        return digest(encode(self))

    def used_as(self, use: Use) -> tuple[str, ...]:
        return tuple(rule.name for rule in self.columns if rule.use is use)

    def columns_to(self, done: WhenSkewed) -> frozenset[str]:
        """Those for which this is done when their values break a rule."""
        return frozenset(rule.name for rule in self.columns if (rule.when_skewed or self.when_skewed) is done)

    def one(self, use: Use) -> str | None:
        """The only column of this use, or None."""
        names = self.used_as(use)
        return names[0] if len(names) == 1 else None


VALUE_RULES = frozenset({"nulls", "low", "high", "median", "levels"})
"""Rules of values: breaking one is value skew. All others are of the schema."""


class Violation(Value):
    column: str
    rule: str
    expected: str
    found: str

    @property
    def of_values(self) -> bool:
        return self.rule in VALUE_RULES

    def __str__(self) -> str:
        return f"column {self.column!r} breaks rule {self.rule!r}: expected {self.expected}, found {self.found}"


def is_let_pass(contract: Contract, violation: Violation) -> bool:
    """Whether data that break this are taken nevertheless."""
    return violation.of_values and violation.column not in contract.columns_to(WhenSkewed.REFUSE)


_TAG = re.compile(r"[a-z][a-z0-9._/-]*(:[A-Za-z0-9._/+-]+)?")


def checked_tag(tag: str) -> str:
    if len(tag) > 100 or not _TAG.fullmatch(tag):
        raise Invalid(f"{tag[:100]!r} is no tag: write it like pii or licence:cc-by-nc")
    return tag


_DEFAULTS = {Kind.INT: (int,), Kind.FLOAT: (int, float), Kind.BOOL: (bool,), Kind.STR: (str,)}


def checked_contract(contract: Contract) -> Contract:
    """Raises `Invalid` for a default of a column that is no feature, of another kind, or that breaks its own rule, and
    for a tag that is none."""
    for tag in (*contract.tags, *(tag for rule in contract.columns for tag in rule.tags)):
        checked_tag(tag)
    for rule in contract.columns:
        if rule.default is None:
            continue
        if rule.use is not Use.FEATURE:
            raise Invalid(f"column {rule.name!r} is no feature, so no request lacks it; remove its default")
        if type(rule.default) not in _DEFAULTS.get(rule.kind, ()):
            raise Invalid(f"column {rule.name!r} is {rule.kind}; its default must be, too, not {rule.default!r:.80}")
        if not math.isfinite(rule.default if rule.kind is Kind.FLOAT else 0.0) or not _fits(rule, rule.default):  # type: ignore[arg-type]
            name, expected = _row_rule(rule, rule.default)
            raise Invalid(f"column {rule.name!r}: its default {rule.default!r:.80} breaks {name}: expected {expected}")
    return contract


def violations(contract: Contract, summary: Summary) -> list[Violation]:
    """Every rule that the summarised table breaks, in the contract's order."""
    found: list[Violation] = []
    if summary.rows < contract.min_rows:
        found.append(
            Violation(column="*", rule="min_rows", expected=f">= {contract.min_rows}", found=str(summary.rows))
        )
    columns = {column.name: column for column in summary.columns}
    for rule in contract.columns:
        column = columns.pop(rule.name, None)
        if column is not None:
            found += _column_violations(rule, column, summary.rows)
        elif rule.required:
            found.append(Violation(column=rule.name, rule="required", expected="the column", found="none"))
    if contract.closed:
        found += [
            Violation(column=name, rule="closed", expected="only columns of the contract", found="an unknown column")
            for name in columns
        ]
    return found


def _column_violations(rule: ColumnRule, column: ColumnSummary, rows: int) -> list[Violation]:
    def broken(name: str, expected: object, found: object) -> Violation:
        return Violation(column=rule.name, rule=name, expected=str(expected), found=str(found))

    if column.kind is not rule.kind and (rule.kind, column.kind) != (Kind.FLOAT, Kind.INT):
        return [broken("kind", rule.kind, column.kind)]
    found = []
    if rows and column.nulls > rule.nulls * rows:
        found.append(broken("nulls", f"at most {rule.nulls:.1%}", f"{column.nulls / rows:.1%}"))
    if rule.low is not None and column.low is not None and column.low < rule.low:
        found.append(broken("low", f">= {rule.low:g}", f"{column.low:g}"))
    if rule.high is not None and column.high is not None and column.high > rule.high:
        found.append(broken("high", f"<= {rule.high:g}", f"{column.high:g}"))
    if rule.median and column.median is not None and not rule.median[0] <= column.median <= rule.median[1]:
        unit = f" {rule.unit}" if rule.unit else ""
        found.append(broken("median", f"{rule.median[0]:g} to {rule.median[1]:g}{unit}", f"{column.median:g}"))
    if rule.levels is not None:
        strange = sorted(set(column.levels or ()) - set(rule.levels))
        if strange:
            found.append(broken("levels", f"one of {len(rule.levels)} known levels", ", ".join(strange[:5])))
    return found


def request_violations(contract: Contract, columns: Mapping[str, Sequence[Any]]) -> list[Violation]:
    """Rules that a request's columns (name -> values, one per row) break: those that hold for each single row."""
    found = []
    for rule in contract.columns:
        values = columns.get(rule.name)
        if values is None or rule.use is not Use.FEATURE:
            continue
        if (first := next(rows_out(rule, values), None)) is not None:
            worst = values[first]
            name, expected = _row_rule(rule, worst)
            found.append(Violation(column=rule.name, rule=name, expected=expected, found=repr(worst)[:80]))
    return found


def rows_out(rule: ColumnRule, values: Sequence[Any]) -> Iterator[int]:
    """The rows in which a column breaks a rule that holds for each single row."""
    return (row for row, value in enumerate(values) if not _fits(rule, value))


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _fits(rule: ColumnRule, value: Any) -> bool:
    if _missing(value):
        return rule.nulls > 0
    if isinstance(value, str):
        return rule.levels is None or value in rule.levels
    return (rule.low is None or value >= rule.low) and (rule.high is None or value <= rule.high)


def _row_rule(rule: ColumnRule, value: Any) -> tuple[str, str]:
    if _missing(value):
        return "nulls", "a value"
    if isinstance(value, str):
        return "levels", f"one of {len(rule.levels or ())} known levels"
    low, high = "-inf" if rule.low is None else f"{rule.low:g}", "inf" if rule.high is None else f"{rule.high:g}"
    return "low/high", f"{low} to {high}"
