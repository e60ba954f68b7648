"""Open a model version to be scored, in whatever form it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.models.composing import RunPart, opened_parts
from headway.engines.models.graph_model import GraphModel
from headway.engines.models.scoring import BATCH_ROWS, Feeds, OnnxModel, feeds, no_scores, scores_in
from headway.engines.runtimes.environments import locked
from headway.engines.runtimes.folders import laid_out
from headway.engines.runtimes.python import Plan, PythonWorker, Raised
from headway.errors import Invalid
from headway.lifecycle.models.graphs import ModelGraph, Part, read_graph
from headway.lifecycle.models.records import Form, ModelVersion, PythonRuntime, Signature


class ScoringModel(Protocol):
    @property
    def signature(self) -> Signature: ...

    def run(self, feed: Feeds) -> NDArray[np.float64]:
        """The last column of the score output, shape [rows], or all, [rows, classes], where it tells classes apart;
        raises `Invalid` when the model stops."""
        ...

    def score(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """As `run` for each row; raises `Invalid` when the model does not take the columns of `frame`."""
        ...


class WorkerModel:
    """The model of `plan` in an isolated worker; raises as `PythonWorker` does."""

    def __init__(self, plan: Plan) -> None:
        assert plan.signature
        self.signature, self._worker = plan.signature, PythonWorker(plan)
        names = [spec.name for spec in plan.signature.outputs]
        self._place = names.index(plan.signature.score)

    def run(self, feed: Feeds) -> NDArray[np.float64]:
        return scores_in(self.signature, self.outputs(feed)[self._place])

    def outputs(self, feed: Feeds) -> list[NDArray[Any]]:
        """In the signature's order; raises `Invalid` when the model stops."""
        try:
            return self._worker.run(feed)
        except Raised as error:
            raise Invalid(f"the model cannot score these rows: {error}"[:500]) from error

    def score(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        parts = [self.run(feeds(self.signature, part)) for part in frame.iter_slices(BATCH_ROWS)]
        return np.concatenate(parts) if parts else no_scores(self.signature)

    def close(self) -> None:
        self._worker.end()


def opener(
    get: Callable[[str], bytes], runtime: PythonRuntime, environments: Path | None, open_until: ExitStack
) -> Callable[[ModelVersion, bytes], ScoringModel]:
    """What opens a model version with its bytes as a deployment of this `runtime` runs it, until `open_until` ends.

    `get` gives a blob's bytes; locked environments are below `environments`. What it gives raises as `WorkerModel` and
    `open_onnx` do, and `Unavailable` for an environment that is not there.
    """

    def opened(version: ModelVersion, data: bytes) -> ScoringModel:
        if version.form is Form.ONNX:
            return open_onnx(version, data)
        if version.form is Form.GRAPH:
            return open_until.enter_context(closing(open_graph(version, data, get, runtime, environments)))
        return _in_worker(version, get, runtime, environments, open_until)

    return opened


def open_graph(
    version: ModelVersion, data: bytes, get: Callable[[str], bytes], runtime: PythonRuntime,
    environments: Path | None = None,
) -> GraphModel:  # fmt: skip
    """A graph part by part, until it is closed; `get` gives a blob's bytes. Raises as its parts do."""
    return open_parts(read_graph(data), version.signature, get, runtime, environments)


def open_parts(
    graph: ModelGraph, signature: Signature, get: Callable[[str], bytes], runtime: PythonRuntime,
    environments: Path | None = None,
) -> GraphModel:  # fmt: skip
    with ExitStack() as failing:
        parts = opened_parts(graph, get, lambda part, _: _part(part, get, runtime, environments, failing))
        return GraphModel(graph, signature, parts, failing.pop_all().close)


def _part(
    part: Part, get: Callable[[str], bytes], runtime: PythonRuntime, environments: Path | None, open_until: ExitStack
) -> RunPart:
    if part.form is Form.ONNX:
        return OnnxModel(get(part.blob), part.signature.score, part.signature).outputs
    return _in_worker(part, get, runtime, environments, open_until).outputs


def _in_worker(
    model: ModelVersion | Part, get: Callable[[str], bytes], runtime: PythonRuntime, environments: Path | None,
    open_until: ExitStack,
) -> WorkerModel:  # fmt: skip
    python = locked(runtime, model.lock, environments, model.label)
    folder = Path(open_until.enter_context(tempfile.TemporaryDirectory(prefix="headway-model-")))
    path = laid_out(model.form, model.blob, get, folder)
    return open_until.enter_context(
        closing(WorkerModel(Plan(model.form, path, python, model.signature, model.feeding)))
    )


def open_onnx(version: ModelVersion, data: bytes) -> OnnxModel:
    return OnnxModel(data, version.signature.score, version.signature)
