"""The composition root: the one place where a storage is picked and everything is wired together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from headway.engines.calendar import CronCalendar
from headway.engines.signing import Ed25519Signer
from headway.engines.tables.readers import Readers
from headway.engines.webhooks.post import GuardedPost
from headway.engines.webhooks.sealing import AesSealer
from headway.kernel.blobs import BlobStore
from headway.kernel.clock import Clock, SystemClock
from headway.kernel.ids import Ids, time_sorted
from headway.kernel.journal import Journal
from headway.lifecycle.platform import Platform, wire
from headway.lifecycle.rollouts.target import Target
from headway.lifecycle.stores import Stores
from headway.lifecycle.webhooks.store import Outbound
from headway.server.blobs import QuotaBlobStore
from headway.server.extras import Tables
from headway.server.home import Home
from headway.server.ingest import Ingest
from headway.server.metrics import CountedJournal, Counters
from headway.server.settings import Settings
from headway.server.tokens import ensure_tokens
from headway.storage.blobs import open_blobs
from headway.storage.leftovers import FolderLeftovers
from headway.storage.sql.stores import open_stores


class Engine(Protocol):
    """A loop around the rules, in a thread of its own."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Return once its step has ended."""
        ...


class WaitingJournal(Journal, Protocol):
    def wait(self, timeout_s: float) -> bool:
        """Sleep until an act of this process that emitted an event is committed; False when the time is over."""
        ...


@dataclass(frozen=True)
class Application:
    """Everything wired; engines and a target are added with `dataclasses.replace` before it serves."""

    settings: Settings
    home: Home
    platform: Platform
    stores: Stores
    journal: WaitingJournal
    blobs: BlobStore
    counters: Counters
    tables: Tables
    clock: Clock
    ids: Ids
    ingest: Ingest
    close: Callable[[], None]
    """Write what is waiting, end the readers of tables and close the database."""
    target: Target | None = None
    engines: tuple[Engine, ...] = ()

    def start(self) -> None:
        for engine in self.engines:
            engine.start()

    def stop(self) -> None:
        """Stop the engines, the last one first."""
        for engine in reversed(self.engines):
            engine.stop()


def compose(settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> Application:
    """Open the home of `settings`, making it and its tokens at the first start.

    Raises `BadSettings` for a home or a database that cannot be, `Unavailable` for one that does not answer.
    """
    clock = clock or SystemClock()
    ids = ids or time_sorted(clock)
    home = Home(settings.home)
    home.prepare()
    engine, journal, stores = open_stores(settings.database or home.database, clock, home.anchor)
    try:
        blobs, counters, tables = open_blobs(home.blobs), Counters(), Tables(Readers())
        platform = wire(
            stores,
            CountedJournal(journal, counters),
            blobs,
            inspector=tables,
            reader=tables,
            histories=tables,
            signer=Ed25519Signer(home.signing_key),
            leftovers=FolderLeftovers(home.uploads, home.blobs),
            outbound=_outbound(settings, home),
            calendar=CronCalendar(),
            clock=clock,
            ids=ids,
        )
        ensure_tokens(home, platform.access, stores.tokens)
    except BaseException:
        engine.close()
        raise
    ingest = Ingest(platform.metrics.add_all, journal.together)

    def close() -> None:
        ingest.close()
        tables.close()
        engine.close()

    filled = QuotaBlobStore(blobs, platform.quotas)
    return Application(settings, home, platform, stores, journal, filled, counters, tables, clock, ids, ingest, close)


def _outbound(settings: Settings, home: Home) -> Outbound:
    return Outbound(GuardedPost(settings.webhook_hosts), AesSealer(home.webhook_key), settings.webhook_hosts)
