"""Webhooks and their deliveries in memory."""

from __future__ import annotations

from headway.kernel.paging import Page, checked
from headway.lifecycle.webhooks.records import Delivery, DeliveryState, Webhook, WebhookState
from headway.testing.memory_journal import MemoryJournal, MemoryRecordStore, MemoryTable


class MemoryWebhookStore(MemoryRecordStore[Webhook]):
    record_type = Webhook

    def all(self) -> list[Webhook]:
        return self._every(lambda webhook: webhook.state is not WebhookState.REMOVED)


class MemoryDeliveryStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._deliveries = MemoryTable[str, Delivery](journal)

    def put(self, delivery: Delivery) -> None:
        self._deliveries.set(delivery.id, delivery)

    def pending(self, webhook: str | None = None) -> list[Delivery]:
        return [
            delivery
            for _, delivery in sorted(self._deliveries.all().items())
            if delivery.state is DeliveryState.PENDING and webhook in (None, delivery.webhook)
        ]

    def list(
        self, webhook: str, *, state: DeliveryState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Delivery]:
        found = [
            delivery
            for name, delivery in sorted(self._deliveries.all().items(), reverse=True)
            if delivery.webhook == webhook and state in (None, delivery.state) and (before is None or name < before)
        ][: checked(limit) + 1]
        return Page(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)
