"""What holds for the store of newest values."""

from __future__ import annotations

import contextlib

import pytest

from headway.lifecycle.feature_views.records import OnlineRow
from headway.testing.contracts.state import State


class OnlineStoreContract:
    def test_values_come_back_by_view_and_key(self, state: State) -> None:
        rows = {f"[{number}]": self._row(state, number) for number in range(1200)}
        with state.act():
            state.stores.online.change("fv_1", rows, [])
            state.stores.online.change("fv_2", {"[1]": self._row(state, 7)}, [])
        assert state.stores.online.all("fv_1") == rows
        assert state.stores.online.find("fv_1", ["[3]", "[x]", *rows]) == rows
        assert state.stores.online.find("fv_2", ["[1]", "[2]"]) == {"[1]": self._row(state, 7)}
        assert state.stores.online.find("fv_1", []) == {}

    def test_what_is_written_replaces_and_what_is_removed_is_gone(self, state: State) -> None:
        online = state.stores.online
        with state.act():
            online.change("fv_1", {"[1]": self._row(state, 1), "[2]": self._row(state, 2)}, [])
        with state.act():
            online.change("fv_1", {"[1]": self._row(state, 3)}, ["[2]", "[9]"])
        assert online.all("fv_1") == {"[1]": self._row(state, 3)}

    def test_values_of_every_kind_are_kept_as_they_are(self, state: State) -> None:
        values = (None, True, 0, -(2**63), 2**64 - 1, 0.1, float("inf"), "", "ä\0'\"")
        row = OnlineRow(entity=("a", 1.5, False), event_at=state.clock.now(), values=values)
        with state.act():
            state.stores.online.change("fv_1", {'["a\'"]': row}, [])
        found = state.stores.online.find("fv_1", ['["a\'"]'])['["a\'"]']
        assert found == row
        assert [type(value) for value in found.values] == [type(value) for value in values]

    def test_nothing_is_changed_outside_an_act_or_by_one_that_fails(self, state: State) -> None:
        with pytest.raises(RuntimeError, match="inside"):
            state.stores.online.change("fv_1", {"[1]": self._row(state, 1)}, [])
        with contextlib.suppress(ValueError), state.act():
            state.stores.online.change("fv_1", {"[1]": self._row(state, 1)}, [])
            raise ValueError("the act fails")
        assert state.stores.online.all("fv_1") == {}

    def _row(self, state: State, number: int) -> OnlineRow:
        return OnlineRow(entity=(number,), event_at=state.clock.now(), values=(float(number), "a"))
