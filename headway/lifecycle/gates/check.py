"""Checks that a project brings itself: `@check` on a function in its `pipeline.py`, named in a gate of `headway.toml`.

    @hw.check
    def no_extremes(subject: hw.Subject, highest: float = 0.99) -> bool:
        "No score is above `highest`."
        return subject.scores.max() <= highest

The settings of the gate's table, other than `check`, are handed over by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, overload

from headway.errors import Invalid
from headway.kernel.naming import checked_name
from headway.kernel.records import Value
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.models.records import ModelVersion


class Subject(Value):
    """What a check looks at: a model version and how it did on rows that it never saw."""

    version: ModelVersion
    frame: Any
    """The held-out rows as a polars DataFrame, labels included."""
    scores: Any
    """What the served form of the model answers: floats, shape [rows]; of several classes, [rows, classes]."""
    labels: Any
    """The truth: floats, shape [rows]; NaN where it is not known. Of several classes, the place among them."""


class Check:
    """A named check. Call it to use the function as it stands; `judge` always comes to a finding."""

    def __init__(self, function: Callable[..., Any], *, name: str = "") -> None:
        self.name = checked_name(name or function.__name__, "check")
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def judge(self, subject: Subject, settings: Mapping[str, Any]) -> Finding:
        """The function's finding. One that fails to run, or gives neither a bool nor a finding, proves nothing."""
        try:
            answer = self.function(subject, **settings)
        except Exception as error:
            return Finding(outcome=Outcome.UNPROVEN, reason=f"it stopped with {type(error).__name__}: {error}"[:500])
        if isinstance(answer, Finding):
            return answer
        if type(answer).__name__ not in ("bool", "bool_"):  # numpy has a bool of its own, which is no bool
            what = "nothing" if answer is None else type(answer).__name__
            return Finding(outcome=Outcome.UNPROVEN, reason=f"it gave {what}; return a bool or a Finding")
        outcome = Outcome.PASS if answer else Outcome.FAIL
        return Finding(outcome=outcome, reason=f"{'holds' if answer else 'does not hold'}: {self.about}")

    @property
    def about(self) -> str:
        """The first line of its docstring, or its name."""
        return (self.function.__doc__ or self.name).strip().splitlines()[0]

    def __repr__(self) -> str:
        return f"<check {self.name}>"


_checks: dict[str, Check] = {}


def registered() -> Mapping[str, Check]:
    """The checks of the project that was loaded in this process, by name."""
    return dict(_checks)


@overload
def check(function: Callable[..., Any], /) -> Check: ...
@overload
def check(*, name: str = "") -> Callable[[Callable[..., Any]], Check]: ...
def check(
    function: Callable[..., Any] | None = None, /, *, name: str = ""
) -> Check | Callable[[Callable[..., Any]], Check]:
    """Make a check of a function that takes a `Subject` and the gate's settings: `@check` or `@check(name="...")`.

    Raises `Invalid` when another function has the name already; the same one loaded again replaces itself.
    """
    if function is None:
        return lambda bare: _register(Check(bare, name=name))
    return _register(Check(function))


def _register(made: Check) -> Check:
    known = _checks.get(made.name)
    if known and _place(known.function) != _place(made.function):
        raise Invalid(f"two functions are the check {made.name!r}; give one another name by @check(name=...)")
    _checks[made.name] = made
    return made


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__
