"""A trigger as `headway.toml` declares it, checked."""

from __future__ import annotations

from headway.kernel.records import Value
from headway.lifecycle.changes.cron import cron_mistake
from headway.lifecycle.changes.firings import FACTS, facts_in
from headway.lifecycle.changes.globs import glob_mistake
from headway.lifecycle.changes.records import CatchUp, Cause, Concurrency, ParamKind
from headway.lifecycle.changes.tables import Table, convert, must, named, texts

MOST_OPEN, MOST_CAUGHT_UP = 100, 1000
_OWN: dict[str, tuple[Cause, ...]] = {
    "time_zone": (Cause.SCHEDULE,),
    "tag": (Cause.DATASET,),
    "catch_up": (Cause.SCHEDULE, Cause.DATASET),
    "most_caught_up": (Cause.SCHEDULE, Cause.DATASET),
    "stable_s": (Cause.FILE,),
    "paths": (Cause.COMMIT,),
    "takes": (Cause.WEBHOOK,),
}
"""Keys that only some causes have a use for."""


class TriggerSpec(Value):
    """`source` is the dataset or monitor it listens to, a cron line, a glob of files, or a branch; else empty."""

    on: Cause
    pipeline: str
    deployment: str
    source: str = ""
    tag: str = ""
    time_zone: str = "UTC"
    paths: tuple[str, ...] = ()
    params: dict[str, str] = {}
    takes: dict[str, ParamKind] = {}
    catch_up: CatchUp = CatchUp.LATEST
    most_caught_up: int = 100
    concurrency: Concurrency = Concurrency.QUEUE
    most_open: int = 1
    cooldown_s: float = 0.0
    stable_s: float = 5.0


def checked_trigger(given: Table, at: str) -> TriggerSpec:
    """The trigger in the table `[triggers.name]`; raises `BadSettings`."""
    spec = convert({**given, "params": texts(given.get("params", {}), f"{at} params")}, TriggerSpec, at)
    must(spec.on is not Cause.BACKFILL, f"{at} on: a backfill is asked for: headway trigger backfill")
    for key, causes in _OWN.items():
        fits = spec.on in causes or key not in given
        must(fits, f"{at} {key} is for on = {' and '.join(map(str, causes))}, not for {spec.on}; remove it")
    must(spec.cooldown_s >= 0, f"{at} cooldown_s must not be negative")
    must(spec.stable_s > 0, f"{at} stable_s must be above 0")
    must(1 <= spec.most_open <= MOST_OPEN, f"{at} most_open is from 1 to {MOST_OPEN}, not {spec.most_open}")
    most = spec.most_caught_up
    must(1 <= most <= MOST_CAUGHT_UP, f"{at} most_caught_up is from 1 to {MOST_CAUGHT_UP}, not {most}")
    _check_source(spec, at)
    unknown = sorted(facts_in(spec.params) - set(FACTS[spec.on]))
    known = ", ".join(f"${{{fact}}}" for fact in FACTS[spec.on]) or "none"
    must(not unknown, f"{at} params: {spec.on} has no fact {' '.join(unknown)}; it has: {known}")
    return spec


def _check_source(spec: TriggerSpec, at: str) -> None:
    if spec.on is Cause.SCHEDULE:
        mistake = cron_mistake(spec.source)
        must(not mistake, f"{at} source: {mistake}")
    elif spec.on is Cause.FILE:
        mistake = glob_mistake(spec.source)
        must(not mistake, f"{at} source: {mistake}")
    elif spec.on is Cause.COMMIT:
        branch = f'{at} source must be a branch, such as "main"'
        must(bool(spec.source) and len(spec.source) <= 200 and spec.source.isprintable(), branch)
        for path in spec.paths:
            mistake = glob_mistake(path)
            must(not mistake, f"{at} paths: {mistake}")
    elif spec.on in (Cause.PERSON, Cause.WEBHOOK):
        must(not spec.source, f"{at} source: a {spec.on} needs none; remove it")
    elif spec.on is Cause.DATASET and spec.tag:
        named(spec.tag, "tag", f"{at} tag")
