"""What steps print is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "step_logs",
        sa.Column("run", _TEXT, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("step", _TEXT, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("text", _TEXT, nullable=False),
    )
