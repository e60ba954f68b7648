"""The columns that polars keeps tensors in."""

from __future__ import annotations

import polars as pl

from headway.lifecycle.models.records import Datatype

DTYPES: dict[Datatype, type[pl.DataType]] = {
    Datatype.BOOL: pl.Boolean,
    Datatype.INT32: pl.Int32,
    Datatype.INT64: pl.Int64,
    Datatype.FP32: pl.Float32,
    Datatype.FP64: pl.Float64,
    Datatype.BYTES: pl.String,
}
