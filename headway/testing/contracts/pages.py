"""What holds for the pages of a search: nothing comes twice or is missed, whatever is written between two of them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import Invalid
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.search import RUNS, RunSearch, parsed_filter, parsed_order
from headway.testing.contracts.state import State

_VALUES = st.sampled_from([None, math.nan, -math.inf, 0.1, 0.1 + 0.2, 0.3, 1.0, math.inf])
_RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "acc": _VALUES,
            "loss": _VALUES,
            "start_s": st.integers(0, 3),
            "ended": st.booleans(),
            "model": st.sampled_from([None, "a", "b", "ä"]),
        }
    ),
    max_size=12,
)
_ORDERS = st.lists(
    st.builds(
        "{} {}".format,
        st.sampled_from(
            ["metrics.acc", "metrics.loss", "params.model", "start_time", "end_time", "run_name", "attributes.run_id"]
        ),
        st.sampled_from(["ASC", "DESC"]),
    ),
    max_size=3,
)
_FILTERS = st.sampled_from(["", "metrics.acc > 0.1", "metrics.loss <= 1", "params.model IS NULL", "params.model = 'a'"])


class RunPagesContract:
    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(before=_RUNS, late=_RUNS, orders=_ORDERS, text=_FILTERS, limit=st.integers(1, 5))
    def test_pages_hold_each_run_once_while_others_are_written(
        self, state: State, before: list[Any], late: list[Any], orders: list[str], text: str, limit: int
    ) -> None:
        experiment = f"pages-{state.ids('ex')}"
        _keep(state, experiment, before)
        where, order = parsed_filter(text, RUNS), parsed_order(orders, RUNS)
        whole = RunSearch(experiments=(experiment,), where=where, order=order)
        expected = [run.id for run in state.stores.runs.search(whole).items]
        assert state.stores.runs.count(whole) == len(expected)
        seen, after = list[str](), ""
        while True:
            page = state.stores.runs.search(whole.but(limit=limit, after=after))
            assert len(page.items) <= limit
            seen += [run.id for run in page.items]
            _keep(state, experiment, [late.pop()] if late else [])
            if page.next is None:
                break
            after = page.next
        assert len(seen) == len(set(seen))
        assert [run for run in seen if run in expected] == expected

    def test_a_token_leads_on_in_its_own_search_only(self, state: State) -> None:
        _keep(state, "pages", [{"acc": 0.1, "start_s": second} for second in range(3)])
        question = RunSearch(experiments=("pages",), limit=1)
        token = state.stores.runs.search(question).next
        assert token is not None
        assert len(state.stores.runs.search(question.but(after=token, limit=5)).items) == 2
        foreign = question.but(where=parsed_filter("metrics.acc > 0", RUNS), after=token)
        damaged = [token[:-4], token[4:], "A" + token[1:], token.swapcase(), "garbage", "é", "=", token + "AAAA"]
        for each in [foreign, *(question.but(after=text) for text in damaged if text != token)]:
            with pytest.raises(Invalid, match="page token"):
                state.stores.runs.search(each)


def _keep(state: State, experiment: str, rows: list[Any]) -> None:
    began = state.clock.now()
    with state.act() as act:
        curves = {}
        for row in rows:
            started_at = began + timedelta(seconds=row["start_s"])
            run = state.sample(
                "runs", experiment=experiment, name=f"run {row['start_s']}", started_at=started_at,
                ended_at=started_at + timedelta(seconds=1) if row.get("ended") else None,
                params={"model": row["model"]} if row.get("model") else {},
            )  # fmt: skip
            act.save(state.stores.runs, run)
            for key in ("acc", "loss"):
                if row.get(key) is not None:
                    curves[run.id, key] = Curve(steps=[0], at_us=[0], values=[row[key]])
        state.stores.metrics.add(curves)
