"""Models that take their columns side by side in one tensor, though they are asked for them by name.

A graph with one input for each column spends most of its time on taking them in. A packed model says in its metadata
which columns, of which types, its only input is made of; whoever runs it lays them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.records import Datatype, TensorSpec

INPUT = "columns"
METADATA_KEY = "headway.columns"


class Packing:
    """How the columns of a loaded model are laid side by side; `columns` is empty for one that takes them as they are.

    `session` is an `onnxruntime.InferenceSession`. Raises `msgspec.ValidationError` when the metadata are no list.
    """

    def __init__(self, session: Any) -> None:
        noted = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "[]")
        self.columns = tuple(
            TensorSpec(name=name, datatype=datatype, shape=(-1, 1))
            for name, datatype in msgspec.json.decode(noted, type=list[tuple[str, Datatype]])
        )
        self._names = [spec.name for spec in self.columns]
        inputs = session.get_inputs()
        self.dtype = np.float64 if inputs and inputs[0].type == "tensor(double)" else np.float32

    def pack(self, feed: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """The feed that the session takes, from arrays of shape [rows, 1] by column."""
        if not self._names:
            return feed
        parts = [feed[name] for name in self._names]
        return {INPUT: np.concatenate(parts, axis=1, dtype=self.dtype, casting="unsafe")}
