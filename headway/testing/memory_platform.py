"""The whole platform in memory, with stand-ins for all that is outside of it, for tests of what is built on it.

    opened = open_platform()
    opened.platform.deployments.declare("late", "production", "late", by=SYSTEM)

A dataset's bytes are the JSON of its `Summary`, a segment's those of its `SegmentContent`: no frame library is needed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from headway.errors import GateRefused, Invalid, Unavailable
from headway.kernel.records import UNREADABLE, encode
from headway.lifecycle.changes.calendar import Calendar
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.inspector import Shared
from headway.lifecycle.datasets.profile import Layout, Profile
from headway.lifecycle.datasets.reference import Reference, merged, read_reference
from headway.lifecycle.datasets.schema import Summary
from headway.lifecycle.feature_views.records import DefineFeatures, Latest, OnlineRow
from headway.lifecycle.platform import Platform, wire
from headway.lifecycle.predictions.records import SegmentContent
from headway.lifecycle.releases.records import Envelope
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.lifecycle.rollouts.target import Endpoint
from headway.lifecycle.stores import Stores
from headway.lifecycle.webhooks.records import Attempt, Parcel
from headway.lifecycle.webhooks.store import Outbound
from headway.testing.memory import FrozenClock, counted_ids, open_memory
from headway.testing.memory_kernel import MemoryBlobStore
from headway.testing.memory_retention import NoLeftovers

Kind = TypeVar("Kind", Summary, SegmentContent)


class JsonTables:
    """Looks into tables that are written as JSON. `references` gives, by a table's bytes, what it is profiled as."""

    def __init__(self) -> None:
        self.references: dict[bytes, Reference] = {}
        self.newest: dict[bytes, tuple[OnlineRow, ...]] = {}

    def summarise(self, data: bytes) -> Summary:
        return _read(data, Summary)

    def reference(self, data: bytes, contract: Contract | None) -> bytes:
        layout = Layout(columns={})
        empty = Reference(layout=layout, whole=Profile(layout=layout.digest, rows=0, columns={}))
        return encode(self.references.get(data, empty))

    def latest(self, data: bytes, view: DefineFeatures, as_of: datetime) -> Latest:
        """`newest` says it, by a table's bytes; rows after `as_of` are left out."""
        rows = self.newest.get(data, ())
        return Latest(rows=tuple(row for row in rows if row.event_at <= as_of))

    def packed(self, rows: Mapping[str, OnlineRow]) -> bytes:
        return encode(rows)

    def extended(self, reference: bytes, data: bytes, contract: Contract | None) -> bytes:
        return encode(merged(read_reference(reference), read_reference(self.reference(data, contract))))

    def joined(self, parts: Sequence[bytes]) -> bytes:
        found = [_read(part, Summary) for part in parts]
        return encode(found[0].but(rows=sum(summary.rows for summary in found)))

    def shared(self, parts: Sequence[bytes], data: bytes) -> Shared:
        """None is: these tables have no rows of their own."""
        return Shared()

    def read(self, deployment: str, segment: str, data: bytes) -> SegmentContent:
        content = _read(data, SegmentContent)
        named = tuple(one.but(deployment=deployment, segment=segment) for one in content.captured)
        return content.but(captured=named)


class PlainSealer:
    """Keeps a secret beside its place, backwards, so that it is not the secret."""

    def seal(self, secret: str, place: str) -> str:
        return f"{place}/{secret}"[::-1]

    def unseal(self, sealed: str, place: str) -> str:
        found, _, secret = sealed[::-1].partition("/")
        if found != place:
            raise Unavailable(f"this secret is not that of {place}")
        return secret


class CountedCalendar:
    """Knows one kind of line, a number: due each so many seconds since 1970, in whatever time zone."""

    def knows(self, time_zone: str) -> bool:
        return True

    def after(self, line: str, time_zone: str, since: datetime, most: int) -> list[datetime]:
        first = int(since.timestamp()) // int(line) + 1
        return [_moment(number * int(line)) for number in range(first, first + most)]

    def within(self, line: str, time_zone: str, since: datetime, until: datetime, most: int) -> list[datetime]:
        last = int(until.timestamp()) // int(line)
        first = max(int(since.timestamp()) // int(line), last - most) + 1
        return [_moment(number * int(line)) for number in range(first, last + 1)]

    def day(self, moment: datetime, time_zone: str) -> str:
        return moment.date().isoformat()


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@dataclass
class MemoryPost:
    """Sends nothing: `sent` holds the parcels, and `answers`, while there are some, what they are answered."""

    sent: list[Parcel] = field(default_factory=list)
    answers: list[Attempt] = field(default_factory=list)

    def send(self, parcel: Parcel) -> Attempt:
        self.sent.append(parcel)
        return self.answers.pop(0) if self.answers else Attempt(status=200)


class PlainSigner:
    """Signs without a key: the envelope holds the payload, and `check` gives it back unless it was changed."""

    def sign(self, payload_type: str, payload: bytes) -> Envelope:
        text = base64.b64encode(payload).decode()
        return Envelope(payload_type=payload_type, payload=text, key="none", signature=text)

    def check(self, envelope: Envelope) -> bytes:
        if envelope.signature != envelope.payload:
            raise GateRefused("the payload is not the one that was signed")
        return base64.b64decode(envelope.payload)


@dataclass
class MemoryTarget:
    """Serves what was applied last; `ready`, `lag` (generations behind) and `ends` (of its processes) make it a worse
    one."""

    ready: bool = True
    lag: int = 0
    ends: int = 0
    tables: dict[str, RoutingTable] = field(default_factory=dict)

    def apply(self, table: RoutingTable) -> None:
        self.tables[table.deployment] = table

    def observe(self, deployment: str) -> Endpoint | None:
        table = self.tables.get(deployment)
        if table is None:
            return None
        return Endpoint(
            deployment=deployment, url="memory:", generation=table.generation - self.lag, ready=self.ready,
            ends=self.ends,
        )  # fmt: skip

    def close(self) -> None:
        self.tables.clear()


@dataclass(frozen=True)
class OpenedPlatform:
    platform: Platform
    stores: Stores
    clock: FrozenClock
    tables: JsonTables
    post: MemoryPost


def open_platform(calendar: Calendar | None = None) -> OpenedPlatform:
    """An empty platform of its own, on a clock that stands still."""
    clock, tables, post = FrozenClock(), JsonTables(), MemoryPost()
    journal, stores = open_memory(clock)
    platform = wire(
        stores, journal, MemoryBlobStore(clock), inspector=tables, reader=tables, histories=tables,
        signer=PlainSigner(), leftovers=NoLeftovers(), outbound=Outbound(post, PlainSealer()),
        calendar=calendar or CountedCalendar(), clock=clock, ids=counted_ids(),
    )  # fmt: skip
    return OpenedPlatform(platform, stores, clock, tables, post)


def _read(data: bytes, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise Invalid(f"these bytes are no {kind.__name__} as JSON: {error}") from None
