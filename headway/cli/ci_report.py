"""What `headway ci` has found, as Markdown for a pull request. The same findings give the same text: it names no time,
no id and nothing that this machine alone has measured."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headway.kernel.records import Value
from headway.lifecycle.gates.records import Finding, Outcome


class Ran(Value):
    """One run of a pipeline, on samples or on all there is."""

    pipeline: str
    sampled: bool = False
    steps: dict[str, str] = {}
    """Step -> `cached`, `done` or `failed`."""
    error: str = ""


class Judged(Value):
    """A model that a run gave, held against the gate of an environment and against what serves there now."""

    model: str
    pipeline: str
    deployment: str
    environment: str
    metrics: dict[str, float] = {}
    champion: str = ""
    demanded: tuple[str, ...] = ()
    findings: dict[str, Finding] = {}
    outcome: Outcome = Outcome.UNPROVEN
    reasons: tuple[str, ...] = ()


class Report(Value):
    project: str = ""
    mistakes: tuple[str, ...] = ()
    declared: dict[str, int] = {}
    contracts: dict[str, int] = {}
    """Contract, as `module.NAME` -> its columns."""
    base: str = ""
    changed: dict[str, tuple[str, ...]] | None = None
    """Pipeline -> steps that are not as in the base; None without a base."""
    ran: tuple[Ran, ...] = ()
    judged: tuple[Judged, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> list[str]:
        runs = [f"pipeline {each.pipeline} fails: {each.error}" for each in self.ran if each.error]
        gates = [
            f"{each.model} for {each.deployment}: the gate of {each.environment} says {each.outcome}"
            for each in self.judged
            if each.outcome is not Outcome.PASS
        ]
        return runs + gates

    @property
    def exit_code(self) -> int:
        return 2 if self.mistakes else 1 if self.failures else 0


_MARKS = {"pass": "✅ pass", "fail": "❌ fail", "unproven": "❔ unproven"}
_LONGEST = 400
_MENTION = re.compile(r"(?<!\w)@")
"""Would call somebody in a pull request; `orders@3` does not."""


def markdown(report: Report) -> str:
    said = {0: "✅ all is well", 1: "❌ a rule says no", 2: "❌ the project cannot be read"}[report.exit_code]
    lines = [f"## Headway: {_plain(report.project) or 'no project'}", "", said]
    wrong = [f"- {_plain(each)}" for each in (*report.mistakes, *report.failures)]
    lines += ["", *wrong] if wrong else []
    for part in (_declared, _changed, _ran, _judged, _notes):
        found = "\n".join(part(report)).strip()
        lines += ["", found] if found else []
    return "\n".join(lines) + "\n"


def _declared(report: Report) -> Iterator[str]:
    if report.declared:
        yield "### Declared"
        yield ""
        yield ", ".join(f"{kind}: {count}" for kind, count in report.declared.items())
        yield ""
        for name, columns in sorted(report.contracts.items()):
            yield f"- contract `{_plain(name)}`: {columns} columns"


def _changed(report: Report) -> Iterator[str]:
    if report.changed is None:
        return
    yield f"### Changed since `{report.base[:12]}`"
    yield ""
    if not report.changed:
        yield "No pipeline: nothing was run."
    for name, steps in sorted(report.changed.items()):
        yield f"- `{_plain(name)}`" + (f": {', '.join(f'`{_plain(step)}`' for step in steps)}" if steps else "")


def _ran(report: Report) -> Iterator[str]:
    if report.ran:
        yield "### Runs"
        yield ""
        yield "| pipeline | on | steps | result |"
        yield "|---|---|---|---|"
    for each in report.ran:
        steps = "<br>".join(f"{_cell(step)} {state}" for step, state in each.steps.items())
        on = "samples" if each.sampled else "all data"
        yield f"| {_cell(each.pipeline)} | {on} | {steps} | {_cell(each.error) or _MARKS['pass']} |"


def _judged(report: Report) -> Iterator[str]:
    for each in report.judged:
        yield f"### {_plain(each.model)} for {_plain(each.deployment)}: {_MARKS[each.outcome]}"
        yield ""
        yield f"Gate of {_plain(each.environment)}; " + (
            f"{_plain(each.champion)} serves now." if each.champion else "nothing serves yet."
        )
        if each.metrics:
            yield ""
            yield ", ".join(f"{_plain(name)} {value:.6g}" for name, value in sorted(each.metrics.items()))
        yield ""
        yield "| check | outcome | why |"
        yield "|---|---|---|"
        for name, finding in each.findings.items():
            extra = "" if name in each.demanded else " (not demanded)"
            yield f"| {_cell(name)}{extra} | {_MARKS[finding.outcome]} | {_cell(finding.reason)} |"
        yield ""


def _notes(report: Report) -> Iterator[str]:
    if report.notes:
        yield "### Notes"
        yield ""
        yield from (f"- {_plain(each)}" for each in report.notes)


def _plain(text: str) -> str:
    """One line that begins no markup: what comes from a project's code is shown, and does nothing."""
    line = " ".join(text.split())[:_LONGEST]
    line = line.replace("<", "&lt;").replace("`", "'").replace("[", "\\[")
    return _MENTION.sub("@\u200b", line)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")
