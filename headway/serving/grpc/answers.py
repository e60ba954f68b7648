"""The answers to usual requests over gRPC: made once for each release, and filled with id and elements.

A message never gives back what a text or a list of it took (upb frees the memory of a message as a whole), so that each
turn of the event loop fills a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from headway.serving.dialects.dialect import Outputs
from headway.serving.grpc.messages import CONTENTS, MESSAGES
from headway.serving.loaded import LoadedRoute
from headway.serving.messages import Answer

_RESPONSE: Any = MESSAGES["ModelInferResponse"]


class RawAnswers:
    """With raw contents."""

    def __init__(self, deployment: str, loaded: LoadedRoute) -> None:
        self._pattern = _pattern(deployment, loaded)

    def __call__(self, identifiers: Sequence[str], outputs: Outputs) -> list[Answer]:
        answers, response = [], _RESPONSE.FromString(self._pattern)
        blobs = zip(*map(_rows, outputs), strict=True)
        for identifier, blob in zip(identifiers, blobs, strict=True):
            response.id, response.raw_output_contents[:] = identifier, blob
            answers.append(Answer(200, response.SerializeToString()))
        return answers


class TypedAnswers:
    """With the contents of its datatype in each tensor."""

    def __init__(self, deployment: str, loaded: LoadedRoute) -> None:
        self._pattern = _pattern(deployment, loaded)
        self._fields = [CONTENTS[spec.datatype] for spec in loaded.route.signature.outputs]

    def __call__(self, identifiers: Sequence[str], outputs: Outputs) -> list[Answer]:
        answers, response = [], _RESPONSE.FromString(self._pattern)
        places = [getattr(tensor.contents, field) for tensor, field in zip(response.outputs, self._fields, strict=True)]
        rows = zip(*(output.reshape(len(identifiers), -1).tolist() for output in outputs), strict=True)
        for identifier, row in zip(identifiers, rows, strict=True):
            response.id = identifier
            for contents, elements in zip(places, row, strict=True):
                contents[:] = elements
            answers.append(Answer(200, response.SerializeToString()))
        return answers


def _rows(output: NDArray[Any]) -> list[bytes]:
    """Each row in binary."""
    blob, size = output.tobytes(), output.nbytes // len(output)
    return [blob[at : at + size] for at in range(0, len(blob), size)]


def _pattern(deployment: str, loaded: LoadedRoute) -> bytes:
    """The answer to a request of one row but for what differs."""
    route = loaded.route
    response = _RESPONSE(model_name=deployment, model_version=str(route.version))
    response.parameters["release"].string_param = route.release
    for spec in route.signature.outputs:
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=(1, *spec.shape[1:]))
    pattern: bytes = response.SerializeToString()
    return pattern
