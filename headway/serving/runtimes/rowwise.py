"""Whether a loaded model gives a row the same bits alone and among others: what its operators promise, tried out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.records import Datatype
from headway.serving.runtimes.inline import Runtime
from headway.serving.tensors import ELEMENTS, Feed, Inputs

_ROWS = 33
"""Odd, so that whatever takes elements by fours or eights has a rest."""
_TOGETHER = ((0, _ROWS), (0, 2), (3, 11), (11, 27))
_WIDEST = 8.0


def is_exact(runtime: Runtime, inputs: Inputs) -> bool:
    """Score made-up rows one by one, and all and some of them together, and compare bit by bit."""
    feed = _made_up(inputs)
    try:
        alone = [runtime.run(_part(feed, at, at + 1)) for at in range(_ROWS)] if feed else []
        return bool(alone) and all(_same(runtime.run(_part(feed, a, b)), alone[a:b]) for a, b in _TOGETHER)
    except Exception:  # of whatever class the runtime likes: a model that cannot be tried is asked row by row
        return False


def _same(among: list[NDArray[Any]], alone: list[list[NDArray[Any]]]) -> bool:
    return all(
        output.tobytes() == np.concatenate(each).tobytes()
        for output, each in zip(among, zip(*alone, strict=True), strict=True)
    )


def _part(feed: Feed, start: int, end: int) -> Feed:
    return {name: array[start:end] for name, array in feed.items()}


def _made_up(inputs: Inputs) -> Feed:
    """Nothing for a model that takes texts."""
    random, feed = np.random.default_rng(1), Feed()
    for tensor in inputs.tensors.values():
        if tensor.datatype is Datatype.BYTES:
            return {}
        bounds = [inputs.bounds(name) for name in tensor.columns]
        low = np.array([max(low, -_WIDEST) if low < _WIDEST else low for low, _ in bounds])
        high = np.array([min(high, _WIDEST) if high > -_WIDEST else high for _, high in bounds])
        values = random.uniform(low, np.maximum(low, high), size=(_ROWS, tensor.width))
        feed[tensor.name] = values.astype(ELEMENTS[tensor.datatype].dtype).reshape(_ROWS, *tensor.shape[1:])
    return feed
