"""Model versions as a small graph that is a model version itself: ensembles, and steps before and after a model.

Graph.mean("late-a@3", "late-b@1", weights=(2, 1))     # of their scores
Graph.vote("late-a@3", "late-b@1", "late-c@1")         # of their labels
Graph.stack("late-final@1", "late-a@3", "late-b@1")    # the first takes the scores of the others by their names
Graph.chain("cleaning@2", "late-a@3", "wording@1")     # each takes what those before it give, and features

A part may be a graph itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from headway.errors import Invalid
from headway.kernel.blobs import BlobDigest
from headway.kernel.records import UNREADABLE, Value
from headway.lifecycle.models.records import ClassName, Datatype, Feeding, Form, ModelVersion, Signature, TensorSpec

MOST_NODES = 20
MOST_DEPTH = 4
"""Graphs, one inside another."""
MOST_MODELS = 60
"""That a graph runs, those of graphs inside it included: each that is not ONNX is a process."""
_WIDENING = (Datatype.BOOL, Datatype.INT32, Datatype.INT64, Datatype.FP32, Datatype.FP64)


class Combine(StrEnum):
    MEAN = "mean"
    VOTE = "vote"


class Source(Value):
    """A feature of the request, or a column of what a node gives; -1 for all of it."""

    feature: str = ""
    node: str = ""
    output: str = ""
    column: int = -1


class Part(Value):
    """A model version as a part, as much of it as it takes to run it."""

    version: str
    label: str
    blob: BlobDigest
    size: int
    signature: Signature
    form: Form = Form.ONNX
    feeding: Feeding = Feeding.FRAME
    lock: str = ""


class Node(Value):
    """A part, with what each of its inputs is made of; or the combination of what others give."""

    name: str
    part: Part | None = None
    takes: dict[str, tuple[Source, ...]] = {}
    """By input: its only source, or one for each of its columns."""
    combine: Combine | None = None
    of: tuple[Source, ...] = ()
    """What is combined: scores of a mean, labels of a vote."""
    weights: tuple[float, ...] = ()
    classes: tuple[ClassName, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    """What a combination gives."""


class ModelGraph(Value):
    """What is run, in this order: its encoding is the blob of a version of the form `graph`. `gives` is by output."""

    nodes: tuple[Node, ...]
    gives: dict[str, Source]


class Graph(Value):
    """A graph as it is declared: `parts` are model versions, `final` takes what they give."""

    parts: tuple[str, ...]
    combine: Combine | None = None
    weights: tuple[float, ...] = ()
    final: str = ""

    @classmethod
    def mean(cls, *parts: str, weights: Sequence[float] = ()) -> Graph:
        """The mean of the scores, weighted if told so."""
        return cls(parts=parts, combine=Combine.MEAN, weights=tuple(float(weight) for weight in weights))

    @classmethod
    def vote(cls, *parts: str) -> Graph:
        """The label that most say; its probability is their share."""
        return cls(parts=parts, combine=Combine.VOTE)

    @classmethod
    def stack(cls, final: str, *parts: str) -> Graph:
        """`final` takes the score of each part as a column of the part's name (of several classes NAME_CLASS)."""
        return cls(parts=parts, final=final)

    @classmethod
    def chain(cls, *parts: str) -> Graph:
        """Each takes an input from the last one before it that gives an output of this name, or a feature."""
        return cls(parts=parts)


_read = msgspec.json.Decoder(ModelGraph).decode


def read_graph(data: bytes) -> ModelGraph:
    """Raises `Invalid` for what is no graph."""
    try:
        return _read(data)
    except UNREADABLE as error:
        raise Invalid(f"this blob is no graph of models: {error}") from None


