"""The usual request in as few steps as can be: one row of numbers, asked of a model that takes nothing else.

What is not usual, wrong requests among it, is left to the general way (`inference.py`), and so is the answer to it.
What is answered here is byte for byte what that says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import ge, itemgetter, le
from struct import Struct
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.records import Datatype
from headway.serving.dialects.dialect import Dialect, OpenInference, Outputs
from headway.serving.dialects.protocol import Name, RequestParameters, TensorParameters, WantedOutput
from headway.serving.loaded import LoadedRoute
from headway.serving.messages import Answer, Head
from headway.serving.quick_answers import BinaryAnswers, JsonAnswers
from headway.serving.runtimes.inline import OnnxRuntime
from headway.serving.tensors import ELEMENTS, FLOATS

_LONGEST_NUMBER = 12


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


Teller = Callable[[Sequence[str], Outputs], list[Answer]]
"""Answers as many requests as there are rows, by their ids."""
Telling = Callable[[str, LoadedRoute], Teller]
"""The form of an answer: makes what answers so for a deployment and one of its releases."""


class Usual(NamedTuple):
    """What a request asks that may be a usual one."""

    asked: QuickRequest
    blob: bytes | None
    """Its elements in binary, all inputs in a row; None when they are in `asked`."""
    telling: Telling


class QuickDialect(Dialect[Any], Protocol):
    """A language whose usual requests can be answered together."""

    def usual(self, body: bytes, head: Head) -> Usual | None:
        """None unless it is a usual request."""
        ...


class QuickOpenInference(OpenInference):
    def usual(self, body: bytes, head: Head) -> Usual | None:
        asked, blob = _read(body, head.json_size)
        if asked is None or not is_usual(asked):
            return None
        in_binary = asked.parameters is not None and asked.parameters.binary_data_output
        return Usual(asked, blob, BinaryAnswers if in_binary else JsonAnswers)


def is_usual(asked: QuickRequest) -> bool:
    told = asked.parameters
    return asked.outputs is None and (
        told is None or not (told.event_at is not None or told.prediction_ids is not None or told.timeout)
    )


def _read(body: bytes, json_size: bytes) -> tuple[QuickRequest | None, bytes | None]:
    """The request in `body`, whose JSON ends at `json_size`, and what follows that."""
    try:
        if not json_size:
            return _decode(body), None
        if json_size.isdigit() and len(json_size) < _LONGEST_NUMBER:
            size = int(json_size)
            return _decode(memoryview(body)[:size]), body[size:]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return None, None


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
        self._number = Struct(f"<{self._dtype.char}")
        self._places = {name: at for at, name in enumerate(loaded.inputs.columns)}
        bounds = [loaded.inputs.bounds(name) for name in loaded.inputs.columns]
        self._low = np.array([max(element.low or 0.0, low) for low, _ in bounds])
        self._high = np.array([min(element.high or 0.0, high) for _, high in bounds])
        self._least, self._most = self._low.tolist(), self._high.tolist()
        runtime, signature = loaded.runtime, loaded.route.signature
        self._single = runtime.single_row(signature) if isinstance(runtime, OnnxRuntime) else None
        self._score = itemgetter([spec.name for spec in signature.outputs].index(signature.score))
        self._outputs = loaded.route.signature.outputs
        self._deployment, self._tellers = deployment, dict[Telling, Teller]()

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

    def blob(self, asked: QuickRequest, blob: bytes) -> bytes | None:
        """The row, if all of it is binary; None as for `values`."""
        if len(asked.inputs) != len(self._tensors):
            return None
        for tensor, (name, datatype, shape, width) in zip(asked.inputs, self._tensors, strict=True):
            size = tensor.parameters.binary_data_size if tensor.parameters else None
            if size != width * self._wire.itemsize or tensor.data is not None or tensor.shape != shape:
                return None
            if tensor.name != name or tensor.datatype != datatype:
                return None
        return blob if len(blob) == self._width * self._wire.itemsize else None

    def key(self, asked: QuickRequest, blob: bytes | None, feature: str) -> str | None:
        """The value of a feature as the model takes it, in words; None where it may be missing, or where not all fits
        this model."""
        row = self.values(asked) if blob is None else self.blob(asked, blob)
        if row is None:
            return None
        number, at = self._number, self._places[feature]
        value = number.unpack_from(row, at * number.size)[0] if isinstance(row, bytes) else row[at]
        if value is None or not self._least[at] <= value <= self._most[at]:  # gRPC has None for NaN
            return None
        return str(number.unpack(number.pack(value))[0])

    def numbers(self, rows: Sequence[Any], *, blobs: bool) -> NDArray[np.float64]:
        """The rows in one array: of `values`, or of `blob`."""
        if blobs:
            return np.frombuffer(b"".join(rows), self._wire).reshape(len(rows), self._width).astype(np.float64)
        return np.array(rows, np.float64)

    def one(self, row: Any, *, blobs: bool) -> NDArray[Any] | None:
        """A single row as the model takes it; None unless `keeping` would keep it."""
        if blobs:
            row = np.frombuffer(row, self._wire).tolist()
        try:
            kept = all(map(le, self._least, row)) and all(map(ge, self._most, row))
        except TypeError:  # gRPC has None for NaN
            return None
        return np.array([row], self._dtype) if kept else None

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

    def tell(self, telling: Telling, identifiers: Sequence[str], outputs: Outputs) -> list[Answer]:
        """The answers to as many requests as there are rows."""
        found = self._tellers.get(telling)
        if found is None:
            found = self._tellers[telling] = telling(self._deployment, self.loaded)
        return found(identifiers, outputs)


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
