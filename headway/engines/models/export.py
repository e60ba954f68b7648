"""From a trained model to the file that is served: converted, proven on real rows, the fastest of what is proven."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import polars as pl
from skops.io import dumps, get_untrusted_types

from headway.engines.models.adoption import skops_signature
from headway.engines.models.classes import noted, several_classes
from headway.engines.models.estimators import estimator_to_onnx, must_be_convertible
from headway.engines.models.features import datatype_of, feature_names
from headway.engines.models.graphs import packed, unpacked
from headway.engines.models.native import native_file, torch_signature
from headway.engines.models.networks import is_network, network_file, network_to_onnx
from headway.engines.models.opening import WorkerModel
from headway.engines.models.proof import parity, parity_of
from headway.engines.models.scoring import feeds, score, signature_of
from headway.engines.models.variants import Candidate, fastest, refusal_of
from headway.engines.runtimes.folders import laid_out
from headway.engines.runtimes.python import Plan
from headway.engines.runtimes.skops import ALLOWED_TYPES
from headway.errors import Invalid, Unavailable, first_line
from headway.kernel.records import digest
from headway.lifecycle.models.records import Datatype, Form, Parity, Signature, Variant

__all__ = ["Export", "export", "feeds", "parity", "score", "signature_of", "to_onnx"]

_NUMBERS = (Datatype.BOOL, Datatype.INT32, Datatype.INT64, Datatype.FP32, Datatype.FP64)


@dataclass(frozen=True)
class Export:
    """A model as it is served. `note` says why it has this form when it is not the usual one."""

    data: bytes
    signature: Signature
    parity: Parity
    form: Form = Form.ONNX
    variants: tuple[Variant, ...] = ()
    note: str = ""


def export(model: Any, example: pl.DataFrame, rows: pl.DataFrame, score: str | None = None) -> Export:
    """`model` in the fastest form that is proven on `rows`, as `to_onnx` takes it.

    Forms in single precision are tried first, then one in double precision, then the model itself, for an
    isolated worker: by skops, or in the file of LightGBM, XGBoost or torch. Where nothing is proven it is the single
    precision form, whose parity no gate lets pass. Raises `Invalid` for what is neither converted nor kept so.
    """
    tried: list[Candidate] = []
    try:
        tried += _candidates(model, example, rows)
        kept, variants = fastest(tried, rows)
        note = "; ".join(f"{each.name}: {refusal_of(each.parity)}" for each in tried if each.parity and not each.proven)
        if kept.proven:
            assert kept.parity
            note = f"{kept.name}, since {note}" if note and kept.name == "double" else ""
            return Export(kept.onnx, signature_of(kept.onnx, score), kept.parity, variants=variants, note=note)
        why = note
    except Invalid as error:
        kept, variants, why, refused = None, (), str(error), error
    try:
        native = _native(model, rows, score)
    except (Invalid, Unavailable) as error:
        if kept is None:
            raise Invalid(f"{refused}; nor can it be served as it is: {error}") from None
        assert kept.parity
        note = f"not proven: {why}; and not served as it is: {error}"[:500]
        return Export(kept.onnx, signature_of(kept.onnx, score), kept.parity, variants=variants, note=note)
    told, size = native.form.value, len(native.data)
    tail = Variant(name=told, size=size, max_difference=native.parity.max_difference, kept=True)
    return Export(
        native.data, native.signature, native.parity, native.form,
        (*(each.but(kept=False) for each in variants), tail), f"served by {told}: {why}"[:500],
    )  # fmt: skip


def to_onnx(model: Any, example: pl.DataFrame, *, exact: bool = False) -> bytes:
    """`model` as ONNX, with one input of shape [rows, 1] for each column it was fitted on, by the column's name.

    It is a fitted estimator of scikit-learn, LightGBM, XGBoost or CatBoost, a pipeline of these, or a PyTorch network
    of one tensor of floats. `example` holds the features as they were in training. Floats become FP32 (`exact`: FP64),
    where NaN is a missing one, and so do integers of which some are missing; other integers are INT64, booleans BOOL,
    texts BYTES. A classifier gives `label` [rows] and `probabilities` [rows, classes], a regressor `variable`
    [rows, 1], a network `score`. Raises `Invalid`, naming what stands in the way, for a model that is not fitted or
    does not convert.
    """
    if is_network(model):
        columns = _columns(model, example)
        return unpacked(network_to_onnx(model, len(columns)), columns)
    return noted(estimator_to_onnx(model, example, exact=exact), several_classes(model))


def _candidates(model: Any, example: pl.DataFrame, rows: pl.DataFrame) -> Iterator[Candidate]:
    plain = _proved("single", model, to_onnx(model, example), rows)
    yield plain
    if not plain.proven and not is_network(model):
        try:
            yield _proved("double", model, to_onnx(model, example, exact=True), rows)
        except Invalid as error:
            yield Candidate("double", reason=str(error)[:300])
    if not plain.proven:
        return
    yield _tried("optimised", model, lambda: _optimised(plain.onnx), rows)
    columns = _columns(model, example)
    if len(columns) > 1 and all(datatype in _NUMBERS for datatype in columns.values()):
        yield _tried("one tensor", model, lambda: packed(_side_by_side(model, example), columns), rows)


def _tried(name: str, model: Any, make: Any, rows: pl.DataFrame) -> Candidate:
    """A form that is only worth having when it is faster: what fails is told, and the plain one stays."""
    try:
        return _proved(name, model, make(), rows)
    except Exception as error:  # converters and ONNX Runtime raise all sorts
        return Candidate(name, reason=first_line(error))


def _proved(name: str, model: Any, onnx: bytes, rows: pl.DataFrame) -> Candidate:
    onnx = noted(onnx, several_classes(model))
    return Candidate(name, onnx, parity(model, onnx, rows))


def _columns(model: Any, example: pl.DataFrame) -> dict[str, Datatype]:
    return {name: datatype_of(example[name]) for name in feature_names(model, example)}


def _side_by_side(model: Any, example: pl.DataFrame) -> bytes:
    """The model with one input of all columns, named `packing.INPUT`."""
    if is_network(model):
        return network_to_onnx(model, len(_columns(model, example)))
    return estimator_to_onnx(model, example, side_by_side=True)


def _optimised(onnx: bytes) -> bytes:
    """The graph as ONNX Runtime rewrites it for any machine, rewritten once and for all."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    with tempfile.TemporaryDirectory(prefix="headway-optimise-") as folder:
        file = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        return file.read_bytes()


