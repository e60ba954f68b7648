"""Predictions of several classes keep the probability of each; a label may be a class by its name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("predictions", sa.Column("probabilities", _TEXT))
    op.add_column("predictions", sa.Column("mirror_probabilities", _TEXT))
    op.add_column("labels", sa.Column("name", _TEXT))
