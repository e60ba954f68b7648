"""A model that takes no training."""

from __future__ import annotations

from onnx import TensorProto, helper


def sigmoid() -> bytes:
    """An ONNX model that gives the sigmoid of x."""
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["x"], ["probabilities"])],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())
