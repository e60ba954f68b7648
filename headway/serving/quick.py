"""The usual request in as few steps as can be: one row of numbers, asked of a model that takes nothing else.

What is not usual, wrong requests among it, is left to the general way (`inference.py`), and so is the answer to it.
What is answered here is byte for byte what that says.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import ge, itemgetter, le
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.records import Datatype, TensorSpec
from headway.serving.dialects import Outputs
from headway.serving.messages import BINARY, Answer
from headway.serving.protocol import (
    InferResponse,
    Name,
    OutputTensor,
    RequestParameters,
    TensorParameters,
    WantedOutput,
    encode,
)
from headway.serving.router import LoadedRoute
from headway.serving.runtimes import OnnxRuntime
from headway.serving.tensors import ELEMENTS, FLOATS

_LONGEST_NUMBER = 12
_GAP = msgspec.Raw(b"\x00")
"""Marks what differs from answer to answer; JSON has no such byte."""


class QuickTensor(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[float] | None = None
    parameters: TensorParameters | None = None


class QuickRequest(msgspec.Struct, gc=False):
    """An `InferRequest` whose elements are numbers, as far as they stand in its JSON."""

    inputs: list[QuickTensor]
    id: Name | None = None
    parameters: RequestParameters | None = None
    outputs: list[WantedOutput] | None = None


_decode = msgspec.json.Decoder(QuickRequest).decode


def read(body: bytes, json_size: bytes) -> QuickRequest | None:
    """The request in `body`, whose JSON ends at `json_size`; None unless it is a usual one."""
    try:
        if not json_size:
            asked = _decode(body)
        elif json_size.isdigit() and len(json_size) < _LONGEST_NUMBER:
            asked = _decode(memoryview(body)[: int(json_size)])
        else:
            return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    told = asked.parameters
    if asked.outputs is not None or (
        told is not None and (told.event_at is not None or told.prediction_ids is not None or told.timeout)
    ):
        return None
    return asked


class QuickRoute:
    """A route whose model takes numbers of one datatype and gives numbers, under the name that it is asked by."""

    def __init__(self, deployment: str, loaded: LoadedRoute) -> None:
        self.loaded, self.release = loaded, loaded.route.release
        specs = loaded.route.signature.inputs
        widths = [spec.shape[1] if spec.shape[1:] else 1 for spec in specs]
        self._tensors = [
            (spec.name, spec.datatype.value, [1, *spec.shape[1:]], width)
            for spec, width in zip(specs, widths, strict=True)
        ]
        self._width = sum(widths)
        element = ELEMENTS[specs[0].datatype]
        self._dtype: np.dtype[Any] = np.dtype(element.dtype)
        self._wire = self._dtype.newbyteorder("<")
        bounds = [loaded.inputs.bounds(name) for name in loaded.inputs.columns]
        self._low = np.array([max(element.low or 0.0, low) for low, _ in bounds])
        self._high = np.array([min(element.high or 0.0, high) for _, high in bounds])
        self._least, self._most = self._low.tolist(), self._high.tolist()
        runtime, signature = loaded.runtime, loaded.route.signature
        self._single = runtime.single_row(signature) if isinstance(runtime, OnnxRuntime) else None
        self._score = itemgetter([spec.name for spec in signature.outputs].index(signature.score))
        self._outputs = loaded.route.signature.outputs
        self._in_json, self._in_binary = _patterns(deployment, loaded)

    def values(self, asked: QuickRequest) -> list[float] | None:
        """The row, if all of it stands in JSON; None unless it fits this model's names, shapes and datatypes."""
        if len(asked.inputs) != len(self._tensors):
            return None
        values: list[float] = []
        for tensor, (name, datatype, shape, width) in zip(asked.inputs, self._tensors, strict=True):
            data = tensor.data
            if data is None or len(data) != width or tensor.shape != shape or tensor.datatype != datatype:
                return None
            if tensor.name != name or (tensor.parameters and tensor.parameters.binary_data_size is not None):
                return None
            values = values + data if values else data
        return values

    def blob(self, asked: QuickRequest, body: bytes, start: int) -> bytes | None:
        """The row, if all of it stands behind the JSON; None as for `values`."""
        if len(asked.inputs) != len(self._tensors):
            return None
        for tensor, (name, datatype, shape, width) in zip(asked.inputs, self._tensors, strict=True):
            size = tensor.parameters.binary_data_size if tensor.parameters else None
            if size != width * self._wire.itemsize or tensor.data is not None or tensor.shape != shape:
                return None
            if tensor.name != name or tensor.datatype != datatype:
                return None
        return body[start:] if len(body) - start == self._width * self._wire.itemsize else None

    def numbers(self, rows: Sequence[Any], *, blobs: bool) -> NDArray[np.float64]:
        """The rows in one array: of `values`, or of `blob`."""
        if blobs:
            return np.frombuffer(b"".join(rows), self._wire).reshape(len(rows), self._width).astype(np.float64)
        return np.array(rows, np.float64)

    def one(self, row: Any, *, blobs: bool) -> NDArray[Any] | None:
        """A single row as the model takes it; None unless `keeping` would keep it."""
        if blobs:
            row = np.frombuffer(row, self._wire).tolist()
        if all(map(le, self._least, row)) and all(map(ge, self._most, row)):
            return np.array([row], self._dtype)
        return None

    def keeping(self, rows: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """Which rows surely keep the contract and have a value of their datatype in each column; None for all."""
        kept: NDArray[np.bool_] = np.logical_and.reduce((rows >= self._low) & (rows <= self._high), axis=1)
        return None if kept.all() else kept

    def typed(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """The rows as the model takes them: what `keeping` has let pass fits."""
        return rows.astype(self._dtype)

    def run(self, rows: NDArray[Any]) -> Outputs | None:
        """What the model says of all rows, until the next run; None when that is not of the shape that its signature
        declares."""
        if len(rows) == 1 and self._single is not None:
            return self._single.run(rows)
        outputs = self._run(rows)
        for spec, output in zip(self._outputs, outputs, strict=True):
            if output.shape != (len(rows), *spec.shape[1:]):
                return None
        return outputs

    def _run(self, rows: NDArray[Any]) -> Outputs:
        run, split = self.loaded.runtime.run, self.loaded.inputs.split
        if self.loaded.together or len(rows) == 1:
            return run(split(rows))
        each = [run(split(rows[at : at + 1])) for at in range(len(rows))]
        return [np.concatenate(parts) for parts in zip(*each, strict=True)]

    def scores(self, outputs: Outputs) -> NDArray[np.float64]:
        """As `LoadedRoute.scores` has them."""
        wide: NDArray[Any] = self._score(outputs).reshape(len(outputs[0]), -1)
        return wide[:, -1].astype(np.float64)

    def in_json(self, identifiers: Sequence[bytes], outputs: Outputs) -> list[Answer]:
        """The answers to as many requests as there are rows, whose ids are `identifiers` in JSON."""
        pattern = self._in_json
        if len(identifiers) == 1:
            return [Answer(200, pattern % (*identifiers, *map(_text, outputs)))]
        texts = [_texts(output) for output in outputs]
        return [Answer(200, pattern % told) for told in zip(identifiers, *texts, strict=True)]

    def in_binary(self, identifiers: Sequence[bytes], outputs: Outputs) -> list[Answer]:
        answers, pattern = [], self._in_binary
        for at, identifier in enumerate(identifiers):
            text = pattern % identifier
            body = b"".join((text, *(output[at].tobytes() for output in outputs)))
            answers.append(Answer(200, body, BINARY, ((b"inference-header-content-length", b"%d" % len(text)),)))
        return answers


def _texts(output: NDArray[Any]) -> list[bytes]:
    """The elements of each row, with the commas between them."""
    text = encode(output.tolist())
    return text[1:-1].split(b",") if output.ndim == 1 else text[2:-2].split(b"],[")


def _text(output: NDArray[Any]) -> bytes:
    """The elements of the only row."""
    return encode(output.tolist())[output.ndim : -output.ndim]


def _patterns(deployment: str, loaded: LoadedRoute) -> tuple[bytes, bytes]:
    """An answer in JSON and the JSON of one in binary, with gaps for the id and, in the first, for the elements."""
    route = loaded.route
    told = InferResponse(deployment, str(route.version), _GAP, [], {"release": route.release})  # type: ignore[arg-type]
    patterns = []
    for binary in (False, True):
        told.outputs = [_described(spec, binary=binary) for spec in route.signature.outputs]
        patterns.append(encode(told).replace(b"%", b"%%").replace(b"\x00", b"%b"))
    return patterns[0], patterns[1]


def _described(spec: TensorSpec, *, binary: bool) -> OutputTensor:
    shape = (1, *spec.shape[1:])
    if not binary:
        return OutputTensor(spec.name, spec.datatype, shape, [_GAP])
    size = int(np.prod(shape)) * np.dtype(ELEMENTS[spec.datatype].dtype).itemsize
    return OutputTensor(spec.name, spec.datatype, shape, None, TensorParameters(size))


def quick_route(deployment: str, loaded: LoadedRoute) -> QuickRoute | None:
    """None for a model that takes or gives something else, tells several classes apart, or runs elsewhere."""
    signature = loaded.route.signature
    datatypes = {spec.datatype for spec in signature.inputs}
    plain = all(
        spec.datatype is not Datatype.BYTES and len(spec.shape) <= 2 and all(width >= 1 for width in spec.shape[1:])
        for spec in signature.outputs
    )
    if not plain or len(datatypes) != 1 or not datatypes <= {*FLOATS} or loaded.classes or not loaded.inline:
        return None
    return QuickRoute(deployment, loaded)
