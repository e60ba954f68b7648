"""What one can do with webhooks, and how the outbox is read for each of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from headway.errors import AlreadyExists, LeaseLost, NotFound
from headway.kernel.access import SYSTEM, Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.events import Event, EventStore
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.leases import Lease, LeaseStore
from headway.kernel.paging import Page
from headway.kernel.version import VERSION
from headway.lifecycle.webhooks.addresses import destination
from headway.lifecycle.webhooks.records import (
    AddWebhook,
    Attempt,
    Delivery,
    DeliveryState,
    Parcel,
    Webhook,
    WebhookState,
)
from headway.lifecycle.webhooks.rules import after, checked_about, checked_name, checked_secret, signature
from headway.lifecycle.webhooks.store import DeliveryStore, Outbound, WebhookStore
from headway.lifecycle.webhooks.topics import body_of, checked_topics, sample_of, topic_of

_PAGE = 500
_MARKED_EVERY = 1000
"""Events that do not concern a webhook are passed over in memory, and written down no more often than this."""


class Outgoing(NamedTuple):
    """What a webhook is to be sent next."""

    webhook: Webhook
    delivery: Delivery
    parcel: Parcel


class WebhookService:
    def __init__(
        self,
        journal: Journal,
        store: WebhookStore,
        deliveries: DeliveryStore,
        events: EventStore,
        leases: LeaseStore,
        outbound: Outbound,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._store, self._deliveries = journal, store, deliveries
        self._events, self._leases = events, leases
        self._post, self._sealer, self._listed = outbound
        self._clock, self._ids = clock, ids
        self._read: dict[str, int] = {}

    def add(self, command: AddWebhook, *, by: Actor, state: WebhookState = WebhookState.ACTIVE) -> Webhook:
        """A new webhook, told of what happens from now on. Raises `AlreadyExists` for a name that is taken, `Refused`
        for an address that is not public, `Invalid`."""
        by.must(Permission.OPERATE)
        name, events = checked_name(command.name), checked_topics(command.events)
        destination(command.url, self._listed)
        secret, about = checked_secret(command.secret), checked_about(command.about)
        with self._journal.act(by.name, "webhook.add") as act:
            self._refuse_taken(name)
            now, identifier = self._clock.now(), self._ids(Webhook.prefix)
            webhook = Webhook(
                id=identifier, created_at=now, updated_at=now, name=name, url=command.url, events=events, about=about,
                state=state,
                signed=bool(secret), sealed_secret=self._sealer.seal(secret, identifier) if secret else "",
            )  # fmt: skip
            self._events.mark(_listener(identifier), self._events.last())
            return act.save(self._store, webhook)

    def fresh_secret(self) -> str:
        return "whsec_" + secrets.token_urlsafe(32)

    def get(self, reference: str, *, by: Actor) -> Webhook:
        """By id or name. Its URL may hold a secret of the receiver's, so it takes the permission to change it."""
        by.must(Permission.OPERATE)
        return self._found(reference)

    def change(
        self, reference: str, *, by: Actor, name: str | None = None, url: str | None = None,
        events: tuple[str, ...] | None = None, about: str | None = None, secret: str | None = None,
        state: WebhookState | None = None,
    ) -> Webhook:  # fmt: skip
        """Change what is given. One that becomes active again is told of what happens from then on."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "webhook.change") as act:
            before = self._found(reference)
            if name is not None and checked_name(name) != before.name:
                self._refuse_taken(name)
            if url is not None:
                destination(url, self._listed)
            changes = {
                "name": name, "url": url, "state": state,
                "events": None if events is None else checked_topics(events),
                "about": None if about is None else checked_about(about),
                "signed": True if secret else None,
                "sealed_secret": self._sealer.seal(checked_secret(secret), before.id) if secret else None,
            }  # fmt: skip
            kept = {key: value for key, value in changes.items() if value is not None}
            webhook = before.but(**kept, updated_at=self._clock.now())
            if webhook.state is not before.state:
                self._start_anew(before, f"the webhook became {webhook.state}")
            return act.save(self._store, webhook)

    def remove(self, reference: str, *, by: Actor) -> Webhook:
        """Tell it nothing any more, and forget its secret."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "webhook.remove") as act:
            before = self._found(reference)
            self._start_anew(before, "the webhook was removed")
            gone = before.but(state=WebhookState.REMOVED, sealed_secret="", updated_at=self._clock.now())
            return act.save(self._store, gone)

    def deliveries(
        self, reference: str, *, by: Actor, state: DeliveryState | None = None, limit: int = 100,
        before: str | None = None,
    ) -> Page[Delivery]:  # fmt: skip
        """What became of what it was to be told, newest first."""
        return self._deliveries.list(self.get(reference, by=by).id, state=state, limit=limit, before=before)

    def test(self, reference: str, event: str | None = None, *, by: Actor) -> Attempt:
        """Send an example at once, and once; it is no delivery."""
        by.must(Permission.OPERATE)
        webhook = self._found(reference)
        topic = checked_topics([event])[0] if event else webhook.events[0]
        body = sample_of(topic, self._clock.now().isoformat())
        return self._post.send(self._parcel(webhook, self._ids(Delivery.prefix), body))

    def waiting(self) -> list[str]:
        """The webhooks for which there may be something to do now."""
        last, now = self._events.last(), self._clock.now()
        pending = {delivery.webhook: delivery for delivery in self._deliveries.pending()}
        found = []
        for webhook in self._store.all():
            delivery = pending.get(webhook.id)
            due = self._read.get(webhook.id, -1) < last if delivery is None else _is_due(delivery, now)
            if due and webhook.state is WebhookState.ACTIVE:
                found.append(webhook.id)
        return found

    def next_for(self, identifier: str, fence: Lease) -> Outgoing | None:
        """What this webhook is to be sent now; None while it has to wait or there is nothing. What is new is written
        down before it is first sent, so that a crash sends it again under the same id. Raises `LeaseLost`."""
        webhook = self._store.get(identifier)
        if webhook is None or webhook.state is not WebhookState.ACTIVE:
            return None
        delivery = self._pending(identifier) or self._begun(webhook, fence)
        if delivery is None or not _is_due(delivery, self._clock.now()):
            return None
        (event,) = self._events.after(delivery.number - 1, 1)
        body = body_of(event, delivery.event)
        return Outgoing(webhook, delivery, self._parcel(webhook, delivery.id, body))

    def sent(self, outgoing: Outgoing, attempt: Attempt, fence: Lease, *, jitter: float) -> Delivery:
        """Write down what came of sending it. Raises `LeaseLost`."""
        with self._journal.act(SYSTEM.name, "webhook.deliver"):
            self._must_hold(fence)
            current = self._pending(outgoing.webhook.id)
            if current is None or current.id != outgoing.delivery.id:  # given up meanwhile, with its webhook
                return outgoing.delivery
            told = after(current, attempt, self._clock.now(), jitter)
            self._deliveries.put(told)
            if told.state is not DeliveryState.PENDING:
                self._events.mark(_listener(outgoing.webhook.id), told.number)
            return told

    def send(self, parcel: Parcel) -> Attempt:
        return self._post.send(parcel)

    def list(self, *, by: Actor) -> list[Webhook]:
        by.must(Permission.OPERATE)
        return self._store.all()

    def _begun(self, webhook: Webhook, fence: Lease) -> Delivery | None:
        """A delivery of the next event that this webhook is told of."""
        heard = self._events.heard(_listener(webhook.id))
        read = max(heard, self._read.get(webhook.id, 0))
        for event, topic in self._news(read):
            if topic in webhook.events:
                return self._written(webhook, event, topic, fence)
            read = event.number
        self._read[webhook.id] = read
        if read - heard >= _MARKED_EVERY:
            with self._journal.act(SYSTEM.name, "webhook.mark"):
                self._must_hold(fence)
                self._events.mark(_listener(webhook.id), read)
        return None

    def _written(self, webhook: Webhook, event: Event, topic: str, fence: Lease) -> Delivery | None:
        with self._journal.act(SYSTEM.name, "webhook.begin"):
            self._must_hold(fence)
            current = self._store.get(webhook.id)
            if current != webhook:
                return None
            delivery = Delivery(
                id=self._ids(Delivery.prefix), created_at=self._clock.now(), webhook=webhook.id, event=topic,
                number=event.number, subject=event.subject, happened_at=event.at,
            )  # fmt: skip
            self._deliveries.put(delivery)
            return delivery

    def _news(self, number: int) -> Iterator[tuple[Event, str | None]]:
        while page := self._events.after(number, _PAGE):
            yield from ((event, topic_of(event)) for event in page)
            number = page[-1].number

    def _parcel(self, webhook: Webhook, delivery: str, body: bytes) -> Parcel:
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json", "User-Agent": f"Headway/{VERSION}",
            "X-MLflow-Delivery-Id": delivery, "X-MLflow-Timestamp": timestamp,
        }  # fmt: skip
        if webhook.sealed_secret:
            secret = self._sealer.unseal(webhook.sealed_secret, webhook.id)
            headers["X-MLflow-Signature"] = signature(secret, delivery, timestamp, body)
        return Parcel(url=webhook.url, headers=headers, body=body)

    def _start_anew(self, webhook: Webhook, why: str) -> None:
        """Inside an act: give up what is under way, and begin with what happens next."""
        pending = self._pending(webhook.id)
        if pending:
            now = self._clock.now()
            self._deliveries.put(
                pending.but(state=DeliveryState.GIVEN_UP, error=why, ended_at=now, next_attempt_at=None)
            )
        self._events.mark(_listener(webhook.id), self._events.last())

    def _pending(self, webhook: str) -> Delivery | None:
        return next(iter(self._deliveries.pending(webhook)), None)

    def _must_hold(self, fence: Lease) -> None:
        if not self._leases.held(fence.name, fence.token):
            raise LeaseLost("another courier has taken over")

    def _refuse_taken(self, name: str) -> None:
        if any(webhook.name == name for webhook in self._store.all()):
            raise AlreadyExists(f"there is a webhook named {name!r} already; remove it first or choose another name")

    def _found(self, reference: str) -> Webhook:
        for webhook in self._store.all():
            if reference in (webhook.id, webhook.name):
                return webhook
        raise NotFound(f"no webhook {reference[:100]!r}; `headway webhook list` shows what there is")


def _is_due(delivery: Delivery, now: datetime) -> bool:
    return delivery.next_attempt_at is None or delivery.next_attempt_at <= now


def _listener(webhook: str) -> str:
    return f"webhook/{webhook}"
