"""Which requests are let in: not too many, not too many of one caller's, none that is too late or waited too long.

Rates are kept by the generic cell rate algorithm (ITU-T I.371), which is a token bucket in one number: the moment at
which the bucket would be full again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import blake3

from headway.errors import BadTensor, DeadlineExceeded, Overloaded, RateExceeded
from headway.kernel.records import encode
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits
from headway.serving.buckets import Buckets, OwnBuckets
from headway.serving.messages import Head

LONGEST_MS = 86_400_000.0
_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


class Rate:
    """Requests of `requests_per_s`, of which `burst` may come at once."""

    def __init__(self, requests_per_s: float, burst: int | None) -> None:
        self.interval_ns = _NS_PER_S / requests_per_s
        self.span_ns = self.interval_ns * (burst or max(1, math.ceil(requests_per_s)))

    def wait_ns(self, full_ns: float, now_ns: int) -> float:
        """How long until one more fits into a bucket that is full at `full_ns`; 0 or less is now."""
        return max(full_ns, now_ns) + self.interval_ns - self.span_ns - now_ns


class Door:
    """Asked once for each request that wants a prediction. Used on the event loop alone.

    `by_turn` tells the moment of arrival for others, too, whose limits it does not know. Workers of a port share
    their `buckets`, so that a rate holds for all of them together however connections are dealt out.
    """

    def __init__(
        self, elapsed_ns: Callable[[], int] = time.perf_counter_ns, *, by_turn: bool = False,
        buckets: Buckets | None = None,
    ) -> None:  # fmt: skip
        self._elapsed_ns, self._by_turn = elapsed_ns, by_turn
        self._buckets = buckets or OwnBuckets()
        self._limits, self._open = UNLIMITED, True
        self._rate: Rate | None = None
        self._caller_rate: Rate | None = None
        self._turn_ns = 0

    def arrived_ns(self) -> int:
        """The moment since which a request that is read now has been waiting, as far as can be known.

        What lies in a socket has no time of arrival. But all that one turn of the event loop reads was there when the
        turn began, so that the time since then is what each of them waited at least.
        """
        if self._limits.most_wait_ms is None and not self._by_turn:
            return self._elapsed_ns()
        if not self._turn_ns:
            self._turn_ns = self._elapsed_ns()
            asyncio.get_running_loop().call_soon(self._end_turn)
        return self._turn_ns

    def _end_turn(self) -> None:
        self._turn_ns = 0

    def is_open(self, limits: Limits) -> bool:
        """Whether these let in whoever sets no deadline."""
        if limits is not self._limits:
            self._adopt(limits)
        return self._open

    def check(self, limits: Limits, head: Head) -> None:
        """Let a request in; raises `RateExceeded`, `DeadlineExceeded`, `Overloaded`, and `BadTensor` for a deadline
        that is none."""
        if limits is not self._limits:
            self._adopt(limits)
        if self._open and not head.deadline:
            return
        now_ns = self._elapsed_ns()
        self.check_time(limits, head, now_ns)
        self._take(head, now_ns)

    def check_time(self, limits: Limits, head: Head, now_ns: int | None = None) -> None:
        """What `check` does apart from rates: for a request that was let in, and had to wait once more."""
        now_ns = self._elapsed_ns() if now_ns is None else now_ns
        check_deadline(expires_ns(head), now_ns)
        waited_ms = (now_ns - head.arrived_ns) / _NS_PER_MS
        if limits.most_wait_ms is not None and waited_ms > limits.most_wait_ms:
            raise Overloaded(
                f"the request waited {waited_ms:.0f} ms, more than {limits.most_wait_ms:g}; try again later",
                retry_after_s=1,
            )

    def _take(self, head: Head, now_ns: int) -> None:
        """One token of the caller's and one of everybody's, or neither."""
        caller, buckets = head.caller or head.key or head.peer, self._buckets
        full_ns = buckets.get(caller) if self._caller_rate else 0.0
        if self._caller_rate:
            _must_fit(self._caller_rate, full_ns, now_ns, "this caller")
        if self._rate:
            everyone_ns = buckets.everyone
            _must_fit(self._rate, everyone_ns, now_ns, "this deployment")
            buckets.everyone = max(everyone_ns, now_ns) + self._rate.interval_ns
        if self._caller_rate:
            buckets.put(caller, max(full_ns, now_ns) + self._caller_rate.interval_ns)

    def _adopt(self, limits: Limits) -> None:
        """Buckets stay as they are while their rates do: each step of a rollout brings a new table."""
        if limits != self._limits:
            self._rate = _rate(limits.requests_per_s, limits.burst)
            self._caller_rate = _rate(limits.caller_requests_per_s, limits.caller_burst)
            self._buckets.begin(int.from_bytes(blake3.blake3(encode(limits)).digest(8)))
        self._limits, self._open = limits, limits == UNLIMITED


def _rate(requests_per_s: float | None, burst: int | None) -> Rate | None:
    return Rate(requests_per_s, burst) if requests_per_s else None


def expires_ns(head: Head) -> float:
    """When the answer is of no use any more, by the clock of `arrived_ns`; raises `BadTensor`."""
    if not head.deadline:
        return math.inf
    try:
        deadline_ms = float(head.deadline)
    except ValueError:
        deadline_ms = -1.0
    if not 0 <= deadline_ms <= LONGEST_MS:
        told = head.deadline[:50].decode("latin-1")
        raise BadTensor(f"Headway-Deadline-Ms must be milliseconds from 0 to {LONGEST_MS:.0f}, not {told!r}")
    return head.arrived_ns + deadline_ms * _NS_PER_MS


def check_deadline(expires_ns: float, now_ns: int) -> None:
    """Raises `DeadlineExceeded`."""
    if now_ns >= expires_ns:
        raise DeadlineExceeded("the deadline of the request was over before it could run; it was not run")


def _must_fit(rate: Rate, full_ns: float, now_ns: int, whose: str) -> None:
    wait_ns = rate.wait_ns(full_ns, now_ns)
    if wait_ns > 0:
        raise RateExceeded(
            f"there are more requests of {whose} than {_NS_PER_S / rate.interval_ns:g} a second; try again later",
            retry_after_s=math.ceil(wait_ns / _NS_PER_S),
        )
