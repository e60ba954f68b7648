"""Feature views: what is known of an entity at a moment, defined once for training and for looking up online."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from headway.kernel.blobs import BlobDigest
from headway.kernel.records import Record, Value
from headway.lifecycle.datasets.schema import Kind

Scalar = bool | int | float | str | None
"""A value of a feature, and of a key."""


class WhenStale(StrEnum):
    """What a lookup does with values older than the view's `ttl_s`."""

    NULL = "null"
    """Answers without them, as the training join does."""
    REFUSE = "refuse"
    """Answers with an error."""


class Feature(Value):
    """One feature: a column of the source, or an expression over its columns in polars' SQL (`amount / nights`)."""

    name: str
    expression: str = ""
    """The column of the feature's own name if left out."""


class DefineFeatures(Value):
    """Command: define the feature view `name`, or its next version where it differs from the newest one."""

    name: str
    source: str
    """The dataset that its rows come from."""
    entity: tuple[str, ...]
    """The columns whose values say which entity a row is about."""
    event_time: str
    """The column that says since when a row holds."""
    features: tuple[Feature, ...]
    known_at: str = ""
    """The column that says when a row became known, where that is later: no row is used before."""
    ttl_s: float | None = None
    """How old a value may be to be used, in seconds; None is for ever."""
    when_stale: WhenStale = WhenStale.NULL


class FeatureView(Record, prefix="fv"):
    """One version of a feature view; immutable. See `DefineFeatures` for the fields that are not explained here."""

    name: str
    number: int
    source: str
    entity: tuple[str, ...]
    event_time: str
    features: tuple[Feature, ...]
    known_at: str = ""
    ttl_s: float | None = None
    when_stale: WhenStale = WhenStale.NULL

    @property
    def label(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def definition(self) -> DefineFeatures:
        return DefineFeatures(
            name=self.name, source=self.source, entity=self.entity, event_time=self.event_time, features=self.features,
            known_at=self.known_at, ttl_s=self.ttl_s, when_stale=self.when_stale,
        )  # fmt: skip


class OnlineRow(Value):
    """The newest values of one entity. Not a record: it can be made again from the dataset."""

    entity: tuple[Scalar, ...]
    event_at: datetime
    values: tuple[Scalar, ...]
    """One per feature, in the view's order."""

    def age_s(self, at: datetime) -> float:
        return (at - self.event_at).total_seconds()


class Latest(Value):
    """The newest row of each entity as of a moment, as it was read off a dataset version."""

    rows: tuple[OnlineRow, ...]
    ahead: int = 0
    """Rows that hold, or become known, only after the moment: they are not in `rows`."""
    incomplete: int = 0
    """Rows without an entity or a time: they are never used."""


class Materialisation(Record, prefix="fm"):
    """A view's newest values were read off a dataset version, as of a moment, to be looked up online."""

    view: str
    """The id of the view's version."""
    version: str
    """The id of the dataset version."""
    as_of: datetime
    entities: int
    written: int
    """Entities whose values are other than before."""
    removed: int
    """Entities that are there no more."""
    ahead: int = 0
    incomplete: int = 0
    snapshot: BlobDigest | None = None
    """The values as a file, for model servers; only the newest of a view keeps it."""


class Shipped(Value):
    """What a model server is told of a feature view that it looks features up in."""

    view: FeatureView
    snapshot: str = ""
    """The blob of the values; empty before the view was materialised."""
    version: str = ""
    """The id of the dataset version that they are from."""


class LookUp(Value):
    """Command: the features of these entities, each a dict of the view's entity columns."""

    entities: tuple[dict[str, Any], ...]


class Found(Value):
    """What is known of one entity. A value that is too old is None, and so is all of an entity that is not known."""

    values: dict[str, Scalar]
    event_at: datetime | None = None
    age_s: float | None = None
    stale: bool = False


class LookedUp(Value):
    """The answer to a lookup, in the order of the question."""

    view: str
    version: str
    """The id of the dataset version that the values are from."""
    as_of: datetime
    """The moment of materialisation: what happened later is not in the values."""
    found: tuple[Found, ...]


FEATURE_KINDS = (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.STR)
