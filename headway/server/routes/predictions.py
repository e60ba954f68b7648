"""Predictions, their labels, and the segments in which they arrive."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody, RawBody
from msgspec.structs import asdict

from headway.kernel.paging import Page
from headway.lifecycle.predictions.records import AddLabels, Captured, FindLabels, Labelled, LabelValue, Segment
from headway.server.routing import TABLE, App, By, get, post, put


class Prediction(Captured):
    """A captured prediction and, once it is known, the truth."""

    label: LabelValue | None = None


@put("/v1/deployments/{name:str}/segments/{digest:str}", opt={"body": TABLE})
def ingest(name: FromPath[str], digest: FromPath[str], body: RawBody, app: App, by: By) -> Segment:
    """Hand in captured predictions as Parquet; the same bytes again are the same segment."""
    segment = app.platform.predictions.ingest(name, digest, body, by=by)
    app.counters.add("headway_segments_total", deployment=name)
    app.counters.add("headway_prediction_rows_total", segment.rows, deployment=name)
    for compared in segment.comparisons:
        equal, apart = compared.cells[0], sum(compared.cells[1:])
        for outcome, rows in (("equal", equal), ("different", apart), ("failed", compared.failed)):
            app.counters.add("headway_compared_rows_total", rows, deployment=name, outcome=outcome)
    return segment


@get("/v1/segments")
def segments(
    app: App,
    deployment: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
    before: FromQuery[str | None] = None,
) -> Page[Segment]:
    """The captured segments of one deployment, or of all."""
    return app.platform.predictions.list(deployment, limit=limit, before=before)


@post("/v1/labels", status_code=200)
def label(data: JSONBody[AddLabels], app: App, by: By) -> Labelled:
    """Join the truth to predictions; those that were not captured yet are listed, and not kept."""
    return app.platform.predictions.label(data, by=by)


@get("/v1/segments/{identifier:str}")
def one_segment(identifier: FromPath[str], app: App) -> Segment:
    """One segment of captured predictions; its Parquet is the blob that it names."""
    return app.platform.predictions.segment(identifier)


@post("/v1/labels/find", status_code=200)
def find_labels(data: JSONBody[FindLabels], app: App) -> dict[str, LabelValue]:
    """The truths that are known of these predictions."""
    return app.platform.predictions.labels(data.predictions)


@get("/v1/predictions/{identifier:path}")
def prediction(identifier: FromPath[str], app: App) -> Prediction:
    """One captured prediction and its label."""
    found = app.platform.predictions.find(identifier.removeprefix("/"))
    known = app.platform.predictions.labels([found.id])
    return Prediction(**asdict(found), label=known.get(found.id))


ROUTES = (segments, one_segment, label, find_labels, prediction)
"""Those within the common limit of a body; `ingest` has its own."""
