"""What may be put aside and purged, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headway.errors import Invalid, Refused
from headway.kernel.records import Record
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.models.records import Model, ModelVersion, Registration
from headway.lifecycle.predictions.records import Segment
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.records import Artifact, Experiment, Run, StepResult
from headway.lifecycle.runs.traces import Trace

PURGEABLE: Mapping[str, type[Record]] = {
    kind.prefix: kind
    for kind in (
        Experiment, Run, Artifact, LoggedModel, Trace, StepResult, DatasetVersion, Model, Registration, ModelVersion,
        Segment,
    )
}  # fmt: skip
"""By id prefix. What is not here (evidence, verdicts, approvals, releases, changes, alerts) is the record of what was
delivered, and stays."""
WORDS: Mapping[type[Record], str] = {
    Experiment: "experiment", Run: "run", Artifact: "artifact", LoggedModel: "logged_model", Trace: "trace",
    StepResult: "step_result", DatasetVersion: "dataset_version", Model: "model", Registration: "registration",
    ModelVersion: "model_version", Segment: "segment",
}  # fmt: skip
_NEVER_ASIDE = (StepResult, Segment)
"""What nobody puts aside by hand: a cache, and what model servers hand over. It is purged as it is."""
_NAMED = 5


def put_aside(record: Record) -> bool:
    """Whether it was deleted, or is of a kind that is purged as it is."""
    if isinstance(record, Artifact):
        return record.removed_at is not None
    return isinstance(record, _NEVER_ASIDE) or getattr(record, "deleted_at", None) is not None


def name_of(record: Record) -> str:
    """What people call it."""
    if isinstance(record, DatasetVersion | ModelVersion):
        return record.label
    if isinstance(record, Registration):
        return f"{record.model}@{record.number}"
    if isinstance(record, Trace):
        return record.request
    if isinstance(record, StepResult):
        return record.step
    return str(getattr(record, "name", "") or getattr(record, "deployment", "") or record.id)


def must_be_aside(record: Record) -> None:
    if not put_aside(record):
        raise Refused(f"{name_of(record)} ({record.id}) is in use; delete it first, which can be undone, then purge it")


def must_be_free(record: Record, dependents: Sequence[str], what: str) -> None:
    """Raise `Refused`, naming them, when anything that is kept depends on `record`."""
    if dependents:
        named = ", ".join(dependents[:_NAMED])
        more = f" and {len(dependents) - _NAMED} more" if len(dependents) > _NAMED else ""
        raise Refused(
            f"{name_of(record)} ({record.id}) cannot be {what}: {named}{more} came from it; {what} those first, if you "
            "may",
            dependents=list(dependents),
        )


def checked_reason(why: str) -> str:
    if not why.strip() or len(why) > 1000:
        raise Invalid("a purge needs a reason of 1 to 1000 characters; it stays in the ledger")
    return why


def numbered_after(line: Any, number: int) -> Any:
    """The dataset or model, knowing that `number` was given and is not to be given again."""
    return line.but(last_number=max(line.last_number, number))
