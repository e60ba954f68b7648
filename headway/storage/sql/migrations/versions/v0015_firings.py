"""What triggers have taken notice of is kept, with what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = sa.MetaData()
sa.Table(
    "firings",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("trigger", _TEXT, nullable=False),
    sa.Column("key", _TEXT, nullable=False),
    sa.Column("cause", _TEXT, nullable=False),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("slot_at", sa.BigInteger),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("firings_by_trigger", "trigger", "id"),
    sa.Index("firings_by_state", "state", "id"),
    sa.Index("firings_one_trigger_key", "trigger", "key", unique=True),
)


def upgrade() -> None:
    _TABLES.create_all(op.get_bind())
