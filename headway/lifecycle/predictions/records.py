"""Predictions and labels: what was asked and answered, by which release, and the truth that comes later."""

from __future__ import annotations

from datetime import datetime

from headway.kernel.blobs import BlobDigest
from headway.kernel.clock import Instant
from headway.kernel.records import Record, Value


class Counts(Value):
    """Requests (rows) of one release in one segment. `latency` counts by upper bound in microseconds."""

    release: str
    requests: int
    errors: int
    latency: dict[int, int]


class Difference(Value):
    """One row that two releases scored, with both scores."""

    prediction: str
    score: float
    rival_score: float


class Comparison(Value):
    """Rows answered by `release` in one segment that `rival` scored too, off their path.

    `cells` counts those by how far the scores are apart: up to each of `TOLERANCES`, then the rest. `failed` have no
    two scores. `largest` are those furthest apart.
    """

    release: str
    rival: str
    cells: tuple[int, ...]
    failed: int = 0
    largest: tuple[Difference, ...] = ()


class Differences(Value):
    """The comparisons of one pair of releases over one hour of events, held against `tolerance`."""

    window: Instant
    """When the hour begins."""
    release: str
    rival: str
    tolerance: float
    equal: int
    """To the bit."""
    within: int
    """Not equal, but no further apart than `tolerance`."""
    different: int
    failed: int
    largest: tuple[Difference, ...]


class Segment(Record, prefix="sg"):
    """A columnar piece of captured predictions. `blob` is Parquet; written once."""

    deployment: str
    blob: BlobDigest
    size: int
    rows: int
    first_event_at: datetime
    last_event_at: datetime
    counts: tuple[Counts, ...]
    comparisons: tuple[Comparison, ...] = ()


class Captured(Value):
    """The index entry of one captured prediction; `row` is its place in the segment."""

    id: str
    deployment: str
    segment: str
    row: int
    release: str
    event_at: datetime
    score: float | None
    mirror_release: str | None = None
    mirror_score: float | None = None
    probabilities: tuple[float, ...] = ()
    """Of a release of several classes: by class, in the order of its signature; `score` is the greatest."""
    mirror_probabilities: tuple[float, ...] = ()


class SegmentContent(Value):
    """What a segment holds, as far as the index wants to know."""

    captured: tuple[Captured, ...]
    counts: tuple[Counts, ...]
    first_event_at: datetime
    last_event_at: datetime
    rows: int
    comparisons: tuple[Comparison, ...] = ()


LabelValue = float | str


class Label(Value):
    prediction: str
    value: LabelValue
    """The number, or the class by its name or number."""
    at: Instant | None = None
    """When the truth was known; now, if left out."""


class AddLabels(Value):
    labels: tuple[Label, ...]


class FindLabels(Value):
    predictions: tuple[str, ...]


class Labelled(Value):
    """Answer to labels: how many joined a prediction, were there already, or name none that was captured."""

    joined: int
    repeated: int
    unknown: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    """Predictions whose label is none of the classes that their release knows: they count as wrong."""


class Quality(Value):
    """Realised quality of one release on one day of events: sums, so that any days can be added up.

    `paired_*` sum over the predictions that `rival` scored too: loss of `release` minus loss of `rival`.
    """

    deployment: str
    release: str
    day: str
    rival: str = ""
    n: int = 0
    loss: float = 0.0
    loss_squares: float = 0.0
    paired_n: int = 0
    paired: float = 0.0
    paired_squares: float = 0.0
