"""Webhooks: who is told of which events, and what became of each telling."""

from __future__ import annotations

from datetime import datetime

from headway.kernel.records import Record, State, Value


class WebhookState(State):
    ACTIVE = "active"
    DISABLED = "disabled"
    """Told nothing; what happens meanwhile is not told later either."""
    REMOVED = "removed"


class Webhook(Record, prefix="wh"):
    """An address that is told of `events`, one after the other in the order of their happening."""

    name: str
    url: str
    events: tuple[str, ...]
    about: str = ""
    state: WebhookState = WebhookState.ACTIVE
    signed: bool = False
    """Whether it has a secret, with which each request is signed."""
    sealed_secret: str = ""
    """The secret, encrypted with a key of the home; never shown."""
    updated_at: datetime | None = None


class AddWebhook(Value):
    """Command: tell `url` of `events`. Without a `secret` one is made."""

    name: str
    url: str
    events: tuple[str, ...]
    secret: str = ""
    about: str = ""


class DeliveryState(State):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Delivery(Record, prefix="wd"):
    """One event on its way to one webhook: sent again under the same id until it is answered with 2xx or given up."""

    webhook: str
    event: str
    number: int
    """Of the event in the outbox."""
    subject: str
    happened_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    status: int = 0
    """What the last answer said; 0 while there was none."""
    error: str = ""


class Parcel(Value):
    """One request as it is sent: a POST of `body` to `url`."""

    url: str
    headers: dict[str, str]
    body: bytes


class Attempt(Value):
    """What came of sending a parcel once. `status` is 0 when there was no answer, and `error` then says why."""

    status: int = 0
    error: str = ""
    answer: str = ""
    """The beginning of what was answered."""
    retry_after_s: float = 0.0
    hopeless: bool = False
    """The address is one that is never sent to."""

    @property
    def delivered(self) -> bool:
        return 200 <= self.status < 300
