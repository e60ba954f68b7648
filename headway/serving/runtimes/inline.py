"""What runs a model: ONNX Runtime, inline, on one thread. Other forms run in workers (`workers.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray

from headway.engines.models.datatypes import ONNX_DATATYPES
from headway.engines.models.operators import scores_row_by_row
from headway.engines.models.packing import INPUT, Packing
from headway.errors import Invalid
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.serving.tensors import ELEMENTS, Feed

_FATAL_ONLY = 4
Places = Mapping[str, tuple[DTypeLike, tuple[int, ...]]]
"""By name, the type and shape of a tensor."""


class ModelFiles(Protocol):
    def get(self, digest: str) -> bytes:
        """The model's bytes; raises `NotFound`, or `LedgerBroken` when they do not have this digest."""
        ...


class LocalFiles(ModelFiles, Protocol):
    def path(self, digest: str) -> Path:
        """Where such bytes are on this machine; raises as `get` does."""
        ...


class Runtime(Protocol):
    def run(self, feed: Feed) -> list[NDArray[Any]]:
        """The outputs in the signature's order, each with one entry per row in its first dimension."""
        ...

    def close(self) -> None:
        """Answer what was asked, and let go of what it holds."""
        ...


class OnnxRuntime:
    """An ONNX model on the CPU. Raises `Invalid` when `model` cannot be loaded or is not as `signature` says."""

    memory_bytes = 0
    """What the process's resident memory grew by while it was loaded, if that was looked at."""

    def __init__(self, model: bytes, signature: Signature) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no class
            raise Invalid(f"ONNX Runtime does not load the model: {error}") from error
        self.is_rowwise = scores_row_by_row(model)
        """Whether the result of a row cannot depend on its neighbours, by the operators of the model."""
        self._outputs = [spec.name for spec in signature.outputs]
        self._packing = Packing(self._session)
        inputs = {spec.name: spec.datatype for spec in signature.inputs}
        packed = {spec.name: spec.datatype for spec in self._packing.columns}
        if not packed:
            _must_agree("inputs", self._session.get_inputs(), inputs)
        elif packed != inputs:
            raise Invalid(f"the model takes {packed} side by side, but its signature says {inputs}")
        _must_agree("outputs", self._session.get_outputs(), {spec.name: spec.datatype for spec in signature.outputs})

    def run(self, feed: Feed) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(self._outputs, self._packing.pack(feed))
        return outputs

    def single_row(self, signature: Signature) -> SingleRow | None:
        """What runs single rows for less, of a model that takes floats of one datatype only; None where the outputs
        are not as the signature declares them."""
        inputs = _places(signature.inputs)
        if columns := self._packing.columns:
            inputs = {INPUT: (self._packing.dtype, (1, len(columns)))}
        try:
            row = SingleRow(self._session, inputs, _places(signature.outputs))
            row.run(np.zeros(row.width))
        except Exception:  # of whatever class the runtime likes
            return None
        return row

    def close(self) -> None:
        """Nothing is held but memory."""


class SingleRow:
    """Runs a session on one row after the other, whose inputs and outputs keep their places in memory: handing over
    arrays costs half as much as a small model itself."""

    def __init__(self, session: Any, inputs: Places, outputs: Places) -> None:
        self._session, self._binding = session, session.io_binding()
        [(dtype, _), *_] = inputs.values()
        sizes = [math.prod(shape) for _, shape in inputs.values()]
        self._row = np.zeros(sum(sizes), dtype)
        at = self._row.ctypes.data
        for (name, (_, shape)), size in zip(inputs.items(), sizes, strict=True):
            self._binding.bind_input(name, "cpu", 0, dtype, shape, at)
            at += size * self._row.itemsize
        self._outputs = [np.zeros(shape, dtype) for dtype, shape in outputs.values()]
        for name, output in zip(outputs, self._outputs, strict=True):
            self._binding.bind_output(name, "cpu", 0, output.dtype, output.shape, output.ctypes.data)

    @property
    def width(self) -> int:
        return len(self._row)

    def run(self, row: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs, until the next run. `row` has shape [width] or [1, width]."""
        self._row[:] = row
        self._session.run_with_iobinding(self._binding)
        return self._outputs


def _places(specs: Iterable[TensorSpec]) -> Places:
    """Of one row."""
    return {spec.name: (ELEMENTS[spec.datatype].dtype, (1, *spec.shape[1:])) for spec in specs}


def _must_agree(side: str, nodes: list[Any], declared: dict[str, Datatype]) -> None:
    found = {node.name: ONNX_DATATYPES.get(node.type, node.type) for node in nodes}
    missing = declared.keys() - found.keys()
    undeclared = found.keys() - declared.keys() if side == "inputs" else set()
    differing = {name for name in declared.keys() & found.keys() if declared[name] != found[name]}
    if strange := sorted(missing | undeclared | differing):
        raise Invalid(
            f"the model's {side} are not as its signature says: look at {strange[:10]}; "
            f"the model has {found}, the signature {declared}"
        )
