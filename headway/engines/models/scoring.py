"""Ask an ONNX model for its scores of a table's rows, on one thread, as a model server does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray

from headway.engines.models.classes import classes_of
from headway.engines.models.datatypes import ONNX_DATATYPES
from headway.engines.models.packing import Packing
from headway.engines.tables.dtypes import DTYPES
from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec

Feeds = dict[str, NDArray[Any]]

_FATAL_ONLY = 4
BATCH_ROWS = 20_000
_FLOATS = (Datatype.FP32, Datatype.FP64)


class OnnxModel:
    """A loaded ONNX model. `signature` is read off the file; `score` names its output to judge by, if not the usual;
    what the columns of inputs are called is taken from `declared`.

    Raises `Invalid` when ONNX Runtime does not load it, when a tensor has a type or shape that cannot be served, or
    when it is unclear which output is the score.
    """

    def __init__(self, data: bytes, score: str | None = None, declared: Signature | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self._packing = Packing(self._session)
        except Exception as error:  # its exceptions share no class
            raise Invalid(f"ONNX Runtime does not load the model: {str(error)[:500]}") from error
        features = {spec.name: spec.features for spec in declared.inputs} if declared else {}
        inputs = self._packing.columns or tuple(
            spec.but(features=features.get(spec.name, ()))
            for spec in (_tensor("input", node) for node in self._session.get_inputs())
        )
        outputs = tuple(_tensor("output", node) for node in self._session.get_outputs())
        told = Signature(inputs=inputs, outputs=outputs, score=score or _usual_score(outputs))
        _must_be_score(told)
        self.signature = told.but(classes=classes_of(self._session, data, told))

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.signature.outputs)

    def run(self, feed: Feeds) -> NDArray[np.float64]:
        """The last column of the score output, shape [rows], or all of them, [rows, classes], where it tells classes
        apart; raises `Invalid` when the model stops."""
        return scores_in(self.signature, self._run(feed, [self.signature.score])[0])

    def outputs(self, feed: Feeds) -> list[NDArray[Any]]:
        """All outputs in the signature's order; raises `Invalid` when the model stops."""
        return self._run(feed, self.output_names)

    def column(self, frame: pl.DataFrame, output: str) -> NDArray[Any]:
        """The last column of any output, one entry per row; raises `Invalid` as `score` does."""
        answers = (self._run(feeds(self.signature, part), [output])[0] for part in _parts(frame))
        return np.concatenate([answer.reshape(len(answer), -1)[:, -1] for answer in answers])

    def _run(self, feed: Feeds, outputs: Sequence[str]) -> list[NDArray[Any]]:
        try:
            found: list[NDArray[Any]] = self._session.run(list(outputs), self._packing.pack(feed))
        except Exception as error:  # its exceptions share no class
            raise Invalid(f"the model cannot score these rows: {str(error)[:500]}") from error
        return found

    def score(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """As `run` for each row; raises `Invalid` when the model does not take the columns of `frame`."""
        parts = [self.run(feeds(self.signature, part)) for part in _parts(frame)]
        return np.concatenate(parts) if parts else no_scores(self.signature)


def scores_in(signature: Signature, answer: NDArray[Any]) -> NDArray[np.float64]:
    """What a model is judged by in its score output: the last column, or those of all classes.

    Raises `Invalid` when there are not as many columns as classes.
    """
    wide: NDArray[np.float64] = answer.reshape(len(answer), -1).astype(np.float64)
    if signature.classes and wide.shape[1] != len(signature.classes):
        raise Invalid(f"output {signature.score!r} has {wide.shape[1]} columns for {len(signature.classes)} classes")
    return wide if signature.classes else wide[:, -1]


def no_scores(signature: Signature) -> NDArray[np.float64]:
    return np.empty((0, len(signature.classes)) if signature.classes else 0)


def _parts(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    return frame.iter_slices(BATCH_ROWS)


def signature_of(onnx: bytes, score: str | None = None) -> Signature:
    """What the model takes and gives; raises `Invalid` as `OnnxModel` does."""
    return OnnxModel(onnx, score).signature


def score(onnx: bytes | OnnxModel, frame: pl.DataFrame) -> NDArray[np.float64]:
    """The scores of the rows of `frame`, as `OnnxModel.run` gives them."""
    model = onnx if isinstance(onnx, OnnxModel) else OnnxModel(onnx)
    return model.score(frame)


def feeds(signature: Signature, frame: pl.DataFrame) -> Feeds:
    """The inputs of a model from the columns of `frame`, by name.

    An input wider than one takes the columns `<name>_0`, `<name>_1` ... A missing number is NaN; raises `Invalid` for a
    column that is not there or holds what its input cannot take, such as a missing text or integer.
    """
    found = {}
    for spec in signature.inputs:
        columns = [_column(frame, name, spec.datatype) for name in spec.columns]
        found[spec.name] = columns[0] if len(spec.shape) == 1 else np.stack(columns, axis=1)
    return found


def _column(frame: pl.DataFrame, name: str, datatype: Datatype) -> NDArray[Any]:
    if name not in frame.columns:
        raise Invalid(f"the model takes a column {name!r}, which the table has not{nearest(name, frame.columns)}")
    column = frame[name]
    if (column.dtype == pl.String) != (datatype is Datatype.BYTES) and column.dtype not in (pl.Categorical, pl.Enum):
        raise Invalid(f"column {name!r} holds {column.dtype}, but the model takes {datatype}")
    try:
        column = column.cast(DTYPES[datatype])
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"column {name!r} holds {column.dtype}, of which not all is {datatype}") from error
    if datatype in _FLOATS:
        return column.fill_null(np.nan).to_numpy()
    if column.null_count():
        raise Invalid(
            f"column {name!r} misses {column.null_count()} values, but the model takes {datatype}, which cannot be "
            "missing; train it on a text of its own for what is missing, or on floats"
        )
    return column.to_numpy().astype(object) if datatype is Datatype.BYTES else column.to_numpy()


def _tensor(side: str, node: Any) -> TensorSpec:
    if node.type not in ONNX_DATATYPES:
        raise Invalid(f"{side} {node.name!r} is a {node.type}; only tensors of {', '.join(Datatype)} can be served")
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape) or (-1,)
    shape = (-1, *shape[1:])
    if side == "input" and (len(shape) > 2 or shape[1:] == (-1,)):
        raise Invalid(f"input {node.name!r} has shape {list(node.shape)}; it must be [rows] or [rows, width]")
    return TensorSpec(name=node.name, datatype=ONNX_DATATYPES[node.type], shape=shape)


def _usual_score(outputs: tuple[TensorSpec, ...]) -> str:
    floats = [spec.name for spec in outputs if spec.datatype in _FLOATS]
    if len(floats) != 1:
        names = [spec.name for spec in outputs]
        raise Invalid(f"of the outputs {names}, {floats} are floats; name the one to judge by with score=...")
    return floats[0]


def _must_be_score(signature: Signature) -> None:
    chosen = next((spec for spec in signature.outputs if spec.name == signature.score), None)
    if chosen is None:
        names = [spec.name for spec in signature.outputs]
        raise Invalid(f"score={signature.score!r} is none of the model's outputs {names}")
    if chosen.datatype not in _FLOATS:
        raise Invalid(f"output {chosen.name!r} is {chosen.datatype}; a score is FP32 or FP64")
