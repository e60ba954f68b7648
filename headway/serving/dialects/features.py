"""Rows by the names of their features, for languages that know of no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from headway.errors import BadTensor
from headway.kernel.naming import nearest
from headway.lifecycle.models.records import Datatype
from headway.serving.dialects.protocol import Tensor
from headway.serving.tensors import Batch, Inputs, InputTensor

_INTEGERS = (Datatype.INT32, Datatype.INT64)


def by_name(inputs: Inputs, columns: Mapping[str, Any]) -> Batch:
    """The rows in `columns`: feature -> one value per row; a tensor that is wider than one may come whole under its own
    name, as one list per row. Names that the model does not know are not looked at; features with a default may be
    missing beside others.

    Raises `BadTensor` naming the feature that is missing or does not fit.
    """
    if inputs.defaults:
        columns = _completed(inputs, columns)
    missing = [
        name
        for tensor in inputs.tensors.values()
        if tensor.name not in columns
        for name in tensor.columns
        if name not in columns
    ]
    if missing:
        raise BadTensor(f"features are missing: {', '.join(missing[:10])}{_hint(missing[0], columns)}", missing=missing)
    tensors = [_tensor(tensor, columns) for tensor in inputs.tensors.values()]
    return inputs.read(tensors)


def _completed(inputs: Inputs, columns: Mapping[str, Any]) -> Mapping[str, Any]:
    known = next((columns[name] for name in chain(inputs.tensors, inputs.columns) if name in columns), None)
    if type(known) is not list:
        return columns
    whole = {name for tensor in inputs.tensors.values() if tensor.name in columns for name in tensor.columns}
    lacking = [name for name in inputs.defaults if name not in columns and name not in whole]
    return {**columns, **{name: [None] * len(known) for name in lacking}} if lacking else columns


def by_place(inputs: Inputs, rows: list[Any]) -> Batch:
    """The rows in `rows`: one list each, features in the model's order, or bare values for a single one."""
    width = len(inputs.columns)
    if width == 1 and not any(type(row) is list for row in rows):
        return by_name(inputs, {inputs.columns[0]: rows})
    if any(type(row) is not list or len(row) != width for row in rows):
        raise BadTensor(f"each row must be a list of {width} values, in this order: {', '.join(inputs.columns[:50])}")
    return by_name(inputs, dict(zip(inputs.columns, map(list, zip(*rows, strict=True)), strict=True)))


def by_record(inputs: Inputs, records: list[dict[str, Any]]) -> Batch:
    """The rows in `records`, each feature -> value; a feature that only some of them have is missing in the others."""
    known = dict.fromkeys(chain(inputs.columns, inputs.tensors))
    found = [name for name in known if any(name in record for record in records)]
    return by_name(inputs, {name: [record.get(name) for record in records] for name in found})


def _tensor(tensor: InputTensor, columns: Mapping[str, Any]) -> Tensor:
    if tensor.width > 1 and tensor.name in columns:
        values = columns[tensor.name]
        if type(values) is not list or not values or type(values[0]) is not list:
            raise tensor.bad(f"takes one list of {tensor.width} values per row")
        return Tensor(tensor.name, [len(values), tensor.width], tensor.datatype, _whole(tensor, values))
    lists = {name: columns[name] for name in tensor.columns}
    for name, values in lists.items():
        if type(values) is not list:
            raise BadTensor(f"feature {name!r} takes one value per row", tensor=name)
        if len(values) != len(lists[tensor.columns[0]]):
            raise BadTensor(f"feature {name!r} has {len(values)} values, but the first one has others", tensor=name)
    values, rows = _whole(tensor, tensor.joined(lists)), len(lists[tensor.columns[0]])
    return Tensor(tensor.name, [rows, tensor.width] if len(tensor.shape) > 1 else [rows], tensor.datatype, values)


def _whole(tensor: InputTensor, values: list[Any]) -> list[Any]:
    """Programs that know of floats only write an integer as 3.0: it is taken as the integer that it is."""
    if tensor.datatype not in _INTEGERS:
        return values
    return [int(value) if type(value) is float and value.is_integer() else value for value in values]


def _hint(name: str, columns: Mapping[str, Any]) -> str:
    return nearest(name, [str(column)[:100] for column in list(columns)[:1000]])
