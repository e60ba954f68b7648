"""What must be kept of feature views, and what reads a source's newest rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.feature_views.records import DefineFeatures, FeatureView, Latest, Materialisation, OnlineRow


class FeatureViewStore(Protocol):
    def put(self, record: FeatureView) -> None: ...
    def get(self, identifier: str) -> FeatureView | None: ...

    def of(self, name: str, number: int | None = None) -> FeatureView | None:
        """The version with this number, or the newest one."""
        ...

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[FeatureView]: ...


class MaterialisationStore(Protocol):
    def put(self, record: Materialisation) -> None: ...

    def newest(self, view: str) -> Materialisation | None:
        """The last one of a view's version, by its id."""
        ...

    def list(self, view: str, *, limit: int = 100, before: str | None = None) -> Page[Materialisation]: ...


class OnlineStore(Protocol):
    """The newest values by view and entity. Not sealed by the ledger: they can be made again from the dataset."""

    def find(self, view: str, keys: Sequence[str]) -> dict[str, OnlineRow]:
        """Those that are there, by key (`rules.entity_key`)."""
        ...

    def all(self, view: str) -> dict[str, OnlineRow]: ...

    def change(self, view: str, written: dict[str, OnlineRow], removed: Sequence[str]) -> None:
        """Inside an act: keep `written` in place of what is there under their keys, and drop `removed`."""
        ...


class HistoryReader(Protocol):
    def latest(self, data: bytes, view: DefineFeatures, as_of: datetime) -> Latest:
        """Reads a source that came as bytes; raises `Invalid` when it is no table, or has not what the view says."""
        ...

    def packed(self, rows: Mapping[str, OnlineRow]) -> bytes:
        """A file in which a row is found by its key; of the same rows always the same."""
        ...
