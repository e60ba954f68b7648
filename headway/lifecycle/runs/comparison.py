"""Two runs side by side: what differs in params, metrics, code and packages."""

from __future__ import annotations

from collections.abc import Mapping

from headway.kernel.records import Value
from headway.lifecycle.runs.capture import BRANCH_TAG, COMMAND_TAG, COMMIT_TAG, HOST_TAG, SYSTEM, PackageLock
from headway.lifecycle.runs.records import Run


class Side(Value):
    """One of the two: the run, the last value of each metric, and what it ran on when that was captured."""

    run: Run
    metrics: dict[str, float] = {}
    lock: PackageLock | None = None
    diff: str = ""
    """Digest of what was edited since the commit."""


class Difference(Value):
    """None where a side has nothing of this name."""

    name: str
    left: str | None
    right: str | None


class Comparison(Value):
    """Only what differs; the machine's own metrics are left out. `packages` is None unless both runs captured them."""

    left: str
    right: str
    params: tuple[Difference, ...] = ()
    metrics: tuple[Difference, ...] = ()
    code: tuple[Difference, ...] = ()
    packages: tuple[Difference, ...] | None = None


def compare(left: Side, right: Side) -> Comparison:
    return Comparison(
        left=left.run.id,
        right=right.run.id,
        params=_differences(left.run.params, right.run.params),
        metrics=_differences(_metrics(left), _metrics(right)),
        code=_differences(_code(left), _code(right)),
        packages=_packages(left.lock, right.lock),
    )


def _metrics(side: Side) -> dict[str, str]:
    return {key: f"{value:.6g}" for key, value in side.metrics.items() if not key.startswith(SYSTEM)}


def _code(side: Side) -> dict[str, str]:
    tags, code = side.run.tags, side.run.code
    found = {
        "commit": code.commit or tags.get(COMMIT_TAG, ""),
        "branch": tags.get(BRANCH_TAG, ""),
        "digest": code.digest,
        "edits": side.diff,
        "command": tags.get(COMMAND_TAG, ""),
        "host": tags.get(HOST_TAG, ""),
    }
    return {name: text for name, text in found.items() if text}


def _packages(left: PackageLock | None, right: PackageLock | None) -> tuple[Difference, ...] | None:
    if left is None or right is None:
        return None
    one, other = ({"python": lock.python, "platform": lock.platform} | lock.packages for lock in (left, right))
    return _differences(one, other)


def _differences(left: Mapping[str, str], right: Mapping[str, str]) -> tuple[Difference, ...]:
    return tuple(
        Difference(name=name, left=left.get(name), right=right.get(name))
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    )
