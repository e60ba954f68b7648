"""The Open Inference Protocol v2 in JSON: bytes to a request, an answer to bytes.

Source: github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. Unknown fields and
parameters are ignored, as it demands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from headway.errors import BadTensor

Name = Annotated[str, msgspec.Meta(max_length=200)]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class Tensor(msgspec.Struct, gc=False):
    """An input; `data` is flat or nested, row-major."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class RequestParameters(msgspec.Struct, gc=False):
    """The parameters that this server uses."""

    key: Name | int | None = None
    """Sticky routing: requests of one key are answered by one release."""
    event_at: Aware | None = None
    """When the event happened that is scored, if not now."""
    prediction_ids: list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]] | None = None
    """One id per row; labels name predictions by them."""


class WantedOutput(msgspec.Struct, gc=False):
    name: str


class InferRequest(msgspec.Struct, gc=False):
    inputs: list[Tensor]
    id: Name | None = None
    parameters: RequestParameters | None = None
    outputs: list[WantedOutput] | None = None


class OutputTensor(msgspec.Struct, gc=False):
    """An output; `data` is flat, row-major; a number that is not finite stands as null."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: list[Any]


class InferResponse(msgspec.Struct, gc=False):
    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]
    parameters: dict[str, str]


_decoder = msgspec.json.Decoder(InferRequest)
encode = msgspec.json.Encoder().encode


def decode(body: bytes) -> InferRequest:
    """The request in `body`; raises `BadTensor` for anything that is none."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadTensor(f"the body is not an inference request: {error}") from None


def encode_error(message: str) -> bytes:
    return encode({"error": message})
