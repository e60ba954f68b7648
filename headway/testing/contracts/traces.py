"""What holds for spans of traces."""

from __future__ import annotations

from headway.lifecycle.runs.traces import Span
from headway.testing.contracts.state import State


class TraceStoreContract:
    def test_spans_come_in_the_order_of_their_begin_and_the_last_word_of_each_counts(self, state: State) -> None:
        late, early = (
            Span(request="tr-1", id=f"{number:016x}", started_ns=9 - number, told={"name": "é"}) for number in (1, 2)
        )
        other = Span(request="tr-2", id=late.id, name="other")
        with state.act():
            state.stores.traces.put_spans([late, early, other])
            state.stores.traces.put_spans([])
        ended = late.but(ended_ns=12, usage={"input_tokens": 3})
        with state.act():
            state.stores.traces.put_spans([ended])
        assert state.stores.traces.spans(["tr-1", "tr-3"]) == {"tr-1": [early, ended], "tr-3": []}
        assert state.stores.traces.spans([]) == {}
