"""ONNX graphs, joined and rewritten: columns in front, outputs by their usual names."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import onnx
from onnx import ModelProto, TensorProto, helper

from headway.engines.models.packing import INPUT, METADATA_KEY
from headway.lifecycle.models.records import Datatype

ELEMENTS = {
    Datatype.BOOL: TensorProto.BOOL,
    Datatype.INT32: TensorProto.INT32,
    Datatype.INT64: TensorProto.INT64,
    Datatype.FP32: TensorProto.FLOAT,
    Datatype.FP64: TensorProto.DOUBLE,
    Datatype.BYTES: TensorProto.STRING,
}


def packed(model: bytes, columns: Mapping[str, Datatype]) -> bytes:
    """Note in `model`, whose only input is `INPUT` [rows, width], the columns that it is made of, in their order."""
    proto = onnx.load_from_string(model)
    helper.set_model_props(proto, {METADATA_KEY: msgspec.json.encode(list(columns.items())).decode()})
    return bytes(proto.SerializeToString(deterministic=True))


def unpacked(model: bytes, columns: Mapping[str, Datatype]) -> bytes:
    """The same model with an input [rows, 1] for each column, as any ONNX runtime takes it."""
    proto = onnx.load_from_string(model)
    element = proto.graph.input[0].type.tensor_type.elem_type
    inputs, nodes, wide = [], [], []
    for name, datatype in columns.items():
        inputs.append(helper.make_tensor_value_info(name, ELEMENTS[datatype], [None, 1]))
        wide.append(name if ELEMENTS[datatype] == element else f"{INPUT}/{name}")
        if wide[-1] != name:
            nodes.append(helper.make_node("Cast", [name], [wide[-1]], to=element))
    nodes.append(helper.make_node("Concat", wide, [INPUT], axis=1))
    _put_in_front(proto, nodes)
    del proto.graph.input[:], proto.metadata_props[:]
    proto.graph.input.extend(inputs)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def _put_in_front(proto: ModelProto, nodes: list[onnx.NodeProto]) -> None:
    kept = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *kept])