def _native(model: Any, rows: pl.DataFrame, score: str | None) -> Export:
    """The model in a file of its own library, or of skops, and the proof that a worker answers with it as it does here.

    Raises `Invalid` for types on no list, `Unavailable` when no worker starts.
    """
    columns = list(_columns(model, rows))
    if is_network(model):
        data = network_file(model, len(columns))
        signature = torch_signature(data, columns)
        return _worked(Form.TORCH, data, signature.but(score=score or signature.score), model, rows)
    must_be_convertible(model)
    if made := native_file(model, columns):
        return _worked(*made, model, rows)
    return _by_skops(model, rows, score)


def _by_skops(model: Any, rows: pl.DataFrame, score: str | None) -> Export:
    try:
        data = dumps(model)
        strange = sorted(set(get_untrusted_types(data=data)) - ALLOWED_TYPES)
    except Exception as error:  # skops raises all sorts
        raise Invalid(f"skops cannot write {type(model).__name__}: {str(error)[:200]}") from error
    if strange:
        raise Invalid(f"it holds types that are on no list: {', '.join(strange)[:300]}")
    with tempfile.TemporaryDirectory(prefix="headway-native-") as folder:
        file = Path(folder) / f"{digest(data)[3:19]}.skops"
        file.write_bytes(data)
        signature = _asked_as(skops_signature(file, score=score), rows)
    return _worked(Form.SKOPS, data, signature, model, rows)


def _worked(form: Form, data: bytes, signature: Signature, model: Any, rows: pl.DataFrame) -> Export:
    """Proven in a worker of this interpreter; raises as `WorkerModel` does."""
    with tempfile.TemporaryDirectory(prefix="headway-native-") as folder:
        file = laid_out(form, digest(data), lambda _: data, Path(folder))
        worker = WorkerModel(Plan(form, file, signature=signature))
        try:
            return Export(data, signature, parity_of(model, worker, rows), form)
        finally:
            worker.close()


def _asked_as(signature: Signature, rows: pl.DataFrame) -> Signature:
    """With the types that the columns have; numbers stay FP64 where the rows do not say."""
    inputs = (
        spec.but(datatype=datatype_of(rows[spec.name], exact=True)) if spec.name in rows.columns else spec
        for spec in signature.inputs
    )
    return signature.but(inputs=tuple(inputs))
