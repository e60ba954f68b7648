"""The Open Inference Protocol v2: bytes to a request, an answer to bytes, with tensors in JSON, in binary or mixed.

Source: github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, and for binary tensors
github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md. Unknown fields and parameters are
ignored, as they demand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from headway.errors import BadTensor
from headway.serving.dialects.wire import elements

Name = Annotated[str, msgspec.Meta(max_length=200)]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class TensorParameters(msgspec.Struct, gc=False):
    binary_data_size: int | None = None
    """Bytes of this tensor behind the JSON, in place of `data`."""
    shared_memory_region: str | None = None
    """Triton's extension of memory that client and server share; it is refused, not overlooked."""


class Tensor(msgspec.Struct, gc=False):
    """An input; `data` is flat or nested, row-major, and missing while it is still behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: TensorParameters | None = None


class RequestParameters(msgspec.Struct, gc=False):
    """The parameters that this server uses."""

    key: Name | int | None = None
    """Sticky routing: requests of one key are answered by one release."""
    event_at: Aware | None = None
    """When the event happened that is scored, if not now."""
    prediction_ids: list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]] | None = None
    """One id per row; labels name predictions by them."""
    timeout: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Triton's: microseconds after which the request is not run any more; 0 is none."""
    binary_data_output: bool = False
    """Whether outputs that do not say otherwise are answered in binary."""


class OutputParameters(msgspec.Struct, gc=False):
    binary_data: bool | None = None
    classification: int = 0
    """Triton's extension that names classes; it is refused, not overlooked."""
    shared_memory_region: str | None = None
    """As that of an input: a client would take what lies there already for the answer."""


class WantedOutput(msgspec.Struct, gc=False):
    name: str
    parameters: OutputParameters | None = None


class InferRequest(msgspec.Struct, gc=False):
    inputs: list[Tensor]
    id: Name | None = None
    parameters: RequestParameters | None = None
    outputs: list[WantedOutput] | None = None


class BinarySize(msgspec.Struct, gc=False):
    binary_data_size: int


class OutputTensor(msgspec.Struct, gc=False, omit_defaults=True):
    """An output; `data` is flat, row-major; a number that is not finite stands as null. In binary, `parameters` has
    the size instead."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: list[Any] | None = None
    parameters: BinarySize | None = None


class InferResponse(msgspec.Struct, gc=False):
    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]
    parameters: dict[str, str]


_NO_NUMBER = re.compile(rb"[\[:,\s-](NaN|Infinity)[\]},\s]").search
NOT_SHARED = "lies in shared memory, which is not read here: send its data"
_decoder = msgspec.json.Decoder(InferRequest)
encode = msgspec.json.Encoder().encode
_LONGEST_NUMBER = 12


def decode(body: bytes, json_size: bytes = b"") -> InferRequest:
    """The request in `body`; `json_size` is the header that says where its JSON ends, if binary tensors follow.

    Raises `BadTensor` for anything that is none.
    """
    if json_size:
        return _decode_mixed(body, json_size)
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadTensor(f"the body is not an inference request: {error}{hint(body)}") from None


def hint(body: bytes) -> str:
    """What is often wrong with a body that is no JSON: Python writes numbers that JSON does not have."""
    if _NO_NUMBER(body):
        return "; JSON has neither NaN nor Infinity: a missing number is null, and none is infinite"
    return ""


def encode_error(message: str) -> bytes:
    return encode({"error": message})


def _decode_mixed(body: bytes, json_size: bytes) -> InferRequest:
    size = int(json_size) if json_size.isdigit() and len(json_size) < _LONGEST_NUMBER else -1
    if not 0 < size <= len(body):
        raise BadTensor(
            f"Inference-Header-Content-Length must be the size of the JSON, 1 to {len(body)} bytes, "
            f"not {json_size[:100].decode('latin-1')!r}"
        )
    request = decode(body[:size])
    rest, at = memoryview(body)[size:], 0
    for tensor in request.inputs:
        blob_size = tensor.parameters.binary_data_size if tensor.parameters else None
        if blob_size is None:
            continue
        if tensor.data is not None:
            raise _bad(tensor, "has both data and binary_data_size; send one of them")
        if not 0 <= blob_size <= len(rest) - at:
            raise _bad(tensor, f"has binary_data_size {blob_size}, but {len(rest) - at} bytes are left in the body")
        fill(tensor, rest[at : at + blob_size])
        at += blob_size
    if at != len(rest):
        raise BadTensor(f"{len(rest) - at} bytes follow the last binary tensor; its binary_data_size must count them")
    return request


def fill(tensor: Tensor, blob: memoryview) -> None:
    """Give a tensor the elements in its binary form; raises `BadTensor`."""
    try:
        tensor.data = elements(tensor.datatype, tensor.shape, blob)
    except ValueError as error:
        raise _bad(tensor, str(error)) from None
    if tensor.datatype in ("FP16", "BF16"):  # exist in binary only; each value is an FP32, too
        tensor.datatype = "FP32"


def _bad(tensor: Tensor, what: str) -> BadTensor:
    return BadTensor(f"input {tensor.name[:200]!r} {what}", tensor=tensor.name)
