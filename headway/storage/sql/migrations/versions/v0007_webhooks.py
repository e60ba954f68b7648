"""Webhooks are kept, with what became of each event that they were told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = sa.MetaData()
sa.Table(
    "webhooks",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("webhooks_by_state", "state", "id"),
)
sa.Table(
    "deliveries",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("webhook", _TEXT, nullable=False),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("deliveries_by_webhook", "webhook", "id"),
    sa.Index("deliveries_by_state", "state", "webhook"),
)


def upgrade() -> None:
    _TABLES.create_all(op.get_bind())
