"""Assessments of traces, as MLflow's clients speak of them: feedback, and what was expected."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from headway.errors import Invalid, NotFound
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import Answer, Ask, Desk, timestamp

_MASKS = {
    "assessment_name": "assessment_name", "assessmentName": "assessment_name", "feedback": "feedback",
    "expectation": "expectation", "rationale": "rationale", "metadata": "metadata", "valid": "valid",
}  # fmt: skip
Assessments = dict[str, dict[str, Any]]
"""By id."""


class Assess(Ask):
    trace_id: str
    assessment: dict[str, Any]


class AssessmentId(Ask):
    trace_id: str
    assessment_id: str


class Reassess(AssessmentId):
    assessment: dict[str, Any]
    update_mask: str | dict[str, list[str]]


def create(ask: Assess, desk: Desk) -> Answer:
    """One that overrides another takes its place as the valid one."""
    kept = prepared(ask.assessment, ask.trace_id, desk)

    def change(there: Assessments) -> Assessments:
        overridden = str(kept.get("overrides") or "")
        if overridden:
            there[overridden] = {**_of(there, overridden), "valid": False}
        return {**there, kept["assessment_id"]: kept}

    desk.platform.traces.assess(ask.trace_id, change, by=desk.by)
    return {"assessment": kept}


def prepared(given: dict[str, Any], trace: str, desk: Desk) -> dict[str, Any]:
    """A new assessment, with an id and a time; raises `Invalid` for what is none."""
    now = timestamp(desk.clock.now())
    kept = {"create_time": now, "last_update_time": now, "valid": True, **given}
    _check(kept)
    return kept | {"assessment_id": f"a-{uuid4().hex}", "trace_id": trace}


def get(ask: AssessmentId, desk: Desk) -> Answer:
    return {"assessment": _of(desk.platform.traces.get(ask.trace_id).assessments, ask.assessment_id)}


def update(ask: Reassess, desk: Desk) -> Answer:
    """Only what the mask names; metadata is added to."""
    names = [_name(path) for path in _paths(ask.update_mask)]
    now = timestamp(desk.clock.now())

    def change(there: Assessments) -> Assessments:
        before = _of(there, ask.assessment_id)
        wrong = next((name for name in names if name in ("feedback", "expectation") and name not in before), None)
        if wrong:
            raise Invalid(f"assessment {ask.assessment_id[:60]} is no {wrong}")
        kept = {**before, "last_update_time": now, **{name: ask.assessment.get(name) for name in names}}
        _check(kept)
        kept["metadata"] = {**(before.get("metadata") or {}), **(kept.get("metadata") or {})}
        return {**there, ask.assessment_id: kept}

    changed = desk.platform.traces.assess(ask.trace_id, change, by=desk.by)
    return {"assessment": changed.assessments[ask.assessment_id]}


def delete(ask: AssessmentId, desk: Desk) -> Answer:
    """What it overrode is valid again."""

    def change(there: Assessments) -> Assessments:
        overridden = str(there.pop(ask.assessment_id, {}).get("overrides") or "")
        if overridden in there:
            there[overridden] = {**there[overridden], "valid": True}
        return there

    desk.platform.traces.assess(ask.trace_id, change, by=desk.by)
    return {}


def _of(assessments: Assessments, identifier: str) -> dict[str, Any]:
    if identifier not in assessments:
        raise NotFound(f"this trace has no assessment {identifier[:100]!r}")
    return assessments[identifier]


def _name(path: str) -> str:
    if path not in _MASKS:
        raise Invalid(f"{path[:60]!r} of an assessment cannot be updated; there are: {', '.join(sorted(_MASKS))}")
    return _MASKS[path]


def _check(assessment: dict[str, Any]) -> None:
    name = assessment.get("assessment_name")
    if not isinstance(name, str) or not 0 < len(name) <= 250:
        raise Invalid("an assessment needs an assessment_name of 1 to 250 characters")
    if ("feedback" in assessment) is ("expectation" in assessment):
        raise Invalid("an assessment is either feedback or an expectation")
    for part in ("feedback", "expectation", "metadata"):
        if not isinstance(assessment.get(part) or {}, dict):
            raise Invalid(f"{part} of an assessment must be a JSON object")


def _paths(mask: str | dict[str, list[str]]) -> list[str]:
    found = mask.get("paths", []) if isinstance(mask, dict) else [path for path in mask.split(",") if path]
    if not found:
        raise Invalid("update_mask names the fields to update, such as feedback,rationale")
    return found


ENDPOINTS = (
    Endpoint("POST", "traces/{trace_id}/assessments", Assess, create),
    Endpoint("GET", "traces/{trace_id}/assessments/{assessment_id}", AssessmentId, get),
    Endpoint("PATCH", "traces/{trace_id}/assessments/{assessment_id}", Reassess, update),
    Endpoint("DELETE", "traces/{trace_id}/assessments/{assessment_id}", AssessmentId, delete),
)
