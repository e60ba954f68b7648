"""What a filter says of a text that it compares."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.lifecycle.runs.matching import fits, only_texts
from headway.lifecycle.runs.search import Condition, Field, Kind, Operator

_TEXTS = st.sampled_from(["a", "b", "c", "ab", ""])
_PLAIN = st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL, Operator.LIKE, Operator.ILIKE])
_AMONG = st.sampled_from([Operator.IN, Operator.NOT_IN])
_FIELDS = st.sampled_from([Field(kind=Kind.ATTRIBUTE, name="name"), Field(kind=Kind.TAG, name="name")])


def _condition(field: Field, operator: Operator, value: str | tuple[str, ...]) -> Condition:
    return Condition(field=field, operator=operator, value=value)


_CONDITIONS = st.lists(
    st.builds(_condition, _FIELDS, _PLAIN, _TEXTS)
    | st.builds(_condition, _FIELDS, _AMONG, st.lists(_TEXTS, max_size=3).map(tuple)),
    max_size=4,
)


@given(conditions=_CONDITIONS, name=_TEXTS, tag=_TEXTS)
def test_no_text_fits_that_is_not_among_the_only_ones(conditions: list[Condition], name: str, tag: str) -> None:
    def values(item: str, field: Field) -> list[str]:
        return [item if field.kind is Kind.ATTRIBUTE else tag]

    only = only_texts(conditions, "name")
    if fits(name, conditions, values):
        assert only is None or name in only


def test_equal_texts_are_named_and_others_are_not() -> None:
    name = Field(kind=Kind.ATTRIBUTE, name="name")
    equal, among = _condition(name, Operator.EQUAL, "a"), _condition(name, Operator.IN, ("a", "b"))
    assert only_texts([among], "name") == {"a", "b"}
    assert only_texts([equal, among], "name") == {"a"}
    assert only_texts([_condition(name, Operator.EQUAL, "c"), among], "name") == frozenset()
    assert only_texts([_condition(name, Operator.LIKE, "a")], "name") is None
    assert only_texts([equal], "run_id") is None
