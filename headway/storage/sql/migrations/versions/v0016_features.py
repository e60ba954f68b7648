"""Feature views are kept, with the newest values of their entities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = sa.MetaData()
sa.Table(
    "feature_views",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("name", _TEXT, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("feature_views_one_name_number", "name", "number", unique=True),
)
sa.Table(
    "materialisations",
    _TABLES,
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("view", _TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("materialisations_by_view", "view", "id"),
)
sa.Table(
    "online_rows",
    _TABLES,
    sa.Column("view", _TEXT, primary_key=True),
    sa.Column("entity", _TEXT, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)


def upgrade() -> None:
    _TABLES.create_all(op.get_bind())
