"""Webhooks in SQL, and their deliveries, which the ledger does not seal."""

from __future__ import annotations

import msgspec
from sqlalchemy import Column, Index, LargeBinary, Table, select

from headway.kernel.paging import Page, checked
from headway.kernel.records import encode
from headway.lifecycle.webhooks.records import Delivery, DeliveryState, Webhook, WebhookState
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import METADATA, TEXT, RecordTable, SqlRecordStore

WEBHOOKS = RecordTable("webhooks", Webhook, "state", index=["state"])
DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("webhook", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("deliveries_by_webhook", "webhook", "id"),
    Index("deliveries_by_state", "state", "webhook"),
)
_read = msgspec.json.Decoder(Delivery).decode


class SqlWebhookStore(SqlRecordStore[Webhook]):
    table = WEBHOOKS

    def all(self) -> list[Webhook]:
        return self._every(WEBHOOKS.rows.c.state != WebhookState.REMOVED)


class SqlDeliveryStore:
    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    def put(self, delivery: Delivery) -> None:
        row = {"id": delivery.id, "webhook": delivery.webhook, "state": delivery.state, "body": encode(delivery)}
        with self._engine.writing() as connection:
            connection.execute(self._engine.upsert(DELIVERIES), row)

    def pending(self, webhook: str | None = None) -> list[Delivery]:
        query = select(DELIVERIES.c.body).where(DELIVERIES.c.state == DeliveryState.PENDING)
        if webhook is not None:
            query = query.where(DELIVERIES.c.webhook == webhook)
        with self._engine.reading() as connection:
            return [_read(body) for body in connection.scalars(query.order_by(DELIVERIES.c.id))]

    def list(
        self, webhook: str, *, state: DeliveryState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Delivery]:
        query = select(DELIVERIES.c.body).where(DELIVERIES.c.webhook == webhook)
        if state is not None:
            query = query.where(DELIVERIES.c.state == state)
        if before is not None:
            query = query.where(DELIVERIES.c.id < before)
        query = query.order_by(DELIVERIES.c.id.desc()).limit(checked(limit) + 1)
        with self._engine.reading() as connection:
            found = [_read(body) for body in connection.scalars(query)]
        return Page(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)
