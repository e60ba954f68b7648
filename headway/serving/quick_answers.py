"""The answers to usual requests, which differ from each other in the id and in the elements of the outputs only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.records import TensorSpec
from headway.serving.dialects.dialect import Outputs
from headway.serving.dialects.protocol import BinarySize, InferResponse, OutputTensor, encode
from headway.serving.loaded import LoadedRoute
from headway.serving.messages import BINARY, Answer
from headway.serving.tensors import ELEMENTS

_GAP = msgspec.Raw(b"\x00")
"""Marks what differs from answer to answer; JSON has no such byte."""


class JsonAnswers:
    def __init__(self, deployment: str, loaded: LoadedRoute) -> None:
        self._pattern = _pattern(deployment, loaded, binary=False)

    def __call__(self, identifiers: Sequence[str], outputs: Outputs) -> list[Answer]:
        if len(identifiers) == 1:
            return [Answer(200, self._pattern % (encode(identifiers[0]), *map(_text, outputs)))]
        texts = [_texts(output) for output in outputs]
        return [Answer(200, self._pattern % told) for told in zip(map(encode, identifiers), *texts, strict=True)]


class BinaryAnswers:
    def __init__(self, deployment: str, loaded: LoadedRoute) -> None:
        self._pattern = _pattern(deployment, loaded, binary=True)

    def __call__(self, identifiers: Sequence[str], outputs: Outputs) -> list[Answer]:
        answers = []
        for at, identifier in enumerate(identifiers):
            text = self._pattern % encode(identifier)
            body = b"".join((text, *(output[at].tobytes() for output in outputs)))
            answers.append(Answer(200, body, BINARY, ((b"inference-header-content-length", b"%d" % len(text)),)))
        return answers


def _texts(output: NDArray[Any]) -> list[bytes]:
    """The elements of each row, with the commas between them."""
    text = encode(output.tolist())
    return text[1:-1].split(b",") if output.ndim == 1 else text[2:-2].split(b"],[")


def _text(output: NDArray[Any]) -> bytes:
    """The elements of the only row."""
    return encode(output.tolist())[output.ndim : -output.ndim]


def _pattern(deployment: str, loaded: LoadedRoute, *, binary: bool) -> bytes:
    """An answer, or the JSON of one in binary, with gaps for the id and, in JSON, for the elements."""
    route = loaded.route
    outputs = [_described(spec, binary=binary) for spec in route.signature.outputs]
    told = InferResponse(deployment, str(route.version), _GAP, outputs, {"release": route.release})  # type: ignore[arg-type]
    return encode(told).replace(b"%", b"%%").replace(b"\x00", b"%b")


def _described(spec: TensorSpec, *, binary: bool) -> OutputTensor:
    shape = (1, *spec.shape[1:])
    if not binary:
        return OutputTensor(spec.name, spec.datatype, shape, [_GAP])
    size = int(np.prod(shape)) * np.dtype(ELEMENTS[spec.datatype].dtype).itemsize
    return OutputTensor(spec.name, spec.datatype, shape, None, BinarySize(size))
