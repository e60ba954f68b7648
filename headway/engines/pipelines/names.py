"""A name for each call of a step, in one run."""

from __future__ import annotations


class Names:
    """`fit`, `fit-2`, `fit-3`, and never one that is taken."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def next(self, wanted: str) -> str:
        count = self._counts.get(wanted, 0) + 1
        name = wanted if count == 1 else f"{wanted}-{count}"
        while name in self._taken:
            count += 1
            name = f"{wanted}-{count}"
        self._counts[wanted] = count
        self._taken.add(name)
        return name
