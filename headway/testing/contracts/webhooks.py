"""What holds for every store of webhooks and deliveries."""

from __future__ import annotations

import pytest

from headway.errors import Invalid
from headway.kernel.ledger import verify
from headway.lifecycle.webhooks.records import Delivery, DeliveryState, WebhookState
from headway.testing.contracts.state import State


class WebhookStoreContract:
    def test_what_was_removed_is_kept_but_not_listed(self, state: State) -> None:
        gone, there = state.sample("webhooks"), state.sample("webhooks")
        state.keep("webhooks", gone, there, gone.but(state=WebhookState.REMOVED))
        assert state.stores.webhooks.all() == [there]
        assert state.stores.webhooks.get(gone.id) == gone.but(state=WebhookState.REMOVED)

    def test_deliveries_are_found_by_webhook_and_state(self, state: State) -> None:
        first, second = _delivery(state, "wh_1", 1), _delivery(state, "wh_2", 2)
        ended = _delivery(state, "wh_1", 3).but(state=DeliveryState.DELIVERED, ended_at=state.clock.now())
        _keep(state, first, second, ended)
        assert state.stores.deliveries.pending() == [first, second]
        assert state.stores.deliveries.pending("wh_2") == [second]
        assert state.stores.deliveries.list("wh_1").items == (ended, first)
        assert state.stores.deliveries.list("wh_1", state=DeliveryState.DELIVERED).items == (ended,)
        assert verify(state.stores.ledger) == 0

    def test_a_later_put_of_a_delivery_replaces(self, state: State) -> None:
        delivery = _delivery(state, "wh_1", 1)
        _keep(state, delivery, delivery.but(state=DeliveryState.GIVEN_UP, error="no"))
        assert state.stores.deliveries.pending() == []
        assert state.stores.deliveries.list("wh_1").items[0].error == "no"

    def test_deliveries_come_in_pages(self, state: State) -> None:
        kept = [_delivery(state, "wh_1", number) for number in range(1, 6)]
        _keep(state, *kept)
        page = state.stores.deliveries.list("wh_1", limit=3)
        rest = state.stores.deliveries.list("wh_1", limit=3, before=page.next)
        assert [*page.items, *rest.items] == kept[::-1]
        assert rest.next is None
        with pytest.raises(Invalid, match="limit"):
            state.stores.deliveries.list("wh_1", limit=0)

    def test_a_delivery_is_written_inside_an_act(self, state: State) -> None:
        with pytest.raises(RuntimeError, match="inside"):
            state.stores.deliveries.put(_delivery(state, "wh_1", 1))


def _delivery(state: State, webhook: str, number: int) -> Delivery:
    now = state.clock.now()
    return Delivery(
        id=state.ids("wd"), created_at=now, webhook=webhook, event="change.settled", number=number, subject="ch_1",
        happened_at=now,
    )  # fmt: skip


def _keep(state: State, *deliveries: Delivery) -> None:
    for delivery in deliveries:
        with state.act():
            state.stores.deliveries.put(delivery)
