"""Where things came from: edges between ids, added with what they describe and never removed."""

from __future__ import annotations

from collections.abc import Callable
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
    return _walk(identifier, store.parents, lambda edge: edge.parent, limit)


def descent(store: LineageStore, identifier: str, *, limit: int = 1000) -> list[Edge]:
    """All edges downstream of `identifier`, nearest first, at most `limit`."""
    return _walk(identifier, store.children, lambda edge: edge.child, limit)


def _walk(start: str, edges_of: Callable[[str], list[Edge]], end_of: Callable[[Edge], str], limit: int) -> list[Edge]:
    edges: list[Edge] = []
    seen, level = {start}, [start]
    while level and len(edges) < limit:
        found = [edge for place in level for edge in edges_of(place)]
        edges += found
        level = list(dict.fromkeys(end_of(edge) for edge in found if end_of(edge) not in seen))
        seen.update(level)
    return edges[:limit]
