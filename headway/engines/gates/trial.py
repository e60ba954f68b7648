"""A model version on trial: all that a gate may look at, scored once for all checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.models.classes import class_places
from headway.engines.models.opening import ScoringModel, open_onnx
from headway.engines.models.scoring import OnnxModel
from headway.engines.tables.frames import kind_of_column, read_table, utc_days
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import Contract, Use
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.gates.check import Subject
from headway.lifecycle.gates.statistics import class_losses, squared_losses
from headway.lifecycle.models.origins import Origins
from headway.lifecycle.models.records import ModelVersion, Task

Floats = NDArray[np.float64]
NO_DAY = "no day"
"""The day of rows without a time."""


@dataclass(frozen=True)
class Table:
    """A dataset version and its Parquet bytes."""

    version: DatasetVersion
    data: bytes

    @cached_property
    def frame(self) -> pl.DataFrame:
        return read_table(self.data)

    def used_as(self, use: Use) -> str | None:
        """The only column of this use by the contract, if the table has it."""
        name = self.version.contract.one(use) if self.version.contract else None
        return name if name in self.frame.columns else None


@dataclass(frozen=True)
class Champion:
    """The model version that serves now, and the bytes of its blob."""

    version: ModelVersion
    onnx: bytes


@dataclass(frozen=True)
class Trial:
    """`onnx` are the bytes of `version`, whatever its form, `baselines` those of its baselines by name; `training`
    is what it learnt from. `opened` gives what scores by a version and its bytes.

    What is derived raises `Invalid` when it cannot be had, with a message for the finding.
    """

    version: ModelVersion
    onnx: bytes
    held_out: Table
    training: tuple[Table, ...] = ()
    baselines: Mapping[str, bytes] = field(default_factory=dict)
    champion: Champion | None = None
    origins: Origins | None = None
    """Which data the version came from, and their tags."""
    timer_ns: Callable[[], int] = time.perf_counter_ns
    opened: Callable[[ModelVersion, bytes], ScoringModel] = open_onnx

    @cached_property
    def model(self) -> ScoringModel:
        return self.opened(self.version, self.onnx)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The columns that the model takes."""
        return tuple(name for spec in self.version.signature.inputs for name in spec.columns)

    @property
    def contract(self) -> Contract | None:
        return self.held_out.version.contract

    @cached_property
    def scores(self) -> Floats:
        """Of all held-out rows, shape [rows]; of several classes, [rows, classes]."""
        return self.model.score(self.held_out.frame)

    @cached_property
    def label(self) -> pl.Series:
        """The held-out column that is the truth."""
        name = self.held_out.used_as(Use.LABEL)
        if name is None:
            raise Invalid("no contract says which held-out column is the label; give the dataset one with a label")
        return self.held_out.frame[name]

    @cached_property
    def labels(self) -> Floats:
        """Of all held-out rows, NaN where the truth is not known; 0 and 1 for a binary task. Of several classes, the
        place of what happened among them, -1 where the model does not know it."""
        column, name = self.label, self.label.name
        if self.version.task is Task.MULTICLASS:
            return class_places(column, self.version.signature.classes)
        if kind_of_column(column.dtype) not in (Kind.INT, Kind.FLOAT, Kind.BOOL):
            raise Invalid(f"the label {name!r} holds {column.dtype}; it must be a number")
        labels: Floats = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        if self.version.task is Task.BINARY and not np.isin(labels[np.isfinite(labels)], (0.0, 1.0)).all():
            raise Invalid(f"the label {name!r} of a binary task must be 0 or 1")
        return labels

    @cached_property
    def known(self) -> NDArray[np.intp]:
        """The rows whose truth is known: those to judge by."""
        return np.flatnonzero(np.isfinite(self.labels))

    @cached_property
    def labelled(self) -> pl.DataFrame:
        return self.held_out.frame[self.known]

    @cached_property
    def truth(self) -> Floats:
        return self.labels[self.known]

    @cached_property
    def days(self) -> NDArray[Any] | None:
        """The day of each labelled row by the contract's time column; None without one."""
        name = self.held_out.used_as(Use.TIME)
        return None if name is None else utc_days(self.labelled[name]).fill_null(NO_DAY).to_numpy()

    @property
    def unit(self) -> str:
        """What counts as independent."""
        return "rows" if self.days is None else "days"

    @cached_property
    def losses(self) -> Floats:
        """The squared error of each labelled row, as for served predictions; of several classes, summed over them."""
        return self._losses(self.truth, self.scores[self.known])

    @cached_property
    def baseline_losses(self) -> dict[str, Floats]:
        return {name: self.losses_of(OnnxModel(onnx)) for name, onnx in self.baselines.items()}

    def losses_of(self, other: ScoringModel) -> Floats:
        truth = self.truth
        if self.version.task is Task.MULTICLASS:
            if not other.signature.classes:
                raise Invalid("it is compared with a model that tells no classes apart")
            truth = class_places(self.label[self.known], other.signature.classes)
        return self._losses(truth, other.score(self.labelled))

    def _losses(self, truth: Floats, scores: Floats) -> Floats:
        several = self.version.task is Task.MULTICLASS
        return class_losses(truth, scores) if several else squared_losses(truth, scores)

    @cached_property
    def certainty(self) -> tuple[Floats, Floats]:
        """Of each labelled row: the probability that is to be calibrated, and whether it came so, 0 or 1. Of several
        classes it is that of the likeliest."""
        scores = self.scores[self.known]
        if self.version.task is not Task.MULTICLASS:
            return scores, self.truth
        return scores.max(axis=1), (scores.argmax(axis=1) == self.truth).astype(np.float64)

    @cached_property
    def subject(self) -> Subject:
        """What a check of the project gets to see."""
        return Subject(version=self.version, frame=self.held_out.frame, scores=self.scores, labels=self.labels)
