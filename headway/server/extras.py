"""What needs the extra [ml], checked at its first use: a control plane without frames still does everything else."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec

from headway.engines.feature_views.snapshots import packed
from headway.engines.tables.questions import (
    ContentOf,
    DayProfileOf,
    ExtendedOf,
    JoinedOf,
    LatestOf,
    ReferenceOf,
    SharedOf,
    SkewedDayOf,
    SummaryOf,
)
from headway.engines.tables.readers import Readers
from headway.errors import ExtraMissing
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.inspector import Shared
from headway.lifecycle.datasets.profile import Layout, Profile
from headway.lifecycle.datasets.schema import Summary
from headway.lifecycle.feature_views.records import DefineFeatures, Latest, OnlineRow
from headway.lifecycle.monitors.skew import SkewedDay
from headway.lifecycle.predictions.records import SegmentContent


@functools.cache
def need(*packages: str) -> None:
    """Raises `ExtraMissing`, which says what to install, unless `packages` are there; none of them is loaded."""
    for name in packages:
        if find_spec(name) is None:
            raise ExtraMissing(f"tables need {name}, which is not installed: pip install 'headway[ml]'")


class Tables:
    """What the control plane wants to know of tables, read in processes of their own.

    Implements `Inspector`, `SegmentReader` and `HistoryReader`; `profile_day` and `skewed_day` are an observer's.
    """

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def summarise(self, data: bytes) -> Summary:
        return self._ready().ask(SummaryOf(data=data), Summary)

    def reference(self, data: bytes, contract: Contract | None) -> bytes:
        return self._ready().ask(ReferenceOf(data=data, contract=contract), bytes)

    def extended(self, reference: bytes, data: bytes, contract: Contract | None) -> bytes:
        return self._ready().ask(ExtendedOf(reference=reference, data=data, contract=contract), bytes)

    def joined(self, parts: Sequence[bytes]) -> bytes:
        return self._ready().ask(JoinedOf(parts=tuple(parts)), bytes)

    def shared(self, parts: Sequence[bytes], data: bytes) -> Shared:
        return self._ready().ask(SharedOf(parts=tuple(parts), data=data), Shared)

    def read(self, deployment: str, segment: str, data: bytes) -> SegmentContent:
        return self._ready().ask(ContentOf(deployment=deployment, segment=segment, data=data), SegmentContent)

    def latest(self, data: bytes, view: DefineFeatures, as_of: datetime) -> Latest:
        return self._ready().ask(LatestOf(data=data, view=view, as_of=as_of), Latest)

    def packed(self, rows: Mapping[str, OnlineRow]) -> bytes:
        return packed(rows)

    def profile_day(self, segments: Sequence[bytes], day: str, layout: Layout) -> Profile:
        """The profile of one day of captured segments."""
        return self._ready().ask(DayProfileOf(segments=tuple(segments), day=day, layout=layout), Profile)

    def skewed_day(self, segments: Sequence[bytes], day: str, release: str, columns: Collection[str]) -> SkewedDay:
        """How many rows of a release broke rules of these columns on one day of captured segments."""
        question = SkewedDayOf(segments=tuple(segments), day=day, release=release, columns=tuple(columns))
        return self._ready().ask(question, SkewedDay)

    def close(self) -> None:
        self._readers.close()

    def _ready(self) -> Readers:
        need("numpy", "polars")
        return self._readers
