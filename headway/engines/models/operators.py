"""Which operators an ONNX model consists of, read from its bytes: the `onnx` package would cost a model server more
memory than its model.

Field numbers are those of github.com/onnx/onnx, onnx/onnx.proto; the encoding is protobuf's, protobuf.dev/
programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

_GRAPH, _FUNCTIONS = 7, 25
_NODE = 1
_OP_TYPE, _DOMAIN = 4, 7
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_DOMAINS = (b"", b"ai.onnx", b"ai.onnx.ml")
_ROW_BY_ROW = frozenset(
    b"Abs Add And ArrayFeatureExtractor Binarizer Cast Clip Concat Constant Div Equal Flatten Gather Greater "
    b"GreaterOrEqual Identity Imputer LabelEncoder Less LessOrEqual Max Min Mul Neg Not OneHotEncoder Or Reshape "
    b"Scaler Slice Squeeze Sub TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor Unsqueeze Where Xor".split()
)
"""What they give for an element follows from IEEE 754 alone, or from one row in a fixed order. A matrix product is not
among them, nor is what is computed by vectors of the processor with another formula for the rest."""


def scores_row_by_row(model: bytes) -> bool:
    """Whether all operators give a row the same bits, whichever rows it is computed with. False when in doubt."""
    try:
        fields = list(_fields(memoryview(model)))
        if any(number == _FUNCTIONS for number, _ in fields):
            return False
        graphs = [value for number, value in fields if number == _GRAPH]
        nodes = [dict(_fields(value)) for graph in graphs for number, value in _fields(graph) if number == _NODE]
    except ValueError:
        return False
    return bool(nodes) and all(
        bytes(node.get(_OP_TYPE, b"")) in _ROW_BY_ROW and bytes(node.get(_DOMAIN, b"")) in _DOMAINS for node in nodes
    )


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that hold bytes; raises `ValueError` for what is no message."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            size, at = _varint(message, at)
            if size > end - at:
                raise ValueError("a field is longer than its message")
            yield key >> 3, message[at : at + size]
            at += size
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"there is no wire type {kind}")
    if at != end:
        raise ValueError("the message is cut")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number is cut")
