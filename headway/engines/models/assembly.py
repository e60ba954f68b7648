"""From a graph of model versions to what is served: one model where that answers alike, else part by part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from headway.engines.models.export import Export
from headway.engines.models.joining import joined
from headway.engines.models.opening import open_parts
from headway.engines.models.proof import parity_between
from headway.engines.models.scoring import OnnxModel
from headway.engines.models.variants import Candidate, fastest, refusal_of
from headway.errors import Invalid
from headway.kernel.records import encode
from headway.lifecycle.models.graphs import ModelGraph
from headway.lifecycle.models.records import Form, Parity, PythonRuntime, Signature, Variant

JOINED, APART = "joined", "part by part"


def assembled(
    graph: ModelGraph, signature: Signature, rows: pl.DataFrame, get: Callable[[str], bytes],
    runtime: PythonRuntime | None = None, environments: Path | None = None,
) -> Export:  # fmt: skip
    """The graph as one ONNX model, if all parts are ONNX and that answers on `rows` as they do one after the other;
    else the graph itself. `get` gives a blob's bytes, and `runtime` runs parts that are not ONNX, locked ones in
    their environments below `environments`.

    Raises `Invalid` when the parts do not answer together at all.
    """
    whole = open_parts(graph, signature, get, runtime or PythonRuntime(), environments)
    try:
        scores = whole.score(rows)  # which shows that the parts go together
        try:
            onnx = joined(graph, signature, get)
            proof = parity_between(whole, OnnxModel(onnx, signature.score), rows)
            made = OnnxModel(onnx, signature.score).signature
            why = refusal_of(proof) if made == signature else "the joined model has another signature"
        except Invalid as error:
            onnx, proof, why = b"", None, str(error)
    finally:
        whole.close()
    data = encode(graph)
    if proof is not None and not why:
        variants = _variants(onnx, proof, rows, len(data))
        return Export(onnx, signature, proof, variants=variants, note=f"{len(graph.nodes)} nodes joined into one model")
    tried = Variant(name=JOINED, size=len(onnx), max_difference=proof.max_difference if proof else None, reason=why)
    itself = Parity(rows=len(scores), max_difference=0.0, worst_row=0, tolerance=0.0)
    kept = Variant(name=APART, size=len(data), kept=True)
    return Export(data, signature, itself, Form.GRAPH, (tried, kept), f"runs part by part: {why}"[:500])


def _variants(onnx: bytes, proof: Parity, rows: pl.DataFrame, size: int) -> tuple[Variant, ...]:
    """What the joined form costs; part by part it is what its parts cost, and a round through numpy for each."""
    _, [measured] = fastest([Candidate(JOINED, onnx, proof)], rows)
    return (measured, Variant(name=APART, size=size))
