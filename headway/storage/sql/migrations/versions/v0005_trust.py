"""Operators' words that a model of unknown content may be run are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = sa.MetaData()
sa.Table(
    "trusts",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("blob", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("trusts_one_blob", "blob", unique=True),
)


def upgrade() -> None:
    _TABLES.create_all(op.get_bind())
