"""A graph whose parts are all ONNX as one ONNX model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from headway.engines.models.classes import noted
from headway.engines.models.graphs import ELEMENTS, unpacked
from headway.engines.models.packing import METADATA_KEY
from headway.errors import Invalid
from headway.lifecycle.models.graphs import Combine, ModelGraph, Node, Part, Source, read_graph
from headway.lifecycle.models.records import Datatype, Form, Signature, TensorSpec

_IR_VERSION = 9


class _Joining:
    """What is gathered until all parts stand side by side."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.functions: list[Any] = []
        self.opsets: dict[str, int] = {}
        self._count = 0

    def name(self, what: str) -> str:
        self._count += 1
        return f"headway/{what}/{self._count}"

    def op(self, kind: str, inputs: list[str], what: str = "", domain: str = "", **attributes: Any) -> str:
        output = what or self.name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def constant(self, value: Any) -> str:
        name = self.name("constant")
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, model: ModelProto) -> None:
        for opset in model.opset_import:
            known = self.opsets.setdefault(opset.domain, opset.version)
            if known != opset.version:
                raise Invalid(f"the parts are of different operator sets: {known} and {opset.version}")
        self.nodes += list(model.graph.node)
        self.initializers += list(model.graph.initializer)
        self.functions += list(model.functions)
        if model.graph.sparse_initializer:
            raise Invalid("a part has sparse weights")


def joined(graph: ModelGraph, signature: Signature, get: Callable[[str], bytes]) -> bytes:
    """One ONNX model of the graph's; raises `Invalid` where a part is none, or they do not go together."""
    joining = _Joining()
    datatypes = {spec.name: spec.datatype for spec in signature.inputs}
    for node in graph.nodes:
        if node.part is None:
            _combine(joining, node)
            continue
        model = _plain(_onnx(node.part, get))
        model = compose.add_prefix(model, f"{node.name}/")
        for spec in node.part.signature.inputs:
            _feed(joining, spec, node.takes[spec.name], f"{node.name}/{spec.name}", datatypes)
        joining.add(model)
    return _model(joining, graph, signature)


def _onnx(part: Part, get: Callable[[str], bytes]) -> bytes:
    if part.form is Form.GRAPH:
        return joined(read_graph(get(part.blob)), part.signature, get)
    if part.form is not Form.ONNX:
        raise Invalid(f"{part.label} is {part.form}, which runs in a worker of its own")
    return get(part.blob)


def _plain(data: bytes) -> ModelProto:
    """With an input for each column, if it takes them side by side."""
    proto = onnx.load_from_string(data)
    packed = {prop.key: prop.value for prop in proto.metadata_props}.get(METADATA_KEY)
    if packed:
        columns = dict(msgspec.json.decode(packed, type=list[tuple[str, Datatype]]))
        return onnx.load_from_string(unpacked(data, columns))
    return proto


def _feed(
    joining: _Joining, spec: TensorSpec, sources: tuple[Source, ...], target: str, datatypes: dict[str, Datatype]
) -> None:
    element, columns = ELEMENTS[spec.datatype], []
    for source in sources:
        if source.feature:
            name = source.feature
            columns.append(name if datatypes[name] is spec.datatype else joining.op("Cast", [name], to=element))
            continue
        name = joining.op("Reshape", [f"{source.node}/{source.output}", joining.constant(np.array([0, -1]))])
        if source.column >= 0:
            name = joining.op("Gather", [name, joining.constant(np.array([source.column]))], axis=1)
        columns.append(joining.op("Cast", [name], to=element))
    whole = columns[0] if len(columns) == 1 else joining.op("Concat", columns, axis=1)
    shape = [-1] if len(spec.shape) == 1 else [-1, spec.shape[1]]
    joining.op("Reshape", [whole, joining.constant(np.array(shape))], target)


def _combine(joining: _Joining, node: Node) -> None:
    parts = [f"{source.node}/{source.output}" for source in node.of]
    if node.combine is Combine.VOTE:
        parts = [_one_hot(joining, each, node) for each in parts]
    wide = [
        joining.op("Cast", [joining.op("Reshape", [each, joining.constant(np.array([0, -1]))])], to=TensorProto.DOUBLE)
        for each in parts
    ]
    weighted = [
        joining.op("Mul", [each, joining.constant(np.array(weight))])
        for each, weight in zip(wide, node.weights, strict=True)
    ]
    score = joining.op("Sum", weighted, f"{node.name}/{node.outputs[-1].name}")
    if node.classes:
        label, texts = node.outputs[0], isinstance(node.classes[0], str)
        names = np.array(node.classes, dtype=object if texts else _integers(label))
        place = joining.op("ArgMax", [score], axis=1, keepdims=0)
        joining.op("Gather", [joining.constant(names), place], f"{node.name}/{label.name}", axis=0)


def _integers(label: TensorSpec) -> Any:
    return np.int32 if label.datatype is Datatype.INT32 else np.int64


def _one_hot(joining: _Joining, labels: str, node: Node) -> str:
    """The label's class as 1 and all others as 0; a label that is none of them is a vote for nobody."""
    flat = joining.op("Reshape", [labels, joining.constant(np.array([-1]))])
    names = np.array(node.classes if isinstance(node.classes[0], int) else range(len(node.classes)), dtype=np.int64)
    if isinstance(node.classes[0], str):
        flat = joining.op("LabelEncoder", [flat], domain="ai.onnx.ml", **_places(joining, node))
    column = joining.op(
        "Unsqueeze", [joining.op("Cast", [flat], to=TensorProto.INT64), joining.constant(np.array([1]))]
    )
    return joining.op(
        "Cast", [joining.op("Equal", [column, joining.constant(names.reshape(1, -1))])], to=TensorProto.DOUBLE
    )  # fmt: skip


def _places(joining: _Joining, node: Node) -> dict[str, Any]:
    """How a label encoder is told to give places for names; the first version of the operator has words of its own."""
    if joining.opsets.setdefault("ai.onnx.ml", 3) < 2:
        return {"classes_strings": list(node.classes), "default_int64": -1}
    places = list(range(len(node.classes)))
    return {"keys_strings": list(node.classes), "values_int64s": places, "default_int64": -1}


def _model(joining: _Joining, graph: ModelGraph, signature: Signature) -> bytes:
    outputs = []
    for spec in signature.outputs:
        source = graph.gives[spec.name]
        joining.op("Identity", [f"{source.node}/{source.output}"], spec.name)
        shape = [None, *(size if size >= 0 else None for size in spec.shape[1:])]
        outputs.append(helper.make_tensor_value_info(spec.name, ELEMENTS[spec.datatype], shape))
    inputs = [helper.make_tensor_value_info(spec.name, ELEMENTS[spec.datatype], [None, 1]) for spec in signature.inputs]
    made = helper.make_graph(joining.nodes, "headway", inputs, outputs, joining.initializers)
    opsets = [helper.make_opsetid(domain, version) for domain, version in joining.opsets.items()]
    model = helper.make_model(made, opset_imports=opsets, ir_version=_IR_VERSION, functions=joining.functions)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise Invalid(f"the joined model is no sound one: {str(error)[:300]}") from None
    return noted(bytes(model.SerializeToString(deterministic=True)), signature.classes)
