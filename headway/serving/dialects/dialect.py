"""What a language of requests has to say, and the one that every model server speaks: the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from headway.errors import BadTensor
from headway.lifecycle.models.records import Signature, TensorSpec
from headway.serving.capture.exchange import Exchange
from headway.serving.dialects.protocol import (
    BinarySize,
    InferRequest,
    InferResponse,
    OutputTensor,
    RequestParameters,
    WantedOutput,
    decode,
    encode,
    encode_error,
)
from headway.serving.dialects.wire import packed
from headway.serving.loaded import LoadedRoute
from headway.serving.messages import BINARY, Answer, Head
from headway.serving.tensors import Batch

Outputs = list[NDArray[Any]]


class Question(Protocol):
    """A request that was read, before it is known which release answers it."""

    @property
    def id(self) -> str | None: ...

    @property
    def parameters(self) -> RequestParameters | None: ...


Asked = TypeVar("Asked", bound=Question)


class Dialect(Protocol[Asked]):
    """How requests of one language are read and answered. All but `refuse` may raise any `HeadwayError`."""

    def read(self, body: bytes, head: Head) -> Asked: ...

    def batch(self, asked: Asked, loaded: LoadedRoute) -> Batch: ...

    def answer(self, asked: Asked, exchange: Exchange, loaded: LoadedRoute, outputs: Outputs) -> Answer: ...

    def refuse(self, status: int, message: str, error: Exception) -> Answer: ...


class OpenInference:
    """The Open Inference Protocol v2."""

    def read(self, body: bytes, head: Head) -> InferRequest:
        return decode(body, head.json_size)

    def batch(self, asked: InferRequest, loaded: LoadedRoute) -> Batch:
        if asked.outputs:
            places(asked.outputs, loaded.route.signature)
        return loaded.inputs.read(asked.inputs)

    def answer(self, asked: InferRequest, exchange: Exchange, loaded: LoadedRoute, outputs: Outputs) -> Answer:
        route = loaded.route
        tensors, blobs = _tensors(asked, route.signature, outputs)
        text = encode(
            InferResponse(
                model_name=exchange.table.table.deployment,
                model_version=str(route.version),
                id=exchange.request,
                outputs=tensors,
                parameters=_parameters(route.release, exchange.fallback),
            )
        )
        if not blobs:
            return Answer(200, text)
        size = (b"inference-header-content-length", b"%d" % len(text))
        return Answer(200, b"".join((text, *blobs)), BINARY, (size,))

    def refuse(self, status: int, message: str, error: Exception) -> Answer:
        return Answer(status, encode_error(message))


def _parameters(release: str, fallback: str) -> dict[str, str]:
    return {"release": release, "fallback": fallback} if fallback else {"release": release}


def _tensors(asked: InferRequest, signature: Signature, outputs: Outputs) -> tuple[list[OutputTensor], Sequence[bytes]]:
    """The outputs that are asked for, and behind them what goes in binary."""
    specs, usual = signature.outputs, asked.parameters is not None and asked.parameters.binary_data_output
    if not asked.outputs and not usual:
        return [_in_json(spec, output) for spec, output in zip(specs, outputs, strict=True)], ()
    tensors, blobs = list[OutputTensor](), list[bytes]()
    for at, binary in _wanted(asked, signature, usual):
        spec, output = specs[at], outputs[at]
        if binary:
            blob = packed(output, spec.datatype)
            blobs.append(blob)
            tensors.append(OutputTensor(spec.name, spec.datatype, output.shape, None, BinarySize(len(blob))))
        else:
            tensors.append(_in_json(spec, output))
    return tensors, blobs


def _in_json(spec: TensorSpec, output: NDArray[Any]) -> OutputTensor:
    return OutputTensor(spec.name, spec.datatype, output.shape, output.ravel().tolist())


def _wanted(asked: InferRequest, signature: Signature, usual: bool) -> list[tuple[int, bool]]:
    """The places of the outputs to answer, and whether each goes in binary: as it says itself, else as is usual."""
    if not asked.outputs:
        return [(at, usual) for at in range(len(signature.outputs))]
    wanted = []
    for at, output in zip(places(asked.outputs, signature), asked.outputs, strict=True):
        own = output.parameters.binary_data if output.parameters else None
        wanted.append((at, usual if own is None else own))
    return wanted


def places(outputs: list[WantedOutput], signature: Signature) -> list[int]:
    """Where the outputs that are asked for stand in the signature; raises `BadTensor`."""
    names = [spec.name for spec in signature.outputs]
    if len(outputs) > len(names) or len({output.name for output in outputs}) < len(outputs):
        raise BadTensor(f"each output may be asked for once; the model has {names}")
    for output in outputs:
        if output.name not in names:
            raise BadTensor(f"there is no output {output.name[:200]!r}; the model has {names}")
        if output.parameters and output.parameters.classification:
            raise BadTensor("outputs are not classified here; ask without class_count and take the largest yourself")
        if output.parameters and output.parameters.shared_memory_region is not None:
            raise BadTensor("outputs are not written to shared memory here; ask for them in the answer")
    return [names.index(output.name) for output in outputs]
