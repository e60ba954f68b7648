"""Why steps run or are cached, for people."""

from __future__ import annotations

import click

from headway.cli.output import print_json
from headway.cli.wording import clip, short
from headway.lifecycle.runs.explanations import Because, Explanation, Preview, Reason

_LINE = 100
_SAID = {
    Because.NEW: "it has not run like this before",
    Because.UNCACHED: "it says cache=False",
    Because.FORCED: "it is forced",
    Because.GONE: "what it gave is not kept any more",
}


def print_preview(preview: Preview, as_json: bool) -> None:
    if as_json:
        print_json(preview)
        return
    for explanation in preview.steps:
        print_explanation(explanation, err=False)
    runs = sum(each.runs is True for each in preview.steps)
    unsure = sum(each.runs is None for each in preview.steps)
    click.echo(
        f"{runs} of {len(preview.steps)} steps would run"
        + (f", and {unsure} more unless what is before them gives the same" if unsure else "")
        + (f"; {preview.open_end}" if preview.open_end else "")
    )


def print_explanation(explanation: Explanation, *, err: bool = True) -> None:
    """On stderr while a pipeline runs, whose result goes to stdout."""
    state = {True: "runs", False: "cached", None: "may run"}[explanation.runs]
    first, *others = [said(reason) for reason in explanation.reasons]
    click.echo(f"  {explanation.step}  {state}: {first}", err=err)
    for other in others:
        click.echo(f"    {other}", err=err)


def said(reason: Reason) -> str:
    """A reason in one line."""
    before, after = clip(reason.before, _LINE), clip(reason.after, _LINE)
    if reason.because in _SAID:
        return _SAID[reason.because]
    if reason.because is Because.SAME:
        return f"nothing has changed since {short(reason.what)}"
    if reason.because is Because.AGE:
        return f"what it gave is {reason.what}"
    if reason.because is Because.INPUT:
        return f"that depends on {reason.what}" + (", if that gives something else" if before else "")
    if reason.because is Because.ARGUMENT and before == after:
        return f"argument {reason.what}: {before} is not the same"
    subject = f"argument {reason.what}" if reason.because is Because.ARGUMENT else reason.what
    place = f" ({reason.where})" if reason.where else ""
    return f"{subject}{place}" + (f": {before or '(nothing)'} -> {after or '(nothing)'}" if before or after else "")
