"""The filter grammar of searches: `metrics.auc > 0.9 AND tags.team = 'ops'`, read into conditions that all must hold.

The grammar is that of MLflow's search (https://mlflow.org/docs/latest/search-runs): comparisons joined by AND, texts in
quotes, keys with other characters than letters, digits, `_ - / :` and dots in backticks or double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.kernel.records import Value

LONGEST_FILTER, MOST_CONDITIONS, MOST_ORDERS = 20_000, 60, 8


class Kind(StrEnum):
    """What a field is a field of."""

    METRIC = "metric"
    PARAM = "param"
    TAG = "tag"
    ATTRIBUTE = "attribute"
    INPUT = "input"
    METADATA = "metadata"
    SPAN = "span"
    FEEDBACK = "feedback"
    EXPECTATION = "expectation"


class Field(Value):
    kind: Kind
    name: str


class Operator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER = ">"
    GREATER_EQUAL = ">="
    LESS = "<"
    LESS_EQUAL = "<="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"


class Condition(Value):
    """`value` is a number for metrics and times, a tuple for IN, None for IS NULL, else a text."""

    field: Field
    operator: Operator
    value: str | float | tuple[str, ...] | None = None


class Order(Value):
    field: Field
    descending: bool = False


class RunSearch(Value):
    """Command: the runs of `experiments` (names) for which all conditions hold. Without an order of its own, and among
    equals: those that started last first. `deleted` None takes both. `after` is the `next` of the page before."""

    experiments: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    order: tuple[Order, ...] = ()
    deleted: bool | None = False
    limit: int = 1000
    after: str = ""

    @property
    def asked(self) -> RunSearch:
        """What is asked on every page: a token leads on in this and in nothing else."""
        return self.but(limit=0, after="")


class CountRuns(Value):
    """Command: how many runs of `experiments` (names; none for all) fit the filter `where`. `deleted` None takes both
    those that are deleted and those that are not."""

    experiments: tuple[str, ...] = ()
    where: str = ""
    deleted: bool | None = False


class SearchRuns(CountRuns):
    """Command: one page of these runs in the order of `order`, such as `metrics.auc DESC`. `after` is the `next` of
    the page before."""

    order: tuple[str, ...] = ()
    limit: int = 100
    after: str = ""


class RunCount(Value):
    runs: int


@dataclass(frozen=True)
class Vocabulary:
    """What may be asked of one kind of thing. `listed` are the attributes that IN may be asked of, `keyed` the kinds
    whose fields have keys of their own."""

    texts: frozenset[str]
    numbers: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    keyed: frozenset[Kind] = frozenset({Kind.TAG})
    aliases: Mapping[str, str] | None = None


RUNS = Vocabulary(
    texts=frozenset({"run_id", "run_name", "status", "user_id"}),
    numbers=frozenset({"start_time", "end_time"}),
    listed=frozenset({"run_id", "run_name", "status", "user_id"}),
    keyed=frozenset({Kind.METRIC, Kind.PARAM, Kind.TAG, Kind.INPUT}),
    aliases={
        "run name": "run_name", "Run name": "run_name", "Run Name": "run_name", "run_uuid": "run_id",
        "created": "start_time", "Created": "start_time",
    },
)  # fmt: skip
_INPUT_FIELDS = frozenset({"name", "digest", "context"})
_SPAN_FIELDS = frozenset({"name", "type", "status"})
_SPAN_ATTRIBUTES = "attributes."
_ASSESSED = frozenset({Kind.FEEDBACK, Kind.EXPECTATION})
_KINDS = {
    **dict.fromkeys(("metric", "metrics"), Kind.METRIC),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), Kind.PARAM),
    **dict.fromkeys(("tag", "tags"), Kind.TAG),
    **dict.fromkeys(("attribute", "attributes", "attr", "run", "trace"), Kind.ATTRIBUTE),
    **dict.fromkeys(("metadata", "request_metadata"), Kind.METADATA),
    "span": Kind.SPAN,
    "feedback": Kind.FEEDBACK,
    "expectation": Kind.EXPECTATION,
    **dict.fromkeys(("dataset", "datasets"), Kind.INPUT),
}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<word>[A-Za-z_][\w\-/:]*(?:\.(?:[\w\-/:]+|`[^`]*`|"[^"]*"))*)
    | (?P<text>'[^']*'|"[^"]*")
    | (?P<tick>`[^`]*`)
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<mark>>=|<=|!=|[=<>(),])
    )""",
    re.VERBOSE,
)
_NUMERIC = frozenset(
    {
        Operator.EQUAL,
        Operator.NOT_EQUAL,
        Operator.GREATER,
        Operator.GREATER_EQUAL,
        Operator.LESS,
        Operator.LESS_EQUAL,
    }
)
_TEXTUAL = frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.LIKE, Operator.ILIKE})
_LISTS = frozenset({Operator.IN, Operator.NOT_IN})
_NULLS = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL})


