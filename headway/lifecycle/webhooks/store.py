"""What must be kept of webhooks, and what carries them out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from headway.kernel.paging import Page
from headway.kernel.sealing import Sealer
from headway.lifecycle.webhooks.records import Attempt, Delivery, DeliveryState, Parcel, Webhook


class WebhookStore(Protocol):
    def put(self, record: Webhook) -> None: ...
    def get(self, identifier: str) -> Webhook | None: ...

    def all(self) -> list[Webhook]:
        """Oldest first, without those that were removed."""
        ...


class DeliveryStore(Protocol):
    """Deliveries are kept beside the records, and not sealed: they say how far the outbox has been read."""

    def put(self, delivery: Delivery) -> None:
        """Keep it, inside an act, replacing the one of the same id."""
        ...

    def pending(self, webhook: str | None = None) -> list[Delivery]:
        """Those under way to one webhook, or to all: there is one at most for each."""
        ...

    def list(
        self, webhook: str, *, state: DeliveryState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Delivery]: ...


class Post(Protocol):
    """Sends parcels over the network, to addresses that `must_be_reachable` lets pass. Never raises."""

    def send(self, parcel: Parcel) -> Attempt: ...


class Outbound(NamedTuple):
    """The way out: `listed` are the hosts that the operator allows besides public ones."""

    post: Post
    sealer: Sealer
    listed: tuple[str, ...] = ()