def checked_size(graph: ModelGraph, get: Callable[[str], bytes], depth: int = 1) -> int:
    """How many models `graph` runs, those of graphs inside it included; `get` gives a blob's bytes.

    Raises `Invalid` for more than `MOST_MODELS`, and for graphs deeper than `MOST_DEPTH`, as one inside itself is.
    """
    if depth > MOST_DEPTH:
        raise Invalid(f"graphs stand one inside another at most {MOST_DEPTH} deep; name the parts of an inner one")
    parts = [node.part for node in graph.nodes if node.part]
    count = sum(
        checked_size(read_graph(get(part.blob)), get, depth + 1) if part.form is Form.GRAPH else 1 for part in parts
    )
    if count > MOST_MODELS:
        raise Invalid(f"a graph runs at most {MOST_MODELS} models, those of graphs inside it included, not {count}")
    return count


def composed(declared: Graph, version: Callable[[str], ModelVersion]) -> tuple[ModelGraph, Signature]:
    """The graph that runs, and what it takes and gives; `version` finds a model version.

    Raises `Invalid` when the parts do not fit together.
    """
    if not 2 <= len(declared.parts) + bool(declared.final) <= MOST_NODES:
        raise Invalid(f"a graph has 2 to {MOST_NODES} parts, not {len(declared.parts)}")
    nodes: list[Node] = []
    for reference in declared.parts:
        before = nodes if declared.combine is None and not declared.final else []
        nodes.append(_node(version(reference), nodes, before))
    if declared.combine:
        nodes.append(_combined(declared, nodes))
    elif declared.final:
        nodes.append(_stacked(version(declared.final), nodes))
    return _whole(tuple(nodes))


def _node(version: ModelVersion, others: Sequence[Node], before: Sequence[Node]) -> Node:
    part = Part(
        version=version.id, label=version.label, blob=version.blob, size=version.size, signature=version.signature,
        form=version.form, feeding=version.feeding, lock=version.lock or "",
    )  # fmt: skip
    takes = {spec.name: _sources(spec, before) for spec in version.signature.inputs}
    return Node(name=_unused(version.model, others), part=part, takes=takes)


def _sources(spec: TensorSpec, before: Sequence[Node]) -> tuple[Source, ...]:
    """The whole output of this name of the last node that has one; else, column by column, outputs or features."""
    for node in reversed(before):
        for output in _outputs(node):
            if output.name == spec.name and _width(output) == _width(spec):
                return (Source(node=node.name, output=output.name),)
    return tuple(_column(name, before) for name in spec.columns)


def _column(name: str, before: Sequence[Node]) -> Source:
    for node in reversed(before):
        for output in _outputs(node):
            if name in output.columns and output.shape[1:] != (-1,):
                return Source(node=node.name, output=output.name, column=output.columns.index(name))
    return Source(feature=name)


def _stacked(version: ModelVersion, parts: Sequence[Node]) -> Node:
    scores: dict[str, Source] = {}
    for node in parts:
        spec, classes = _score(node), _signature(node).classes
        if not classes:
            scores[node.name] = Source(node=node.name, output=spec.name, column=_width(spec) - 1)
        for at, name in enumerate(classes):
            scores[f"{node.name}_{name}"] = Source(node=node.name, output=spec.name, column=at)
    final = _node(version, parts, ())
    takes = {
        spec.name: tuple(scores.get(name, Source(feature=name)) for name in spec.columns)
        for spec in version.signature.inputs
    }
    used = {source.node for sources in takes.values() for source in sources}
    if unused := [node.name for node in parts if node.name not in used]:
        raise Invalid(f"{version.label} takes no column {unused[0]!r}; it takes the score of each part by its name")
    return final.but(takes=takes)


