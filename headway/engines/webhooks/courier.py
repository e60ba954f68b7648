"""Brings events to webhooks: each webhook in the order of its events, one slow receiver beside the others.

What has been brought is written down under the lease's token. A courier that is killed in between brings the event
again under the same id: at least once, never out of order.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from headway.errors import HeadwayError, LeaseLost
from headway.kernel.clock import Clock
from headway.kernel.leases import Lease, LeaseStore
from headway.lifecycle.platform import Platform
from headway.lifecycle.webhooks.records import Delivery, DeliveryState

_LOG = logging.getLogger("headway.webhooks")
LEASE_S = 30.0
_AT_ONCE = 8
_IN_A_ROW = 100
"""Deliveries to one webhook before the others, if more than `_AT_ONCE` wait, have their turn."""


class Courier:
    def __init__(
        self,
        platform: Platform,
        leases: LeaseStore,
        clock: Clock,
        holder: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._platform, self._leases, self._clock, self._holder = platform, leases, clock, holder
        self._jitter = jitter
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="headway-webhook")
        self._busy: set[str] = set()
        self._lease: Lease | None = None
        self._closing = False

    def step(self) -> None:
        """Begin to bring what is due, to every webhook that is not being brought something already."""
        waiting = [webhook for webhook in self._platform.webhooks.waiting() if webhook not in self._busy]
        lease = self._held() if waiting else None
        if lease is None:
            return
        for webhook in waiting:
            self._busy.add(webhook)
            self._threads.submit(self._serve, webhook, lease)

    def close(self) -> None:
        """Let what is being sent end, and give the lease back."""
        self._closing = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._lease:
            self._leases.give_back(self._lease)

    def _held(self) -> Lease | None:
        """The lease, prolonged when half of its time is over; None while another courier has it."""
        now = self._clock.now()
        if self._lease is None or self._lease.expires_at - now < timedelta(seconds=LEASE_S / 2):
            self._lease = self._leases.take("courier", self._holder, now, LEASE_S)
        return self._lease

    def _serve(self, webhook: str, lease: Lease) -> None:
        try:
            for _ in range(_IN_A_ROW):
                if self._closing or not self._bring(webhook, lease):
                    return
        except LeaseLost:
            self._lease = None
            _LOG.warning("another courier has taken over")
        except HeadwayError as error:
            _LOG.warning("webhook %s: %s", webhook, error)
        except Exception:
            _LOG.exception("webhook %s cannot be told; the others are", webhook)
        finally:
            self._busy.discard(webhook)

    def _bring(self, webhook: str, lease: Lease) -> bool:
        """Whether something was brought, so that there may be more."""
        outgoing = self._platform.webhooks.next_for(webhook, lease)
        if outgoing is None:
            return False
        attempt = self._platform.webhooks.send(outgoing.parcel)
        told = self._platform.webhooks.sent(outgoing, attempt, lease, jitter=self._jitter())
        _say(outgoing.webhook.name, told)
        return told.state is not DeliveryState.PENDING


def _say(name: str, told: Delivery) -> None:
    """Never the URL: it may hold a secret of the receiver's."""
    if told.state is DeliveryState.GIVEN_UP:
        _LOG.warning("webhook %s: %s of %s given up: %s", name, told.event, told.subject, told.error)
