"""The messages of the Open Inference Protocol over gRPC, made from their numbers at import.

Source: github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto. Generated code
would tie this package to one release of protobuf, and its descriptors would clash with those that clients register for
the same names; these live in a pool of their own.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from headway.serving.grpc.triton import FIELDS

PACKAGE = "inference"
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""By datatype, the field of `InferTensorContents` that its elements stand in."""
_PARAMETERS = "map InferParameter"
_FILE: dict[str, dict[str, tuple[int, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "repeated string")},
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "repeated int64")},
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "repeated string"),
        "platform": (3, "string"),
        "inputs": (4, "repeated TensorMetadata"),
        "outputs": (5, "repeated TensorMetadata"),
    },
    "InferParameter": {
        "bool_param": (1, "oneof bool"),
        "int64_param": (2, "oneof int64"),
        "string_param": (3, "oneof string"),
        "double_param": (4, "oneof double"),
        "uint64_param": (5, "oneof uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "repeated bool"),
        "int_contents": (2, "repeated int32"),
        "int64_contents": (3, "repeated int64"),
        "uint_contents": (4, "repeated uint32"),
        "uint64_contents": (5, "repeated uint64"),
        "fp32_contents": (6, "repeated float"),
        "fp64_contents": (7, "repeated double"),
        "bytes_contents": (8, "repeated bytes"),
    },
    "InferTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "repeated int64"),
        "parameters": (4, _PARAMETERS),
        "contents": (5, "InferTensorContents"),
    },
    "InferRequestedOutput": {"name": (1, "string"), "parameters": (2, _PARAMETERS)},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "inputs": (5, "repeated InferTensor"),
        "outputs": (6, "repeated InferRequestedOutput"),
        "raw_input_contents": (7, "repeated bytes"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "outputs": (5, "repeated InferTensor"),
        "raw_output_contents": (6, "repeated bytes"),
    },
    **FIELDS,
}
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL, "int32": _Field.TYPE_INT32, "int64": _Field.TYPE_INT64, "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64, "float": _Field.TYPE_FLOAT, "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING, "bytes": _Field.TYPE_BYTES,
}  # fmt: skip


def _typed(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _add_field(owner: Any, name: str, number: int, kind: str) -> None:
    modifier, _, rest = kind.rpartition(" ")
    field = owner.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if modifier == "oneof":
        field.oneof_index = 0
        if not owner.oneof_decl:
            owner.oneof_decl.add(name="parameter_choice")
    if modifier:
        field.label = _Field.LABEL_OPTIONAL if modifier == "oneof" else _Field.LABEL_REPEATED
    if modifier != "map":
        _typed(field, rest)
        return
    entry = owner.nested_type.add(name=f"{name.title()}Entry")
    entry.options.map_entry = True
    _typed(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), "string")
    _typed(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), rest)
    field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{owner.name}.{entry.name}"


def _classes() -> dict[str, type[Any]]:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _FILE.items():
        owner = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(owner, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _FILE}


MESSAGES = _classes()
DecodeError = message.DecodeError