class _Token(NamedTuple):
    kind: str
    text: str


def parsed_filter(text: str, vocabulary: Vocabulary) -> tuple[Condition, ...]:
    """The conditions in `text`, none for an empty one; raises `Invalid` naming the place that cannot be read."""
    reader = _Reader(text, vocabulary)
    if reader.at_end:
        return ()
    found = [reader.condition()]
    while not reader.at_end:
        reader.expect("AND")
        found.append(reader.condition())
    if len(found) > MOST_CONDITIONS:
        raise Invalid(f"a filter holds at most {MOST_CONDITIONS} conditions, not {len(found)}")
    return tuple(found)


def parsed_order(texts: Iterable[str], vocabulary: Vocabulary) -> tuple[Order, ...]:
    """`metrics.auc DESC` and the like, in turn; raises `Invalid`."""
    orders = tuple(_order(text, vocabulary) for text in texts)
    if len(orders) > MOST_ORDERS:
        raise Invalid(f"at most {MOST_ORDERS} fields can be ordered by, not {len(orders)}")
    return orders


def _order(text: str, vocabulary: Vocabulary) -> Order:
    reader = _Reader(text, vocabulary)
    if reader.at_end:
        raise Invalid("order_by holds an empty text; write a field, as in metrics.auc DESC")
    field = reader.field()
    direction = "ASC" if reader.at_end else reader.take().text.upper()
    if direction not in ("ASC", "DESC") or not reader.at_end:
        raise Invalid(f"{text[:100]!r} is no order: after the field comes ASC, DESC or nothing")
    return Order(field=field, descending=direction == "DESC")


