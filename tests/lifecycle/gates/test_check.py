"""Checks of the project's own: what they give, and that nothing but a clear yes is a pass."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from headway.errors import Invalid
from headway.lifecycle.gates.check import Check, Subject, check, registered
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.models.records import Datatype, ModelVersion, Signature, Task, TensorSpec

TENSOR = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1))
VERSION = ModelVersion(
    id="mv_1", created_at=datetime(2026, 1, 1, tzinfo=UTC), model="m", number=1, blob="b3:0", size=1,
    signature=Signature(inputs=(TENSOR,), outputs=(TENSOR,), score="x"), task=Task.BINARY, run="rn_1", training=(),
    evaluation="dv_1",
)  # fmt: skip
SUBJECT = Subject(version=VERSION, frame=None, scores=np.array([0.1, 0.9]), labels=np.array([0.0, 1.0]))


def gives(answer: Any) -> Outcome:
    def sure(subject: Subject) -> Any:
        """It is sure."""
        return answer

    return Check(sure).judge(SUBJECT, {}).outcome


@pytest.mark.parametrize("answer", [True, np.True_, SUBJECT.scores.max() <= 0.95])
def test_yes_is_a_pass(answer: Any) -> None:
    assert gives(answer) is Outcome.PASS


@pytest.mark.parametrize("answer", [False, np.False_])
def test_no_is_a_fail(answer: Any) -> None:
    assert gives(answer) is Outcome.FAIL


@pytest.mark.parametrize("answer", [None, 1, "yes", np.array([True, True]), [True], 0])
def test_anything_else_proves_nothing(answer: Any) -> None:
    assert gives(answer) is Outcome.UNPROVEN


def test_a_finding_is_taken_as_it_is() -> None:
    finding = Finding(outcome=Outcome.UNPROVEN, reason="too few rows", numbers={"n": 3})
    assert Check(lambda subject: finding, name="own").judge(SUBJECT, {}) == finding


def test_settings_are_handed_over() -> None:
    def bounded(subject: Subject, highest: float = 0.5) -> bool:
        return bool(subject.scores.max() <= highest)

    assert Check(bounded).judge(SUBJECT, {"highest": 0.95}).outcome is Outcome.PASS
    assert Check(bounded).judge(SUBJECT, {}).outcome is Outcome.FAIL
    found = Check(bounded).judge(SUBJECT, {"hihgest": 0.95})
    assert found.outcome is Outcome.UNPROVEN
    assert "hihgest" in found.reason


def test_one_that_stops_proves_nothing_and_says_why() -> None:
    def broken(subject: Subject) -> bool:
        raise KeyError("column")

    found = Check(broken).judge(SUBJECT, {})
    assert (found.outcome, found.reason) == (Outcome.UNPROVEN, "it stopped with KeyError: 'column'")


def test_the_reason_is_the_docstring() -> None:
    @check
    def calm(subject: Subject) -> bool:
        """No score is extreme.

        And more.
        """
        return True

    assert calm.judge(SUBJECT, {}).reason == "holds: No score is extreme."
    assert calm(SUBJECT) is True
    assert registered()["calm"] is calm


def test_names() -> None:
    @check(name="odd-one")
    def first(subject: Subject) -> bool:
        return True

    with pytest.raises(Invalid, match="two functions are the check 'odd-one'"):

        @check(name="odd-one")
        def second(subject: Subject) -> bool:
            return False

    assert registered()["odd-one"] is first
    with pytest.raises(Invalid):
        check(name="no such name")(lambda subject: True)
