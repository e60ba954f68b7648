"""Webhooks, over a connection."""

from __future__ import annotations

from collections.abc import Sequence

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.webhooks.records import AddWebhook, Attempt, Delivery, DeliveryState, Webhook


class Added(Value):
    """A new webhook and the secret that signs its requests, which is shown this once."""

    webhook: Webhook
    secret: str


class Webhooks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, name: str, url: str, events: Sequence[str], *, secret: str = "", about: str = "") -> Added:
        """Tell `url` of `events` from now on; without a `secret` one is made."""
        command = AddWebhook(name=name, url=url, events=tuple(events), secret=secret, about=about)
        return self._connection.post("/v1/webhooks", Added, command)

    def get(self, reference: str) -> Webhook:
        return self._connection.get(f"/v1/webhooks/{segment(reference)}", Webhook)

    def test(self, reference: str, event: str | None = None) -> Attempt:
        """Send an example at once, and say what was answered."""
        return self._connection.post(f"/v1/webhooks/{segment(reference)}/test", Attempt, {"event": event})

    def remove(self, reference: str) -> None:
        self._connection.delete(f"/v1/webhooks/{segment(reference)}")

    def deliveries(
        self, reference: str, *, state: DeliveryState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Delivery]:
        path = f"/v1/webhooks/{segment(reference)}/deliveries"
        return self._connection.get(path, Page[Delivery], state=state, limit=limit, before=before)

    def list(self) -> Page[Webhook]:
        return self._connection.get("/v1/webhooks", Page[Webhook])
