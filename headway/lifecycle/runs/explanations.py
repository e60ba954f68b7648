"""Why a step runs, or why what it gave is found again."""

from __future__ import annotations

from headway.kernel.records import State, Value


class CodePart(Value):
    """One thing that a step's code reaches: kind is function, class, module, statement, value or package. `text` is
    what `file` says from `line` on, or the value, or the version."""

    kind: str
    name: str
    file: str = ""
    line: int = 0
    text: str = ""


class StepCode(Value):
    parts: tuple[CodePart, ...]


class Because(State):
    """Kinds of reasons."""

    SAME = "same"
    NEW = "new"
    CODE = "code"
    PACKAGE = "package"
    ARGUMENT = "argument"
    PYTHON = "python"
    VERSION = "version"
    AGE = "age"
    UNCACHED = "uncached"
    FORCED = "forced"
    GONE = "gone"
    INPUT = "input"


class Reason(Value):
    """`where` is file:line for code; `before` and `after` are what changed."""

    because: Because
    what: str = ""
    where: str = ""
    before: str = ""
    after: str = ""


class Explanation(Value):
    """One step's call in one run. `runs` is None when only a run can tell, because an input is not known before."""

    step: str
    runs: bool | None
    reasons: tuple[Reason, ...]


class Preview(Value):
    """What a run would do. `open_end` says why what comes after cannot be told, when it cannot."""

    pipeline: str
    steps: tuple[Explanation, ...]
    open_end: str = ""
