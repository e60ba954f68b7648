"""The features of captured rows: as one array of numbers where all of them are, else as a list for each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.records import TensorSpec
from headway.serving.capture.answered import AnsweredRows
from headway.serving.capture.columns import Column, elements, floats
from headway.serving.capture.exchange import Written
from headway.serving.tensors import ELEMENTS, FLOATS, Feed, Inputs, feature_names


class CapturedFeatures(Protocol):
    def columns(self) -> dict[str, Column]: ...

    def feed(self, inputs: Inputs, rows: list[int]) -> Feed:
        """What a model of these inputs takes, of the rows at these places; raises KeyError for a feature that is not
        there."""
        ...


def captured(exchanges: Sequence[Written], inputs: tuple[TensorSpec, ...]) -> CapturedFeatures:
    if all(spec.datatype in FLOATS for spec in inputs):
        return Numbers(exchanges, inputs)
    return Lists(exchanges, inputs)


class Numbers:
    """A missing one is NaN."""

    def __init__(self, exchanges: Sequence[Written], inputs: tuple[TensorSpec, ...]) -> None:
        self._datatypes = {name: spec.datatype for spec in inputs for name in spec.columns}
        self._places = {name: at for at, name in enumerate(self._datatypes)}
        self._rows = np.concatenate([_array(each, len(self._places)) for each in exchanges])

    def columns(self) -> dict[str, Column]:
        return {
            name: floats(
                self._rows[:, at].astype(ELEMENTS[self._datatypes[name]].dtype, copy=False), self._datatypes[name]
            )
            for name, at in self._places.items()
        }

    def feed(self, inputs: Inputs, rows: list[int]) -> Feed:
        places = [self._places[name] for name in inputs.columns]
        if any(tensor.datatype not in FLOATS for tensor in inputs.tensors.values()):
            return inputs.feed({name: _listed(self._rows[rows, self._places[name]]) for name in inputs.columns})
        return inputs.split(self._rows[np.ix_(rows, places)])


class Lists:
    def __init__(self, exchanges: Sequence[Written], inputs: tuple[TensorSpec, ...]) -> None:
        self._inputs, names = inputs, feature_names(inputs)
        rows = chain.from_iterable(each.feature_rows(len(names)) for each in exchanges)
        self._columns: dict[str, Sequence[Any]] = dict(zip(names, zip(*rows, strict=True), strict=True))

    def columns(self) -> dict[str, Column]:
        return {name: elements(self._columns[name], spec.datatype) for spec in self._inputs for name in spec.columns}

    def feed(self, inputs: Inputs, rows: list[int]) -> Feed:
        return inputs.feed({name: [self._columns[name][row] for row in rows] for name in inputs.columns})


def _array(kept: Written, width: int) -> NDArray[Any]:
    if isinstance(kept, AnsweredRows):
        return kept.numbers
    return np.array(list(kept.feature_rows(width)), np.float64).reshape(kept.rows, width)


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
