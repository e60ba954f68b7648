"""A graph of models as gates and proofs ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.models.composing import RunPart, run_graph
from headway.engines.models.scoring import BATCH_ROWS, Feeds, feeds, no_scores, scores_in
from headway.lifecycle.models.graphs import ModelGraph
from headway.lifecycle.models.records import Signature


class GraphModel:
    """`parts` runs its parts by node, and `close` is called at the end."""

    def __init__(
        self, graph: ModelGraph, signature: Signature, parts: Mapping[str, RunPart],
        close: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._graph, self.signature, self._parts, self.close = graph, signature, parts, close
        self._place = [spec.name for spec in signature.outputs].index(signature.score)

    def run(self, feed: Feeds) -> NDArray[np.float64]:
        return scores_in(self.signature, run_graph(self._graph, self.signature, feed, self._parts)[self._place])

    def score(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        scores = [self.run(feeds(self.signature, part)) for part in frame.iter_slices(BATCH_ROWS)]
        return np.concatenate(scores) if scores else no_scores(self.signature)

    def column(self, frame: pl.DataFrame, output: str) -> NDArray[Any]:
        """The last column of any output, one entry per row."""
        place = [spec.name for spec in self.signature.outputs].index(output)
        answers = run_graph(self._graph, self.signature, feeds(self.signature, frame), self._parts)[place]
        return answers.reshape(len(answers), -1)[:, -1]
