"""Suites of pandera and pointblank judge held-out rows as checks of a gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from headway.engines.gates.gatekeeper import measure
from headway.engines.gates.suites import check_suite
from headway.engines.gates.trial import Trial
from headway.errors import Invalid
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates import check as checks
from headway.lifecycle.gates.records import Finding, Outcome
from tests.engines.gatekeeper.trials import with_held_out

pandera = pytest.importorskip("pandera.polars")
pointblank = pytest.importorskip("pointblank")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Checks are registered for a process: these are none of the other tests' business."""
    before = dict(checks._checks)
    yield
    checks._checks.clear()
    checks._checks.update(before)


def found(trial: Trial, suite: Any) -> Finding:
    checks._checks.clear()
    made = check_suite("suited", suite)
    return measure(trial, [CheckSpec(check="suited")], {"suited": made}).findings["suited"]


def broken(sound: Trial) -> Trial:
    heavy = pl.when(pl.int_range(pl.len()) < 3).then(1e9).otherwise("load")
    return with_held_out(sound, sound.held_out.frame.with_columns(load=heavy))


def schema() -> Any:
    return pandera.DataFrameSchema({"load": pandera.Column(float, pandera.Check.lt(1e6), coerce=True)})


class Model(pandera.DataFrameModel):  # type: ignore[name-defined,misc]
    """Loads are small."""

    load: float = pandera.Field(lt=1e6, coerce=True)


@pytest.mark.parametrize("suite", [schema(), Model])
def test_pandera(sound: Trial, suite: Any) -> None:
    rows = sound.held_out.frame.height
    assert found(sound, suite) == Finding(
        outcome=Outcome.PASS, reason=f"all of {rows} held-out rows keep it",
        numbers={"rows": rows, "failed": {}, "stopped": []},
    )  # fmt: skip
    refused = found(broken(sound), suite)
    assert (refused.outcome, refused.numbers["failed"]) == (Outcome.FAIL, {"load less_than(1000000.0)": 3})


def test_pandera_names_a_column_that_is_not_there(sound: Trial) -> None:
    refused = found(sound, pandera.DataFrameSchema({"laod": pandera.Column(float)}))
    assert (refused.outcome, refused.numbers["failed"]) == (Outcome.FAIL, {"column_in_dataframe": 1})


def test_pandera_over_pandas(sound: Trial) -> None:
    import pandera.pandas  # noqa: PLC0415

    suite = pandera.pandas.DataFrameSchema(
        {"load": pandera.pandas.Column(float, pandera.pandas.Check.lt(1e6), coerce=True)}
    )
    assert found(sound, suite).outcome is Outcome.PASS
    assert found(broken(sound), suite).numbers["failed"] == {"load less_than(1000000.0)": 3}


def test_pointblank(sound: Trial) -> None:
    def small_loads(frame: pl.DataFrame) -> Any:
        """Loads are small."""
        return pointblank.Validate(data=frame).col_vals_lt(columns="load", value=1e6).col_vals_not_null(columns="load")

    assert found(sound, small_loads).outcome is Outcome.PASS
    refused = found(broken(sound), lambda frame: small_loads(frame).interrogate())
    assert (refused.outcome, refused.numbers["failed"]) == (Outcome.FAIL, {"1 col_vals_lt load": 3})


def test_what_cannot_be_evaluated_proves_nothing(sound: Trial) -> None:
    stopped = found(sound, lambda frame: pointblank.Validate(data=frame).col_vals_gt(columns="laod", value=1))
    assert (stopped.outcome, stopped.numbers["stopped"]) == (Outcome.UNPROVEN, ["1 col_vals_gt laod"])
    assert "return a pointblank Validate" in found(sound, lambda frame: None).reason
    raised = found(sound, lambda frame: frame["laod"])
    assert (raised.outcome, "it stopped with ColumnNotFoundError" in raised.reason) == (Outcome.UNPROVEN, True)
    empty = replace(sound, held_out=with_held_out(sound, sound.held_out.frame.clear()).held_out)
    assert check_suite("none", schema()).judge(_Rows(empty.held_out.frame), {}).outcome is Outcome.UNPROVEN  # type: ignore[arg-type]


class _Rows:
    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame


def test_what_is_no_suite() -> None:
    with pytest.raises(Invalid, match="not a int"):
        check_suite("suited", 3)
