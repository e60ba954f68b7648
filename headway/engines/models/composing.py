"""A graph of models part by part: what each takes from those before it, and what becomes of their answers.

Model servers load this: it needs no frame library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.graphs import Combine, ModelGraph, Node, Part, Source, read_graph
from headway.lifecycle.models.records import Datatype, Form, Signature, TensorSpec

Arrays = NDArray[Any]
Feeds = dict[str, Arrays]
RunPart = Callable[[Feeds], list[Arrays]]
"""The outputs of a part in its signature's order."""
_DTYPES: dict[Datatype, Any] = {
    Datatype.BOOL: np.bool_, Datatype.INT32: np.int32, Datatype.INT64: np.int64, Datatype.FP32: np.float32,
    Datatype.FP64: np.float64, Datatype.BYTES: np.object_,
}  # fmt: skip


def opened_parts(
    graph: ModelGraph, get: Callable[[str], bytes], open_model: Callable[[Part, str], RunPart], place: str = ""
) -> dict[str, RunPart]:
    """What runs each node of `graph` that is a part, by its name: a graph is run part by part itself, and all else as
    `open_model` opens it, which is told its place, such as `outer/inner`. `get` gives a blob's bytes.

    Raises what they raise, and `Invalid` for a graph that is none.
    """
    return {node.name: _opened(node.part, get, open_model, f"{place}{node.name}") for node in graph.nodes if node.part}


def _opened(part: Part, get: Callable[[str], bytes], open_model: Callable[[Part, str], RunPart], place: str) -> RunPart:
    if part.form is not Form.GRAPH:
        return open_model(part, place)
    inner = read_graph(get(part.blob))
    parts = opened_parts(inner, get, open_model, f"{place}/")
    return lambda feed: run_graph(inner, part.signature, feed, parts)


def run_graph(graph: ModelGraph, signature: Signature, feed: Feeds, parts: Mapping[str, RunPart]) -> list[Arrays]:
    """The outputs in the signature's order, one entry per row; `parts` runs each node that is a part, by its name.

    Raises what they raise.
    """
    found: dict[tuple[str, str], Arrays] = {}
    for node in graph.nodes:
        if node.part:
            outputs = parts[node.name](_fed(node.part, node, feed, found))
            found.update(
                {(node.name, spec.name): each for spec, each in zip(node.part.signature.outputs, outputs, strict=True)}
            )
        else:
            found.update({(node.name, name): each for name, each in _combined(node, found).items()})
    return [found[graph.gives[spec.name].node, graph.gives[spec.name].output] for spec in signature.outputs]


def _fed(part: Part, node: Node, feed: Feeds, found: Mapping[tuple[str, str], Arrays]) -> Feeds:
    return {spec.name: _input(spec, node.takes[spec.name], feed, found) for spec in part.signature.inputs}


def _input(
    spec: TensorSpec, sources: tuple[Source, ...], feed: Feeds, found: Mapping[tuple[str, str], Arrays]
) -> Arrays:  # fmt: skip
    columns = [_taken(source, feed, found) for source in sources]
    wide = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    shaped = wide.reshape(-1) if len(spec.shape) == 1 else wide
    return shaped.astype(_DTYPES[spec.datatype], copy=False)


def _taken(source: Source, feed: Feeds, found: Mapping[tuple[str, str], Arrays]) -> Arrays:
    """Shape [rows, width]."""
    if source.feature:
        return feed[source.feature].reshape(-1, 1)
    whole = found[source.node, source.output]
    wide = whole.reshape(len(whole), -1)
    return wide if source.column < 0 else wide[:, source.column : source.column + 1]


def _combined(node: Node, found: Mapping[tuple[str, str], Arrays]) -> dict[str, Arrays]:
    given = [found[source.node, source.output] for source in node.of]
    if node.combine is Combine.VOTE:
        given = [_one_hot(labels.reshape(-1), node) for labels in given]
    wide = [each.reshape(len(each), -1).astype(np.float64) for each in given]
    score: Arrays = sum(weight * each for weight, each in zip(node.weights, wide, strict=True))  # type: ignore[assignment]
    if not node.classes:
        return {node.outputs[-1].name: score}
    label, names = node.outputs[0], node.outputs[-1].name
    classes = np.array(node.classes, dtype=_DTYPES[label.datatype])
    return {label.name: classes[score.argmax(axis=1)], names: score}


def _one_hot(labels: Arrays, node: Node) -> Arrays:
    return np.stack([labels == name for name in node.classes], axis=1).astype(np.float64)
