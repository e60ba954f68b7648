"""Which columns of a table a trained model takes, and in which types its ONNX form does."""

from __future__ import annotations

from typing import Any

import polars as pl

from headway.engines.tables.frames import kind_of_column
from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype


def feature_names(model: Any, frame: pl.DataFrame) -> list[str]:
    """The columns that `model` was fitted on, in its order; those of `frame` when it tells none.

    Raises `Invalid` when the table has them not, or not as many.
    """
    names = told_names(model) or frame.columns
    for name in names:
        if name not in frame.columns:
            raise Invalid(
                f"{type(model).__name__} was fitted on a column {name!r}, which the table has not"
                f"{nearest(name, frame.columns)}"
            )
    if len(names) != getattr(model, "n_features_in_", len(names)):
        raise Invalid(
            f"{type(model).__name__} was fitted on {model.n_features_in_} columns without names, and the table "
            f"has {len(names)}; fit it on a frame, or hand over its features alone"
        )
    return names


def told_names(model: Any) -> list[str]:
    """The names that the model itself knows its columns by; those that a library made up do not count."""
    for attribute in ("feature_names_in_", "feature_names_", "feature_name_"):
        told = getattr(model, attribute, None)
        names = [] if told is None else [str(name) for name in told]
        if names and not _made_up(names):
            return names
    return []


def _made_up(names: list[str]) -> bool:
    """CatBoost counts its columns, LightGBM calls them Column_0 and so on."""
    return all(name in (str(at), f"Column_{at}") for at, name in enumerate(names))


def datatype_of(column: pl.Series, *, exact: bool = False) -> Datatype:
    """The type in which a column is asked for: floats FP32, or FP64 where they must be `exact`.

    Integers of which some are missing are floats. Raises `Invalid` for what a model cannot take.
    """
    match kind_of_column(column.dtype):
        case Kind.INT if not column.null_count():
            return Datatype.INT64
        case Kind.INT | Kind.FLOAT:
            return Datatype.FP64 if exact else Datatype.FP32
        case Kind.BOOL:
            return Datatype.BOOL
        case Kind.STR:
            return Datatype.BYTES
    raise Invalid(f"feature {column.name!r} holds {column.dtype}; a model takes numbers, booleans and texts")
