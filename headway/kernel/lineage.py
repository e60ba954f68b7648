"""Where things came from: edges between ids, added with what they describe and never removed."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from headway.kernel.records import Value


class Edge(Value):
    """`child` came from `parent`."""

    child: str
    parent: str
    at: datetime


class LineageStore(Protocol):
    def parents(self, child: str) -> list[Edge]: ...
    def children(self, parent: str) -> list[Edge]: ...


def ancestry(store: LineageStore, identifier: str, *, limit: int = 1000) -> list[Edge]:
    """All edges upstream of `identifier`, nearest first, at most `limit`."""
    edges: list[Edge] = []
    seen, level = {identifier}, [identifier]
    while level and len(edges) < limit:
        found = [edge for child in level for edge in store.parents(child)]
        edges += found
        level = [edge.parent for edge in found if edge.parent not in seen]
        seen.update(level)
    return edges[:limit]
