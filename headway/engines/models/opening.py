"""Open a model version to be scored, in whatever form it is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.models.scoring import BATCH_ROWS, Feeds, OnnxModel, feeds, no_scores, scores_in
from headway.engines.runtimes.python import Plan, PythonWorker, Raised
from headway.errors import Invalid
from headway.lifecycle.models.records import ModelVersion, Signature


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
        try:
            answer: NDArray[Any] = self._worker.run(feed)[self._place]
        except Raised as error:
            raise Invalid(f"the model cannot score these rows: {error}"[:500]) from error
        return scores_in(self.signature, answer)

    def score(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        parts = [self.run(feeds(self.signature, part)) for part in frame.iter_slices(BATCH_ROWS)]
        return np.concatenate(parts) if parts else no_scores(self.signature)

    def close(self) -> None:
        self._worker.end()


def open_onnx(version: ModelVersion, data: bytes) -> OnnxModel:
    return OnnxModel(data, version.signature.score, version.signature)
