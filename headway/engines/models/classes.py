"""The names of a model's classes, where it tells three or more apart: noted in its metadata, or as its nodes say."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import helper

from headway.errors import Invalid
from headway.lifecycle.models.records import ClassName, Signature

METADATA_KEY = "headway.classes"
LEAST = 3
"""Two classes are one probability."""
_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_read = msgspec.json.Decoder(tuple[ClassName, ...]).decode


def several_classes(model: Any) -> tuple[ClassName, ...]:
    """The classes of a fitted classifier of three or more, in the order of its probabilities."""
    told = getattr(model, "classes_", None)
    if told is None:
        return ()
    from sklearn.base import is_classifier  # noqa: PLC0415  # takes a second, which `headway serve` of an ONNX file spares

    if not is_classifier(model):
        return ()
    names = tuple(class_name(each) for each in np.asarray(told).ravel().tolist())
    return names if len(names) >= LEAST else ()


def class_name(value: Any) -> ClassName:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def noted(model: bytes, classes: tuple[ClassName, ...]) -> bytes:
    """`model` with its classes in the metadata; the same bytes when there are none to tell."""
    if not classes:
        return model
    proto = onnx.load_from_string(model)
    props = {prop.key: prop.value for prop in proto.metadata_props}
    helper.set_model_props(proto, props | {METADATA_KEY: msgspec.json.encode(classes).decode()})
    return bytes(proto.SerializeToString(deterministic=True))


def classes_of(session: Any, model: bytes, signature: Signature) -> tuple[ClassName, ...]:
    """What the columns of the score stand for; none where it is one number, or the probability of one of two classes.

    `session` is an `onnxruntime.InferenceSession` of `model`. A score of three columns or more beside a label is of
    classes, also where nobody has noted them: then the model's own nodes name them. Raises `Invalid` where they do not.
    """
    width = next(spec.shape[-1] for spec in signature.outputs if spec.name == signature.score)
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text:
        try:
            return _read(text)
        except msgspec.MsgspecError as error:
            raise Invalid(f"the classes in the model's metadata cannot be read: {error}") from None
    if width < LEAST or signature.label_place is None:
        return ()
    found = _named_by_nodes(model)
    if len(found) != width:
        raise Invalid(
            f"output {signature.score!r} has {width} columns, whose classes the model does not name; put them into its "
            f"metadata as {METADATA_KEY}, a JSON list"
        )
    return found


def _named_by_nodes(model: bytes) -> tuple[ClassName, ...]:
    for node in reversed(onnx.load_from_string(model).graph.node):
        for attribute in node.attribute:
            values = helper.get_attribute_value(attribute) if attribute.name in _LABELS else ()
            if len(values):
                return tuple(each.decode() if isinstance(each, bytes) else int(each) for each in values)
    return ()


def class_places(column: pl.Series, classes: tuple[ClassName, ...]) -> NDArray[np.float64]:
    """By row, where the class that `column` names stands in `classes`: -1 for none of them, NaN for null."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
        if column.drop_nulls().ceil().eq(column.drop_nulls()).all():
            column = column.cast(pl.Int64)
    places = {str(name): place for place, name in enumerate(classes)}
    texts = column.cast(pl.String).to_list()
    return np.array([np.nan if text is None else places.get(text, -1) for text in texts], dtype=np.float64)
