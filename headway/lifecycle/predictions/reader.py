"""What the platform must be able to see in a captured segment."""

from __future__ import annotations

from typing import Protocol

from headway.lifecycle.predictions.records import SegmentContent


class SegmentReader(Protocol):
    """Looks into the Parquet of a segment; raises `Invalid` when it is none."""

    def read(self, deployment: str, segment: str, data: bytes) -> SegmentContent: ...
