"""The filter grammar: what it reads, and that nothing else than `Invalid` ever comes of a text."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import Invalid
from headway.kernel.naming import checked_path
from headway.lifecycle.runs.matching import like
from headway.lifecycle.runs.search import RUNS, Condition, Field, Kind, Operator, Order, parsed_filter, parsed_order

_WORDS = 'metrics.a params.`b tags."x" run_id attributes.start_time datasets.name AND OR IN LIKE IS NOT NULL'
_MARKS = "( ) , 'text' \"text\" ` ' 1 -1e5 1e999 > >= != é \x00"
_PIECES = st.sampled_from([" ", "params.`b c`", *_WORDS.split(), *_MARKS.split(" ")])


def condition(kind: Kind, name: str, operator: Operator, value: object = None) -> Condition:
    return Condition(field=Field(kind=kind, name=name), operator=operator, value=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.a>1", condition(Kind.METRIC, "a", Operator.GREATER, 1.0)),
        ("metric.train.loss <= -1.5e-3", condition(Kind.METRIC, "train.loss", Operator.LESS_EQUAL, -0.0015)),
        ("param.`a key` = 'x'", condition(Kind.PARAM, "a key", Operator.EQUAL, "x")),
        ('parameters.k = "x"', condition(Kind.PARAM, "k", Operator.EQUAL, "x")),
        ("tags.mlflow.runName like '%a'", condition(Kind.TAG, "mlflow.runName", Operator.LIKE, "%a")),
        ("tags.a/b-c is not null", condition(Kind.TAG, "a/b-c", Operator.IS_NOT_NULL)),
        ("`Run name` = 'x'", condition(Kind.ATTRIBUTE, "run_name", Operator.EQUAL, "x")),
        ("attributes.Created > 5", condition(Kind.ATTRIBUTE, "start_time", Operator.GREATER, 5.0)),
        ("run.status != 'x'", condition(Kind.ATTRIBUTE, "status", Operator.NOT_EQUAL, "x")),
        ("run_id not in ('a',\"b\")", condition(Kind.ATTRIBUTE, "run_id", Operator.NOT_IN, ("a", "b"))),
        ("dataset.digest = 'x'", condition(Kind.INPUT, "digest", Operator.EQUAL, "x")),
    ],
)
def test_a_comparison_is_read(text: str, expected: Condition) -> None:
    assert parsed_filter(text, RUNS) == (expected,)
    assert parsed_filter(f" {text}  AND {text} ", RUNS) == (expected, expected)


@pytest.mark.parametrize(
    "text",
    [
        "a", "metrics.a", "metrics.a >", "metrics.a > 'x'", "metrics.a LIKE 'x'", "params.a = 3", "params.a > '3'",
        "params. = 'x'", "nothing.a = 'x'", "metrics.a > 1 OR metrics.a < 1", "(metrics.a > 1)", "metrics.a > 1 AND",
        "metrics.a > 1, metrics.b > 1", "tags.a = 'x", "run_id IN ()", "run_id IN ('a'", "run_id IN 'a'",
        "tags.a IN ('x')", "start_time IN ('1')", "start_time = '1'", "params.a IS 'x'", "datasets.source = 'x'",
        "1 = 1", "'a' = 'b'", ";", "a" * 30_000, " AND ".join(["metrics.a > 1"] * 61),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parsed_filter(text, RUNS)


@given(st.text() | st.lists(_PIECES, max_size=12).map(" ".join) | st.lists(_PIECES, max_size=12).map("".join))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    for parse in (lambda: parsed_filter(text, RUNS), lambda: parsed_order([text], RUNS)):
        with suppress(Invalid):
            parse()


def test_an_order_is_read() -> None:
    auc = Field(kind=Kind.METRIC, name="auc")
    assert parsed_order(["metrics.auc desc", "start_time"], RUNS) == (
        Order(field=auc, descending=True),
        Order(field=Field(kind=Kind.ATTRIBUTE, name="start_time")),
    )
    for wrong in ("", "metrics.auc UP", "metrics.auc DESC DESC", "auc"):
        with pytest.raises(Invalid):
            parsed_order([wrong], RUNS)


@given(st.text(alphabet="ab%_", max_size=8), st.text(alphabet="ab%_", max_size=8))
def test_like_is_what_a_regular_expression_says(text: str, pattern: str) -> None:
    expression = "".join({"%": ".*", "_": "."}.get(each, each) for each in pattern)
    assert like(text, pattern) == bool(re.fullmatch(expression, text, re.DOTALL))


def test_like_does_not_explode() -> None:
    assert not like("a" * 8000, "%a" * 200 + "b")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "%2e%2e/a",
        "a/%252e%252e/b",
        "a%2f..",
        "a\n",
        "a%5c..%5cb",
        "%2fetc",
        "%25252e%25252e/a",
        "x" * 1001,
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        checked_path(path)


@pytest.mark.parametrize(
    "path", ["a", "images/k%step%0%timestamp%170%1b2c.png", "a/b.txt", "100%", "50%25", "..a/b..", "ü/ñ.json", "a b"]
)
def test_a_name_is_taken_as_it_is(path: str) -> None:
    assert checked_path(path) == path
