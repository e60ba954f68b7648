"""Leases in SQL."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Column, Table, select, update

from headway.kernel.clock import from_us, to_us
from headway.kernel.leases import Lease
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.tables import METADATA, TEXT

LEASES = Table(
    "leases",
    METADATA,
    Column("name", TEXT, primary_key=True),
    Column("holder", TEXT, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)


class SqlLeaseStore:
    """A row outlives its lease, so that its token only ever grows; one that was given back has no holder."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine

    def take(self, name: str, holder: str, now: datetime, seconds: float) -> Lease | None:
        with self._engine.transaction() as transaction:
            row = transaction.connection.execute(select(LEASES).where(LEASES.c.name == name)).first()
            runs = row is not None and bool(row.holder) and from_us(row.expires_at) > now
            if row is not None and runs and row.holder != holder:
                return None
            token = 1 if row is None else row.token if runs else row.token + 1
            lease = Lease(name=name, holder=holder, token=token, expires_at=now + timedelta(seconds=seconds))
            values = {"name": name, "holder": holder, "token": token, "expires_at": to_us(lease.expires_at)}
            transaction.connection.execute(self._engine.upsert(LEASES), values)
            return lease

    def give_back(self, lease: Lease) -> None:
        mine = (LEASES.c.name == lease.name) & (LEASES.c.token == lease.token)
        with self._engine.transaction() as transaction:
            transaction.connection.execute(update(LEASES).where(mine).values(holder="", expires_at=0))

    def held(self, name: str, token: int) -> bool:
        query = select(LEASES.c.token).where(LEASES.c.name == name, LEASES.c.holder != "")
        with self._engine.reading() as connection:
            return connection.scalar(query) == token
