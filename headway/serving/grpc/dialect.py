"""The Open Inference Protocol over gRPC as a language of requests: typed contents, or raw as in binary tensors."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from headway.errors import BadTensor
from headway.lifecycle.models.records import Datatype
from headway.serving.capture.exchange import Exchange
from headway.serving.dialects.dialect import OpenInference, Outputs, places
from headway.serving.dialects.protocol import (
    NOT_SHARED,
    InferRequest,
    OutputParameters,
    RequestParameters,
    Tensor,
    TensorParameters,
    WantedOutput,
    fill,
)
from headway.serving.dialects.wire import packed
from headway.serving.grpc.answers import RawAnswers, TypedAnswers
from headway.serving.grpc.messages import CONTENTS, MESSAGES
from headway.serving.loaded import LoadedRoute
from headway.serving.messages import Answer, Head
from headway.serving.quick import QuickRequest, QuickTensor, Usual, is_usual
from headway.serving.tensors import Batch

_LONGEST_NAME = 200
Parameters = TypeVar("Parameters", RequestParameters, OutputParameters)


class GrpcInference:
    """One request; its answer has raw contents if the request has."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def read(self, body: bytes, head: Head) -> InferRequest:
        request, raw = self._request, self._request.raw_input_contents
        for given in request.inputs:
            if "shared_memory_region" in given.parameters:
                raise BadTensor(f"input {given.name[:_LONGEST_NAME]!r} {NOT_SHARED}")
        if raw and len(raw) != len(request.inputs):
            raise BadTensor(f"there are {len(request.inputs)} inputs, but {len(raw)} raw_input_contents; send one each")
        tensors = [Tensor(each.name, list(each.shape), each.datatype) for each in request.inputs]
        for place, (tensor, given) in enumerate(zip(tensors, request.inputs, strict=True)):
            if not raw:
                tensor.data = _contents(given)
            elif given.HasField("contents"):
                raise BadTensor(f"input {tensor.name[:_LONGEST_NAME]!r} has both contents and raw_input_contents")
            else:
                fill(tensor, memoryview(raw[place]))
        outputs = [WantedOutput(each.name, _said(each, OutputParameters)) for each in request.outputs] or None
        parameters = _said(request, RequestParameters)
        return InferRequest(tensors, request.id[:_LONGEST_NAME] or None, parameters, outputs)

    def usual(self, body: bytes, head: Head) -> Usual | None:
        request, raw = self._request, self._request.raw_input_contents
        if head.version or request.outputs or (raw and len(raw) != len(request.inputs)):
            return None
        try:
            asked = QuickRequest(
                [_quick_tensor(each, raw[place] if raw else None) for place, each in enumerate(request.inputs)],
                request.id[:_LONGEST_NAME] or None,
                _said(request, RequestParameters),
            )
        except BadTensor:
            return None
        if not is_usual(asked):
            return None
        return Usual(asked, b"".join(raw), RawAnswers) if raw else Usual(asked, None, TypedAnswers)

    def batch(self, asked: InferRequest, loaded: LoadedRoute) -> Batch:
        return _OPEN.batch(asked, loaded)

    def answer(self, asked: InferRequest, exchange: Exchange, loaded: LoadedRoute, outputs: Outputs) -> Answer:
        route, specs = loaded.route, loaded.route.signature.outputs
        response = MESSAGES["ModelInferResponse"](
            model_name=exchange.table.table.deployment, model_version=str(route.version), id=exchange.request
        )
        response.parameters["release"].string_param = route.release
        if exchange.fallback:
            response.parameters["fallback"].string_param = exchange.fallback
        raw = bool(self._request.raw_input_contents)
        for place in places(asked.outputs, route.signature) if asked.outputs else range(len(specs)):
            spec, values = specs[place], outputs[place]
            tensor = response.outputs.add(name=spec.name, datatype=spec.datatype, shape=values.shape)
            if raw:
                response.raw_output_contents.append(packed(values, spec.datatype))
            else:
                elements = values.ravel().tolist()
                if spec.datatype is Datatype.BYTES:
                    elements = [text.encode() if isinstance(text, str) else bytes(text) for text in elements]
                getattr(tensor.contents, CONTENTS[spec.datatype]).extend(elements)
        return Answer(200, response.SerializeToString())

    def refuse(self, status: int, message: str, error: Exception) -> Answer:
        return Answer(status, message.encode())


_OPEN = OpenInference()


def _quick_tensor(tensor: Any, blob: bytes | None) -> QuickTensor:
    """Raises `BadTensor` for one that is wrong."""
    name, datatype, shape = tensor.name, tensor.datatype, list(tensor.shape)
    if blob is None:
        return QuickTensor(name, shape, datatype, _contents(tensor))
    if tensor.HasField("contents"):
        raise BadTensor("an input has both contents and raw_input_contents")
    return QuickTensor(name, shape, datatype, None, TensorParameters(len(blob)))


def _contents(tensor: Any) -> list[Any]:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise BadTensor(
            f"input {tensor.name[:_LONGEST_NAME]!r} has datatype {tensor.datatype[:100]!r}; "
            f"typed contents are {', '.join(CONTENTS)}, and FP16 and BF16 go raw"
        )
    strays = [other.name for other, _ in tensor.contents.ListFields() if other.name != field]
    if strays:
        raise BadTensor(f"input {tensor.name[:_LONGEST_NAME]!r} is {tensor.datatype}, but has {', '.join(strays)}")
    values = list(getattr(tensor.contents, field))
    if field == "bytes_contents":
        try:
            return [value.decode() for value in values]
        except UnicodeDecodeError:
            raise BadTensor(f"input {tensor.name[:_LONGEST_NAME]!r} holds bytes that are not UTF-8 text") from None
    if field in ("fp32_contents", "fp64_contents"):
        return [None if value != value else value for value in values]
    return values


def _said(owner: Any, kind: type[Parameters]) -> Parameters | None:
    """The parameters of a message, as far as they are known."""
    if not owner.parameters:
        return None
    given = {name: getattr(value, value.WhichOneof("parameter_choice") or "bool_param") for name, value in
             owner.parameters.items()}  # fmt: skip
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise BadTensor(f"the parameters cannot be read: {error}") from None
