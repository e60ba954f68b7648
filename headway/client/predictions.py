"""Predictions and labels, over a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.predictions.records import AddLabels, FindLabels, Label, Labelled, LabelValue, Segment


class Prediction(Value):
    """A captured prediction and, once it is known, its label."""

    id: str
    deployment: str
    segment: str
    row: int
    release: str
    event_at: datetime
    score: float | None
    mirror_release: str | None = None
    mirror_score: float | None = None
    probabilities: tuple[float, ...] = ()
    """Of several classes, in the order of the signature."""
    mirror_probabilities: tuple[float, ...] = ()
    label: LabelValue | None = None


class Predictions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def label(self, labels: Mapping[str, LabelValue] | Iterable[Label]) -> Labelled:
        """Join labels, such as `{prediction id: truth}`, to their predictions; at most 10,000 at a time.

        A label is a number; of a model of several classes, the class by its name or number. Labels of predictions that
        were not captured yet are listed in the answer and not kept: send them again.
        """
        if isinstance(labels, Mapping):
            labels = [
                Label(prediction=name, value=value if isinstance(value, str) else float(value))
                for name, value in labels.items()
            ]
        return self._connection.post("/v1/labels", Labelled, AddLabels(labels=tuple(labels)))

    def get(self, identifier: str) -> Prediction:
        return self._connection.get(f"/v1/predictions/{segment(identifier)}", Prediction)

    def labels(self, predictions: Sequence[str]) -> dict[str, LabelValue]:
        """The truths that are known of these predictions; at most 10,000 at a time."""
        asked = FindLabels(predictions=tuple(predictions))
        return self._connection.post("/v1/labels/find", dict[str, LabelValue], asked)

    def segment(self, identifier: str) -> Segment:
        return self._connection.get(f"/v1/segments/{segment(identifier)}", Segment)

    def segments(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Segment]:
        return self._connection.get("/v1/segments", Page[Segment], deployment=deployment, limit=limit, before=before)
