"""Walking the edges up and down."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.kernel.lineage import Edge, ancestry, descent

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Drawn:
    """Edges as `child<parent`, in the order of drawing."""

    def __init__(self, *edges: str) -> None:
        self._edges = [Edge(child=edge.partition("<")[0], parent=edge.partition("<")[2], at=AT) for edge in edges]

    def parents(self, child: str) -> list[Edge]:
        return [edge for edge in self._edges if edge.child == child]

    def children(self, parent: str) -> list[Edge]:
        return [edge for edge in self._edges if edge.parent == parent]


def drawn(edges: list[Edge]) -> list[str]:
    return [f"{edge.child}<{edge.parent}" for edge in edges]


def test_each_edge_of_a_diamond_is_told_once_nearest_first() -> None:
    store = Drawn("release<model", "model<run", "model<data", "run<source", "data<source", "source<feed")
    assert drawn(ancestry(store, "release")) == [
        "release<model", "model<run", "model<data", "run<source", "data<source", "source<feed",
    ]  # fmt: skip
    assert drawn(descent(store, "source")) == ["run<source", "data<source", "model<run", "model<data", "release<model"]


def test_a_circle_ends_and_a_limit_holds() -> None:
    assert drawn(ancestry(Drawn("a<b", "b<a"), "a")) == ["a<b", "b<a"]
    assert drawn(descent(Drawn("b<a", "c<b", "d<c"), "a", limit=2)) == ["b<a", "c<b"]
    assert ancestry(Drawn(), "a") == []