class _Reader:
    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        if len(text) > LONGEST_FILTER:
            raise Invalid(f"a filter has at most {LONGEST_FILTER} characters, not {len(text)}")
        self._tokens, self._place, self._vocabulary = list(_tokens(text)), 0, vocabulary

    @property
    def at_end(self) -> bool:
        return self._place >= len(self._tokens)

    def take(self) -> _Token:
        if self.at_end:
            raise Invalid("the filter ends too early; a comparison is like metrics.auc > 0.9")
        self._place += 1
        return self._tokens[self._place - 1]

    def expect(self, word: str) -> None:
        token = self.take()
        if token.text.upper() != word:
            raise Invalid(f"expected {word} in the filter, not {token.text[:60]!r}; comparisons are joined by AND only")

    def condition(self) -> Condition:
        field = self.field()
        operator = self._operator()
        self._check(field, operator)
        if operator in _NULLS:
            return Condition(field=field, operator=operator)
        if operator in _LISTS:
            return Condition(field=field, operator=operator, value=self._list())
        number = self._numeric(field) or (field.kind in _ASSESSED and self._before_number())
        return Condition(field=field, operator=operator, value=self._number() if number else self._text())

    def field(self) -> Field:
        token = self.take()
        if token.kind in ("text", "tick"):
            return self._attribute(token.text[1:-1])
        if token.kind != "word":
            raise Invalid(f"a comparison begins with a field, not with {token.text[:60]!r}")
        prefix, dot, rest = token.text.partition(".")
        if not dot:
            return self._attribute(prefix)
        kind = _KINDS.get(prefix)
        if kind is None or (kind is not Kind.ATTRIBUTE and kind not in self._vocabulary.keyed):
            able = sorted([*self._vocabulary.keyed, Kind.ATTRIBUTE])
            raise Invalid(f"{prefix[:60]!r} cannot be searched here; it takes one of: {', '.join(able)}")
        key = rest[1:-1] if rest[:1] in ('"', "`") and rest[-1:] == rest[:1] and len(rest) > 1 else rest
        if kind is Kind.ATTRIBUTE:
            return self._attribute(key)
        if not key or (kind is Kind.INPUT and key not in _INPUT_FIELDS):
            raise Invalid(f"{token.text[:60]!r} is no field{nearest(key[:60], _INPUT_FIELDS)}")
        if kind is Kind.SPAN and key not in _SPAN_FIELDS and len(key.removeprefix(_SPAN_ATTRIBUTES)) in (0, len(key)):
            raise Invalid(f"{token.text[:60]!r} is no field of a span; take name, type, status or attributes.KEY")
        return Field(kind=kind, name=key)

    def _attribute(self, name: str) -> Field:
        name = (self._vocabulary.aliases or {}).get(name, name)
        known = self._vocabulary.texts | self._vocabulary.numbers
        if name not in known:
            raise Invalid(
                f"{name[:60]!r} is no attribute{nearest(name[:60], known)}; there are: {', '.join(sorted(known))}"
            )
        return Field(kind=Kind.ATTRIBUTE, name=name)

    def _numeric(self, field: Field) -> bool:
        return field.kind is Kind.METRIC or (field.kind is Kind.ATTRIBUTE and field.name in self._vocabulary.numbers)

    def _operator(self) -> Operator:
        word = self.take().text.upper()
        if word == "NOT":
            word = f"NOT {self.take().text.upper()}"
        elif word == "IS":
            word = f"IS {self.take().text.upper()}"
            if word == "IS NOT":
                word = f"IS NOT {self.take().text.upper()}"
        try:
            return Operator(word)
        except ValueError as error:
            raise Invalid(f"{word[:60]!r} is no comparison; there are: {', '.join(Operator)}") from error

    def _check(self, field: Field, operator: Operator) -> None:
        if self._numeric(field):
            able = _NUMERIC
        elif field.kind in (Kind.INPUT, Kind.SPAN):
            able = _TEXTUAL | _LISTS
        elif field.kind in _ASSESSED:
            able = _TEXTUAL | _NUMERIC | _NULLS
        elif field.kind is Kind.ATTRIBUTE:
            able = _TEXTUAL | (_LISTS if field.name in self._vocabulary.listed else frozenset())
        else:
            able = _TEXTUAL | _NULLS
        if operator not in able:
            raise Invalid(
                f"{field.kind} {field.name[:60]!r} cannot be asked {operator}; it takes: {', '.join(sorted(able))}"
            )

    def _before_number(self) -> bool:
        return not self.at_end and self._tokens[self._place].kind == "number"

    def _number(self) -> float:
        token = self.take()
        if token.kind != "number":
            raise Invalid(f"expected a number, not {token.text[:60]!r}")
        return float(token.text)

    def _text(self) -> str:
        token = self.take()
        if token.kind != "text":
            raise Invalid(f"expected a text in quotes, not {token.text[:60]!r}")
        return token.text[1:-1]

    def _list(self) -> tuple[str, ...]:
        self.expect("(")
        found = [self._text()]
        while (mark := self.take().text) == ",":
            found.append(self._text())
        if mark != ")":
            raise Invalid(f"a list of texts ends with a parenthesis, not with {mark[:60]!r}")
        return tuple(found)


def _tokens(text: str) -> Iterator[_Token]:
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise Invalid(f"the filter cannot be read from here: {text[place : place + 60]!r}")
        yield _Token(match.lastgroup, match[match.lastgroup])
        place = match.end()
