"""The newest row of each entity as of a moment: what the point-in-time join gives to a row of that moment."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from headway.engines.feature_views.history import EVENT, ROW, USABLE, features_of, history
from headway.engines.tables.frames import read_table
from headway.lifecycle.feature_views.records import DefineFeatures, Latest, OnlineRow


def latest_of(data: bytes, view: DefineFeatures, as_of: datetime) -> Latest:
    """What lookups need of a table in Parquet bytes. Raises `Invalid` as `history` does."""
    frame = read_table(data)
    complete = history(frame, view, every=True)
    known = history(frame, view).filter(pl.col(USABLE) <= as_of)
    newest = known.unique(view.entity, keep="last", maintain_order=True)
    features = features_of(frame, view)[newest[ROW]]
    rows = zip(newest.select(view.entity).iter_rows(), newest[EVENT], features.iter_rows(), strict=True)
    return Latest(
        rows=tuple(OnlineRow(entity=entity, event_at=event_at, values=values) for entity, event_at, values in rows),
        ahead=complete.filter(pl.col(USABLE) > as_of).height,
        incomplete=frame.height - complete.height,
    )
