"""The scoring protocol of MLflow, so that its clients need no change.

Source: mlflow.org/docs, "Local inference server, endpoints and accepted formats". As there, features are found by name
and others are not looked at. Parquet becomes JSON before it comes here, in a process of its own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import msgspec

from headway.errors import BadTensor, UnsupportedMedia
from headway.lifecycle.models.records import Datatype
from headway.serving.capture.exchange import Exchange
from headway.serving.dialects.dialect import Outputs
from headway.serving.dialects.features import by_name, by_place, by_record
from headway.serving.dialects.protocol import RequestParameters, encode, hint
from headway.serving.loaded import LoadedRoute
from headway.serving.messages import Answer, Head
from headway.serving.tensors import Batch, Inputs

_CODES = {404: "RESOURCE_DOES_NOT_EXIST", 429: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR"} | dict.fromkeys(
    (503, 504), "TEMPORARILY_UNAVAILABLE"
)
PARQUET = ("application/vnd.apache.parquet", "application/parquet", "application/x-parquet")
_TEXTS = {"true": True, "false": False}


class Split(msgspec.Struct, gc=False):
    """A frame as rows; without `columns` they are in the model's order."""

    data: list[Any]
    columns: list[str] | None = None


class Body(msgspec.Struct, gc=False):
    """One of the first four; `params` may have what `parameters` have in the Open Inference Protocol."""

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: dict[str, Any] | list[Any] | None = None
    params: RequestParameters | None = None


class Scoring(msgspec.Struct, gc=False):
    """A request that was read: `rows` gives them once the model is known."""

    rows: Callable[[Inputs], Batch]
    parameters: RequestParameters | None = None
    id: str | None = None


_decoder = msgspec.json.Decoder(Body)


class MlflowScoring:
    def read(self, body: bytes, head: Head) -> Scoring:
        media, charset = _media(head.content_type)
        if charset not in ("", "utf-8", "utf8"):
            raise UnsupportedMedia(f"charset {charset[:100]!r} is not read here; send UTF-8")
        match media:
            case "application/json" | "":
                return _from_json(body)
            case "text/csv":
                return _from_csv(body)
        raise UnsupportedMedia(
            f"content-type {media[:100]!r} is not read here; send application/json, text/csv or {PARQUET[0]}"
        )

    def batch(self, asked: Scoring, loaded: LoadedRoute) -> Batch:
        return asked.rows(loaded.inputs)

    def answer(self, asked: Scoring, exchange: Exchange, loaded: LoadedRoute, outputs: Outputs) -> Answer:
        """One prediction per row: its value if the model has one output, else a record of all."""
        lists = [output.tolist() for output in outputs]
        names = [spec.name for spec in loaded.route.signature.outputs]
        predictions = lists[0]
        if len(lists) > 1:
            predictions = [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
        return Answer(200, encode({"predictions": predictions}))

    def refuse(self, status: int, message: str, error: Exception) -> Answer:
        return Answer(status, encode({"error_code": _CODES.get(status, "BAD_REQUEST"), "message": message}))


MLFLOW = MlflowScoring()


def is_parquet(head: Head) -> bool:
    return _media(head.content_type)[0] in PARQUET


def _from_json(body: bytes) -> Scoring:
    try:
        asked = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadTensor(f"the body is not a scoring request: {error}{hint(body)}") from None
    forms: dict[str, Any] = {
        "dataframe_split": asked.dataframe_split,
        "dataframe_records": asked.dataframe_records,
        "instances": asked.instances,
        "inputs": asked.inputs,
    }
    given = {name: form for name, form in forms.items() if form is not None}
    if len(given) != 1:
        raise BadTensor(f"the body must have exactly one of {', '.join(forms)}; it has {', '.join(given) or 'none'}")
    [form] = given.values()
    return Scoring(_rows(form), asked.params)


def _rows(form: Any) -> Callable[[Inputs], Batch]:
    if isinstance(form, Split):
        return lambda inputs: _split(inputs, form)
    if isinstance(form, dict):
        columns = {name: value if type(value) is list else [value] for name, value in form.items()}
        return lambda inputs: by_name(inputs, columns)
    if not form:
        raise BadTensor("there are no rows to score")
    if all(type(row) is dict for row in form):
        return lambda inputs: by_record(inputs, form)
    return lambda inputs: by_place(inputs, form)


def _split(inputs: Inputs, split: Split) -> Batch:
    if not split.data:
        raise BadTensor("there are no rows to score")
    if split.columns is None:
        return by_place(inputs, split.data)
    if any(type(row) is not list or len(row) != len(split.columns) for row in split.data):
        raise BadTensor(f"each row of data must be a list of {len(split.columns)} values, as there are columns")
    return by_name(inputs, _columns(split.columns, split.data))


def _from_csv(body: bytes) -> Scoring:
    try:
        names, *rows = [*csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)] or [[]]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise BadTensor(f"the body is not CSV with a line of names: {error}") from None
    rows = [row for row in rows if row]
    if not names:
        raise BadTensor("the body is not CSV with a line of names: its first line is empty")
    if not rows:
        raise BadTensor("the CSV has a line of names, but no rows to score")
    if any(len(row) != len(names) for row in rows):
        raise BadTensor(f"the CSV must have rows of {len(names)} cells, as there are names in its first line")
    columns = _columns(names, rows)
    return Scoring(lambda inputs: by_name(inputs, _typed(inputs, columns)))


def _columns(names: list[str], rows: list[list[Any]]) -> dict[str, list[Any]]:
    if len(set(names)) != len(names):
        raise BadTensor("a column stands twice in the request; each name may be there once")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _typed(inputs: Inputs, columns: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Cells as the model's features have them; an empty cell is a missing number."""
    typed = {}
    for tensor in inputs.tensors.values():
        for name in tensor.columns:
            if name in columns:
                typed[name] = [_cell(text, tensor.datatype, name) for text in columns[name]]
    return typed


def _cell(text: str, datatype: Datatype, name: str) -> Any:
    if datatype is Datatype.BYTES:
        return text
    text = text.strip().lower()
    if text in ("", "nan"):
        return None
    if datatype is Datatype.BOOL and text in _TEXTS:
        return _TEXTS[text]
    try:
        if "_" in text:  # which Python would read over
            raise ValueError
        return int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        raise BadTensor(f"feature {name!r} is {datatype}, but a cell holds {text[:80]!r}", tensor=name) from None


def _media(content_type: bytes) -> tuple[str, str]:
    media, *parameters = content_type.decode("latin-1").lower().split(";")
    charsets = [
        value.strip().strip('"')
        for name, _, value in (p.partition("=") for p in parameters)
        if name.strip() == "charset"
    ]
    return media.strip(), charsets[0] if charsets else ""
