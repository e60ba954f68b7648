"""Homes of any content, made of what the stores take, for tests of what carries homes over."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from headway.kernel.records import digest, encode
from headway.lifecycle.predictions.records import Captured, Label, Quality
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.records import Run, StepRun
from headway.storage.blobs import ObjectBlobStore, open_blobs
from headway.storage.sql.portable import PortableDatabase
from headway.storage.sql.stores import Opened, open_stores
from headway.testing.memory import FrozenClock, counted_ids
from headway.testing.samples import samples


class SmallHome(NamedTuple):
    opened: Opened
    blobs: ObjectBlobStore
    clock: FrozenClock

    @property
    def portable(self) -> PortableDatabase:
        return PortableDatabase(self.opened.engine)


@contextmanager
def small_home(folder: Path, migrated: Path | None = None) -> Iterator[SmallHome]:
    """A home in `folder`; its database is a copy of `migrated`, so that it is made quickly."""
    folder.mkdir(parents=True, exist_ok=True)
    if migrated is not None and not (folder / "headway.db").exists():
        shutil.copy(migrated, folder / "headway.db")
    clock = FrozenClock()
    opened = open_stores(folder / "headway.db", clock, folder / "ledger.head")
    try:
        yield SmallHome(opened, open_blobs(folder / "blobs"), clock)
    finally:
        opened.engine.close()


Step = Callable[[SmallHome], None]
numbers = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324]))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@st.composite
def homes(draw: st.DrawFn) -> list[Step]:
    """What is to be written, in its order."""
    ids = counted_ids()
    kinds = [_sample, _run, _points, _prediction, _other]
    return [draw(st.sampled_from(kinds))(draw, ids) for _ in range(draw(st.integers(0, 12)))]


def fill(home: SmallHome, steps: list[Step]) -> None:
    for step in steps:
        home.clock.advance(7e-6)
        step(home)


def _sample(draw: st.DrawFn, ids: Any) -> Step:
    """One record of any kind, whose blobs are there."""
    content, place = draw(st.binary(max_size=40)), draw(st.integers(0, 100))
    why = draw(texts)

    def write(home: SmallHome) -> None:
        every = samples(ids, home.clock)
        name, record = list(every.items())[place % len(every)]
        text = encode(record).replace(b"b3:" + b"ab" * 32, home.blobs.put(content).encode())
        store: Any = getattr(home.opened.stores, name)
        taken = {identifier for identifier, _ in home.portable.records(store.table.rows.name)}
        if not taken or not store.table.unique:
            with home.opened.journal.act("ada", f"{name}.put", why=why) as act:
                act.save(store, msgspec.json.decode(text, type=type(record)), came_from=taken)

    return write


def _run(draw: st.DrawFn, ids: Any) -> Step:
    params, state = draw(st.dictionaries(texts.filter(bool), texts, max_size=3)), draw(texts)

    def write(home: SmallHome) -> None:
        run = Run(id=ids("rn"), created_at=home.clock.now(), experiment="late", params=params, tags={"k": state})
        steps = [StepRun(step="load", error=state), StepRun(step="train")]
        with home.opened.journal.act("bo", "run.start") as act:
            act.save(home.opened.stores.runs, run)
            home.opened.stores.runs.put_steps(run.id, steps)

    return write


def _points(draw: st.DrawFn, ids: Any) -> Step:
    point = st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**15), numbers)
    points = draw(st.lists(point, min_size=1, max_size=20)) * draw(st.sampled_from([1, 1, 300]))
    run, key = draw(st.sampled_from(["rn_1", "rn_2"])), draw(texts.filter(bool))

    def write(home: SmallHome) -> None:
        steps, at_us, values = (list(column) for column in zip(*points, strict=True))
        shifted = [at + place for place, at in enumerate(at_us)]
        with home.opened.journal.act("ada", "run.log"):
            home.opened.stores.metrics.add({(run, key): Curve(steps=steps, at_us=shifted, values=values)})

    return write


def _prediction(draw: st.DrawFn, ids: Any) -> Step:
    score, value = draw(st.none() | st.floats(allow_nan=False)), draw(st.floats(allow_nan=False, allow_infinity=False))

    def write(home: SmallHome) -> None:
        now, identifier = home.clock.now(), ids("pr")
        captured = Captured(
            id=identifier, deployment="late", segment="sg_1", row=1, release="rl_1", event_at=now, score=score
        )
        with home.opened.journal.act("ada", "capture"):
            home.opened.stores.predictions.index([captured])
            home.opened.stores.predictions.label([Label(prediction=identifier, value=value, at=now)])
            home.opened.stores.predictions.add_quality(
                [Quality(deployment="late", release="rl_1", day="2026-01-01", n=1, loss=value)]
            )

    return write


def _other(draw: st.DrawFn, ids: Any) -> Step:
    fact, listener = draw(texts), draw(texts.filter(bool))

    def write(home: SmallHome) -> None:
        with home.opened.journal.act("ada", "tell") as act:
            act.emit("RunEnded", "rn_1", said=fact, blob=digest(b""))
            home.opened.stores.events.mark(listener, 1)

    return write
