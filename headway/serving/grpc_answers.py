"""The answers to usual requests over gRPC: made once for each release, and filled with id and elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from headway.serving.dialects import Outputs
from headway.serving.grpc_messages import CONTENTS, MESSAGES
from headway.serving.messages import Answer
from headway.serving.router import LoadedRoute


class RawAnswers:
    """With raw contents."""

    def __init__(self, deployment: str, loaded: LoadedRoute) -> None:
        self._pattern = _pattern(deployment, loaded)

    def __call__(self, identifiers: Sequence[str], outputs: Outputs) -> list[Answer]:
        answers, response = [], self._pattern
        blobs = zip(*map(_rows, outputs), strict=True)
        for identifier, blob in zip(identifiers, blobs, strict=True):
            response.id, response.raw_output_contents[:] = identifier, blob
            answers.append(Answer(200, response.SerializeToString()))
        return answers


class TypedAnswers:
    """With the contents of its datatype in each tensor."""

    def __init__(self, deployment: str, loaded: LoadedRoute) -> None:
        self._pattern = _pattern(deployment, loaded)
        specs = loaded.route.signature.outputs
        self._contents = [
            getattr(tensor.contents, CONTENTS[spec.datatype])
            for tensor, spec in zip(self._pattern.outputs, specs, strict=True)
        ]

    def __call__(self, identifiers: Sequence[str], outputs: Outputs) -> list[Answer]:
        answers, response = [], self._pattern
        rows = zip(*(output.reshape(len(identifiers), -1).tolist() for output in outputs), strict=True)
        for identifier, row in zip(identifiers, rows, strict=True):
            response.id = identifier
            for contents, elements in zip(self._contents, row, strict=True):
                contents[:] = elements
            answers.append(Answer(200, response.SerializeToString()))
        return answers


def _rows(output: NDArray[Any]) -> list[bytes]:
    """Each row in binary."""
    blob, size = output.tobytes(), output.nbytes // len(output)
    return [blob[at : at + size] for at in range(0, len(blob), size)]


def _pattern(deployment: str, loaded: LoadedRoute) -> Any:
    """The answer to a request of one row but for what differs."""
    route = loaded.route
    response = MESSAGES["ModelInferResponse"](model_name=deployment, model_version=str(route.version))
    response.parameters["release"].string_param = route.release
    for spec in route.signature.outputs:
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=(1, *spec.shape[1:]))
    return response
