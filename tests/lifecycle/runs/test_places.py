"""Pages of items in memory, by any order."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headway.kernel.records import Value
from headway.lifecycle.runs.places import By, paged


class Asked(Value):
    what: str = ""


_VALUES = st.one_of(st.none(), st.just(math.nan), st.integers(-2, 2), st.sampled_from([math.inf, -math.inf, 0.5]))


@given(st.lists(st.tuples(_VALUES, _VALUES), max_size=9), st.booleans(), st.booleans(), st.integers(1, 4))
def test_pages_put_together_are_the_whole_order(
    rows: list[tuple[Any, Any]], falls: bool, second_falls: bool, limit: int
) -> None:
    items = list(enumerate(rows))
    keys: list[By[Any]] = [By(lambda item: item[1][0], falls), By(lambda item: item[1][1], second_falls)]
    keys.append(By(lambda item: item[0], descending=True))
    whole = paged(items, keys, Asked(), limit=100).items
    assert sorted(whole) == items
    together, after = list[Any](), ""
    while True:
        page = paged(items, keys, Asked(), limit=limit, after=after)
        together += page.items
        if page.next is None:
            break
        after = page.next
    assert tuple(together) == whole
    numbers = [row[0] for _, row in whole if row[0] is not None and not math.isnan(row[0])]
    assert numbers == sorted(numbers, reverse=falls)
    classes = [2 if row[0] is None else int(math.isnan(row[0])) for _, row in whole]
    assert classes == sorted(classes)
