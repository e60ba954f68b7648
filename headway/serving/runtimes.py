"""What runs a model: ONNX Runtime, inline, on one thread; other forms in workers (`workers.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import onnxruntime
from numpy.typing import NDArray

from headway.engines.models.datatypes import ONNX_DATATYPES
from headway.engines.models.operators import scores_row_by_row
from headway.engines.models.packing import Packing
from headway.errors import Invalid
from headway.lifecycle.models.records import Datatype, Signature
from headway.serving.tensors import Feed

_FATAL_ONLY = 4


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

    def close(self) -> None:
        """Nothing is held but memory."""


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