def _combined(declared: Graph, parts: Sequence[Node]) -> Node:
    combine, first = declared.combine, parts[0]
    if declared.weights and (len(declared.weights) != len(parts) or min(declared.weights) <= 0):
        raise Invalid(f"{len(parts)} parts take as many weights above 0, not {list(declared.weights)}")
    classes = _classes(first)
    for node in parts:
        if _classes(node) != classes or _width(_score(node)) != _width(_score(first)):
            raise Invalid(
                f"{_label(node)} and {_label(first)} do not tell the same classes apart, or give other scores"
            )
    if combine is Combine.VOTE and not classes:
        raise Invalid("only classes can be voted on; take the mean of numbers")
    scores = tuple(Source(node=node.name, output=_score(node).name) for node in parts)
    labels = tuple(Source(node=node.name, output=_label_spec(node).name) for node in parts) if classes else ()
    total = sum(declared.weights) or 1.0
    shares = tuple(weight / total for weight in declared.weights) or (1 / len(parts),) * len(parts)
    score = TensorSpec(name=_score(first).name, datatype=Datatype.FP64, shape=(-1, max(len(classes), 1)))
    outputs = (_label_spec(first).but(shape=(-1,)), score) if classes else (score,)
    return Node(
        name=_unused(str(combine), parts), combine=combine, of=labels if combine is Combine.VOTE else scores,
        weights=shares, classes=classes, outputs=outputs,
    )  # fmt: skip


def _classes(node: Node) -> tuple[ClassName, ...]:
    """The classes of a part by name; of two, 0 and 1; none of a number."""
    signature = _signature(node)
    if signature.classes or signature.label_place is None:
        return signature.classes
    if _width(_score(node)) != 2:
        return ()
    if _label_spec(node).datatype is not Datatype.INT64:
        raise Invalid(f"{_label(node)} gives texts for two classes, whose names it does not tell; train it on 0 and 1")
    return (0, 1)


def _whole(nodes: tuple[Node, ...]) -> tuple[ModelGraph, Signature]:
    last = nodes[-1]
    outputs = _outputs(last)
    gives = {spec.name: Source(node=last.name, output=spec.name) for spec in outputs}
    if last.part:
        score, classes = last.part.signature.score, last.part.signature.classes
    else:
        score, classes = outputs[-1].name, last.classes if len(last.classes) > 2 else ()
    features: dict[str, Datatype] = {}
    for node in nodes:
        for spec in node.part.signature.inputs if node.part else ():
            for source in node.takes[spec.name]:
                if source.feature:
                    features[source.feature] = _wider(source.feature, features.get(source.feature), spec.datatype)
    inputs = tuple(TensorSpec(name=name, datatype=datatype, shape=(-1, 1)) for name, datatype in features.items())
    if not inputs:
        raise Invalid("the graph takes no feature at all")
    signature = Signature(inputs=inputs, outputs=outputs, score=score, classes=classes)
    return ModelGraph(nodes=nodes, gives=gives), signature


def _wider(name: str, one: Datatype | None, other: Datatype) -> Datatype:
    if one is None or one is other:
        return other
    if Datatype.BYTES in (one, other):
        raise Invalid(f"feature {name!r} is {one} for one part and {other} for another")
    return max(one, other, key=_WIDENING.index)


def _outputs(node: Node) -> tuple[TensorSpec, ...]:
    return node.part.signature.outputs if node.part else node.outputs


def _signature(node: Node) -> Signature:
    assert node.part
    return node.part.signature


def _label(node: Node) -> str:
    return node.part.label if node.part else node.name


def _score(node: Node) -> TensorSpec:
    signature = _signature(node)
    return next(spec for spec in signature.outputs if spec.name == signature.score)


def _label_spec(node: Node) -> TensorSpec:
    signature = _signature(node)
    if signature.label_place is None:
        raise Invalid(f"{_label(node)} gives no label")
    return signature.outputs[signature.label_place]


def _width(spec: TensorSpec) -> int:
    return spec.shape[1] if len(spec.shape) > 1 else 1


def _unused(name: str, nodes: Sequence[Node]) -> str:
    taken = {node.name for node in nodes}
    return name if name not in taken else next(f"{name}-{at}" for at in range(2, 99) if f"{name}-{at}" not in taken)
