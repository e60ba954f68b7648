"""What a run may do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from headway.errors import Conflict, IllegalMove, Invalid
from headway.lifecycle.runs.records import MOVES, AmendRun, LogBatch, Run, RunState

MOST_METRICS, MOST_TEXTS = 10_000, 1_000
LONGEST_KEY, LONGEST_VALUE = 250, 8_000
LONGEST_LOG = 1_000_000
LONGEST_TITLE = 500


def moved(run: Run, state: RunState, at: datetime, error: str = "") -> Run:
    """The run in its new state; raises `IllegalMove`. Moving to where it stands already changes nothing."""
    if state is run.state:
        return run
    if state not in MOVES[run.state]:
        raise IllegalMove(f"run {run.id} is {run.state}; it cannot become {state}")
    if state is RunState.RUNNING:
        return run.but(state=state, started_at=at)
    return run.but(state=state, ended_at=at, error=error)


def resumed(run: Run) -> Run:
    """The run going on once more; raises `Conflict` for one whose end the platform itself has seen."""
    must_be_open(run)
    return run.but(state=RunState.RUNNING, ended_at=None, error="") if run.over else run


def must_be_open(run: Run) -> None:
    """Raise `Conflict` for a run of a pipeline or a change that is over: what it logged is evidence."""
    if run.over and (run.pipeline or run.change):
        raise Conflict(f"run {run.id} is {run.state}; start a new run to log more")


def must_be_active(run: Run) -> None:
    """Raise `Invalid` for a run that is deleted."""
    if run.deleted_at is not None:
        raise Invalid(f"run {run.id} is deleted; restore it first")


def amended(run: Run, amendment: AmendRun) -> Run:
    """The run with what `amendment` says; an input that it has already is kept once."""
    removed = {key for key, value in amendment.tags.items() if value is None}
    tags = {key: value for key, value in amendment.tags.items() if value is not None}
    _check_sizes(LogBatch(tags=tags))
    known = {(item.name, item.digest) for item in run.inputs}
    return run.but(
        name=run.name if amendment.name is None else amendment.name,
        tags={key: value for key, value in (run.tags | tags).items() if key not in removed},
        inputs=run.inputs + tuple(item for item in amendment.inputs if (item.name, item.digest) not in known),
        models_read=tuple(dict.fromkeys(run.models_read + amendment.models_read)),
        models_written=tuple(dict.fromkeys(run.models_written + amendment.models_written)),
    )


def with_logged(run: Run, batch: LogBatch) -> Run:
    """The run with params and tags of `batch`, or the very same when it has them all; a param keeps its value."""
    _check_sizes(batch)
    for key, value in batch.params.items():
        if run.params.get(key, value) != value:
            raise Invalid(
                f"param {key!r} of run {run.id} is {run.params[key]!r} already; params do not change, log it as a tag"
            )
    params, tags = run.params | batch.params, run.tags | batch.tags
    return run if params == run.params and tags == run.tags else run.but(params=params, tags=tags)


def _check_sizes(batch: LogBatch) -> None:
    if len(batch.metrics) > MOST_METRICS:
        raise Invalid(f"a batch holds at most {MOST_METRICS} metric points, not {len(batch.metrics)}; send it in parts")
    if len(batch.params) + len(batch.tags) > MOST_TEXTS:
        raise Invalid(f"a batch holds at most {MOST_TEXTS} params and tags; send it in parts")
    _check_keys(metric.key for metric in batch.metrics)
    check_texts({**batch.params, **batch.tags})


def _check_keys(keys: Iterable[str]) -> None:
    wrong = next((key for key in keys if not 0 < len(key) <= LONGEST_KEY), None)
    if wrong is not None:
        raise Invalid(f"a key has 1 to {LONGEST_KEY} characters, not {len(wrong)}: {wrong[:40]!r}")


def check_texts(texts: Mapping[str, str]) -> None:
    """Raise `Invalid` for a key or a value of a param or a tag that is too long; any number of them will do."""
    _check_keys(texts)
    long = next((key for key, value in texts.items() if len(value) > LONGEST_VALUE), None)
    if long is not None:
        raise Invalid(f"the value of {long!r} is longer than {LONGEST_VALUE} characters; log it as an artifact")


def checked_title(text: str, what: str) -> str:
    """`text` if it may name a `what` that other tools name freely; raises `Invalid` otherwise."""
    if not text.strip() or len(text) > LONGEST_TITLE or not text.isprintable():
        raise Invalid(f"{text[:100]!r} cannot name a {what}: take 1 to {LONGEST_TITLE} printable characters")
    return text


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """`tags`, if their keys and values are within the limits of a run's."""
    _check_sizes(LogBatch(tags=dict(tags)))
    return dict(tags)


def checked_log(text: str) -> str:
    """`text` if it may be one part of what a step printed; raises `Invalid` otherwise."""
    if not text or len(text) > LONGEST_LOG or "\0" in text:
        raise Invalid(f"a part of a log has 1 to {LONGEST_LOG} characters, and no NUL; send more of it in parts")
    return text
