"""What was purged leaves a tombstone; sweeps and retention policies are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = sa.MetaData()
sa.Table(
    "tombstones",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("kind", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("tombstones_by_kind", "kind", "id"),
)
sa.Table(
    "sweeps",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
sa.Table(
    "retention_policies",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)


def upgrade() -> None:
    _TABLES.create_all(op.get_bind())
