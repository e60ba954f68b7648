"""What a run may do next."""

from __future__ import annotations

from datetime import datetime

from headway.errors import IllegalMove, Invalid
from headway.lifecycle.runs.records import MOVES, LogBatch, Run, RunState

MOST_METRICS, MOST_TEXTS = 10_000, 1_000
LONGEST_KEY, LONGEST_VALUE = 250, 8_000


def moved(run: Run, state: RunState, at: datetime, error: str = "") -> Run:
    """The run in its new state; raises `IllegalMove`. Moving to where it stands already changes nothing."""
    if state is run.state:
        return run
    if state not in MOVES[run.state]:
        raise IllegalMove(f"run {run.id} is {run.state}; it cannot become {state}")
    if state is RunState.RUNNING:
        return run.but(state=state, started_at=at)
    return run.but(state=state, ended_at=at, error=error)


def with_logged(run: Run, batch: LogBatch) -> Run:
    """The run with params and tags of `batch`; a param that has a value keeps it."""
    _check_sizes(batch)
    for key, value in batch.params.items():
        if run.params.get(key, value) != value:
            raise Invalid(
                f"param {key!r} of run {run.id} is {run.params[key]!r} already; params do not change, log it as a tag"
            )
    if batch.params or batch.tags:
        return run.but(params=run.params | batch.params, tags=run.tags | batch.tags)
    return run


def _check_sizes(batch: LogBatch) -> None:
    if len(batch.metrics) > MOST_METRICS:
        raise Invalid(f"a batch holds at most {MOST_METRICS} metric points, not {len(batch.metrics)}; send it in parts")
    texts = {**batch.params, **batch.tags}
    if len(batch.params) + len(batch.tags) > MOST_TEXTS:
        raise Invalid(f"a batch holds at most {MOST_TEXTS} params and tags; send it in parts")
    keys = [*batch.params, *batch.tags, *(metric.key for metric in batch.metrics)]
    wrong = next((key for key in keys if not 0 < len(key) <= LONGEST_KEY), None)
    if wrong is not None:
        raise Invalid(f"a key has 1 to {LONGEST_KEY} characters, not {len(wrong)}: {wrong[:40]!r}")
    long = next((key for key, value in texts.items() if len(value) > LONGEST_VALUE), None)
    if long is not None:
        raise Invalid(f"the value of {long!r} is longer than {LONGEST_VALUE} characters; log it as an artifact")
