"""Suites of pandera and pointblank as checks of a gate: they judge the held-out rows, and tell what failed how often.

A suite is code of the project, in a module of one of its pipelines; nothing of it is read from an artifact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from headway.errors import Invalid
from headway.lifecycle.gates.check import Check, Subject, check
from headway.lifecycle.gates.records import Finding, Outcome

_TOLD = 10


def check_suite(name: str, suite: Any) -> Check:
    """Make a check of a suite, under the name that gates know it by.

    `suite` is a pandera schema or model, of its polars or its pandas part, or a function that takes the frame of the
    held-out rows (polars) and gives a pointblank `Validate`. Raises `Invalid` for anything else.
    """
    judged: Callable[[Any], Finding]
    if callable(getattr(suite, "validate", None)):
        judged = _pandera(suite)
    elif callable(suite):
        judged = _pointblank(suite)
    else:
        raise Invalid(
            f"the check {name!r} takes a pandera schema or a function that gives a pointblank Validate, "
            f"not a {type(suite).__name__}"
        )

    def judge(subject: Subject) -> Finding:
        return judged(subject.frame)

    judge.__doc__ = getattr(suite, "__doc__", None)
    judge.__module__, judge.__qualname__ = f"suite {name}", getattr(suite, "__qualname__", type(suite).__qualname__)
    return check(name=name)(judge)


def _pandera(schema: Any) -> Callable[[pl.DataFrame], Finding]:
    polars_part = "polars" in " ".join(kind.__module__ for kind in _bases(schema))

    def judged(frame: pl.DataFrame) -> Finding:
        from pandera.errors import SchemaErrors  # noqa: PLC0415

        try:
            schema.validate(frame if polars_part else frame.to_pandas(), lazy=True)
        except SchemaErrors as error:
            cases = (
                pl.DataFrame(error.failure_cases) if polars_part else pl.from_pandas(error.failure_cases.astype(str))
            )
            counted = cases.with_columns(pl.col("column", "check").cast(pl.String).fill_null("")).group_by(
                "column", "check"
            )
            failed = {
                f"{column} {rule}".strip(): count
                for column, rule, count in counted.len().sort("column", "check").iter_rows()
            }
            return _finding(frame.height, failed, [])
        return _finding(frame.height, {}, [])

    return judged


def _bases(schema: Any) -> tuple[type, ...]:
    return (schema if isinstance(schema, type) else type(schema)).__mro__


def _pointblank(suite: Callable[[pl.DataFrame], Any]) -> Callable[[pl.DataFrame], Finding]:
    def judged(frame: pl.DataFrame) -> Finding:
        validation = suite(frame)
        if not hasattr(validation, "interrogate"):
            what = "nothing" if validation is None else type(validation).__name__
            reason = f"the suite gave {what}; return a pointblank Validate"
            return Finding(outcome=Outcome.UNPROVEN, reason=reason)
        if validation.time_start is None:
            validation = validation.interrogate()
        failed: dict[str, int] = {}
        stopped = []
        for step in validation.validation_info:
            what = f"{step.i} {step.assertion_type} {step.column or ''}".strip()
            if step.eval_error:
                stopped.append(what)
            elif step.active and not step.all_passed:
                failed[what] = int(step.n_failed)
        return _finding(frame.height, failed, stopped)

    return judged


def _finding(rows: int, failed: dict[str, int], stopped: list[str]) -> Finding:
    """What could not be evaluated proves nothing; what failed has failed."""
    numbers: dict[str, Any] = {"rows": rows, "failed": dict(list(failed.items())[:1000]), "stopped": stopped}
    if failed:
        told = [f"{what} ({count})" for what, count in list(failed.items())[:_TOLD]]
        return Finding(outcome=Outcome.FAIL, reason=f"of {rows} rows failed: {'; '.join(told)}", numbers=numbers)
    if stopped:
        reason = f"could not be evaluated: {'; '.join(stopped[:_TOLD])}"
        return Finding(outcome=Outcome.UNPROVEN, reason=reason, numbers=numbers)
    if not rows:
        return Finding(outcome=Outcome.UNPROVEN, reason="there is no held-out row to judge", numbers=numbers)
    return Finding(outcome=Outcome.PASS, reason=f"all of {rows} held-out rows keep it", numbers=numbers)
