"""What steps print: kept from the beginning and from the end, whole lines, whatever the chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.engines.execution.output import KEPT_BYTES, TAIL_BYTES, StepOutput


@given(text=st.text(alphabet="ab\né\0", max_size=200), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_any_cuts_give_the_same_text(text: str, cuts: list[int]) -> None:
    told: list[str] = []
    echoed: list[str] = []
    output = StepOutput(told.append, echoed.append)
    data, at = text.encode(), 0
    for cut in sorted(cuts):
        output.feed(data[at:cut])
        at = max(at, min(cut, len(data)))
    output.feed(data[at:])
    output.close()
    assert "".join(told) == text.replace("\0", "\ufffd")
    assert "".join(echoed) == "".join(told)


def test_what_is_too_much_is_counted() -> None:
    told: list[str] = []
    output = StepOutput(told.append)
    for number in range(30):
        output.feed((f"{number:02}" + "x" * 99_997 + "\n").encode())
    output.close()
    text = "".join(told)
    head, _, rest = text.partition("\n... ")
    missing, _, tail = rest.partition(" characters of the output were not kept ...\n")
    assert (len(head), len(tail), int(missing)) == (KEPT_BYTES, TAIL_BYTES, 3_000_000 - KEPT_BYTES - TAIL_BYTES)


def test_a_secret_that_is_cut_in_two_is_masked() -> None:
    told: list[str] = []
    output = StepOutput(told.append)
    output.feed(b"password=abcd")
    output.feed(b"efgh and more\n")
    output.close()
    assert told == ["password=*** and more\n"]
