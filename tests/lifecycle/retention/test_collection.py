"""Collection against a model of it: nothing that a record has is ever destroyed, and all else goes when it is old."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headway.errors import BadSettings, Conflict, Forbidden, Invalid, NotFound
from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.ledger import verify
from headway.kernel.reachability import digests
from headway.kernel.records import digest
from headway.lifecycle.retention.policy import RetentionPolicy, checked_policy
from headway.lifecycle.retention.records import Fate, Swept
from headway.lifecycle.runs.records import Output, StartRun
from headway.testing.memory_platform import OpenedPlatform, open_platform

AUTHOR = Actor(name="ada", role=Role.AUTHOR)
GRACE_S = 100.0
_CONTENTS = st.sampled_from([b"a", b"b", b"c", b"d"])
_NAMES = st.sampled_from(["one", "two"])


class Collecting(RuleBasedStateMachine):
    """Writers that put first and say later what it was, in any order with collections of any age."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = open_platform()
        self.platform = self.opened.platform
        self.run = self.platform.runs.start(StartRun(experiment="late"), by=AUTHOR).id
        self.named: dict[str, bytes] = {}
        self.put_at: dict[bytes, float] = {}
        self.now_s = 0.0

    @rule(data=_CONTENTS)
    def put(self, data: bytes) -> None:
        self.platform.blobs.put(data)
        self.put_at[data] = self.now_s

    @rule(data=_CONTENTS, name=_NAMES)
    def name(self, data: bytes, name: str) -> None:
        """An artifact of these bytes; one that is no longer there is refused, and nothing is written."""
        try:
            self.platform.artifacts.put(self.run, name, digest(data), len(data), by=AUTHOR)
        except NotFound:
            assert self.put_at.get(data, -GRACE_S) <= self.now_s - GRACE_S or self.swept_at_once
        else:
            self.named[name] = data

    @rule(name=_NAMES)
    def remove(self, name: str) -> None:
        self.platform.artifacts.remove(self.run, name, by=AUTHOR)

    @precondition(lambda self: self.named)
    @rule()
    def purge(self) -> None:
        self.platform.retention.delete(self.run, by=AUTHOR)
        self.platform.retention.purge(self.run, "old", by=SYSTEM)
        self.run, self.named = self.platform.runs.start(StartRun(experiment="late"), by=AUTHOR).id, {}

    @rule(seconds=st.sampled_from([1.0, GRACE_S]))
    def wait(self, seconds: float) -> None:
        self.opened.clock.advance(seconds)
        self.now_s += seconds

    swept_at_once = False

    @rule(older_than_s=st.sampled_from([0.0, GRACE_S]), dry_run=st.booleans())
    def sweep(self, older_than_s: float, dry_run: bool) -> None:
        before = {blob.digest for blob in (*self.platform.blobs.all(), *self.platform.blobs.discarded())}
        swept = self.platform.sweeps.sweep(by=SYSTEM, older_than_s=older_than_s, dry_run=dry_run, explain=100)
        after = {blob.digest for blob in (*self.platform.blobs.all(), *self.platform.blobs.discarded())}
        held = {digest(data) for data in self.named.values()}
        assert held <= after
        if dry_run:
            assert after == before
        elif older_than_s == 0:
            self.swept_at_once = True
            assert after == held
        told = {blob.digest for blob in swept.explained}
        assert told == before
        assert swept.unexplained == 0
        assert swept.sweep.missing == 0

    @invariant()
    def what_a_record_has_is_there(self) -> None:
        for name, data in self.named.items():
            artifact = self.platform.artifacts._store.named(self.run, name)
            assert artifact is not None
            assert self.platform.blobs.get(artifact.blob) == data

    @invariant()
    def the_ledger_holds(self) -> None:
        verify(self.opened.stores.ledger)


Collecting.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestCollecting = Collecting.TestCase


def _artifact(opened: OpenedPlatform, data: bytes, name: str = "weights") -> str:
    run = opened.platform.runs.start(StartRun(experiment="late"), by=AUTHOR)
    opened.platform.artifacts.put(run.id, name, opened.platform.blobs.put(data), len(data), by=AUTHOR)
    return run.id


def _fates(swept: Swept) -> dict[str, Fate]:
    return {blob.digest: blob.fate for blob in swept.explained}


def test_a_blob_goes_in_two_steps_and_says_why() -> None:
    opened = open_platform()
    sweeps, blobs, kept, loose = opened.platform.sweeps, opened.platform.blobs, digest(b"kept"), digest(b"loose")
    run = _artifact(opened, b"kept")
    blobs.put(b"loose")
    swept = sweeps.sweep(by=SYSTEM, older_than_s=GRACE_S, explain=9)
    assert _fates(swept) == {kept: Fate.KEPT, loose: Fate.YOUNG}
    (why,) = [blob.why for blob in swept.explained if blob.digest == kept]
    assert why.startswith("is blob of ar_")
    opened.clock.advance(GRACE_S)
    assert _fates(sweeps.sweep(by=SYSTEM, older_than_s=GRACE_S, explain=9))[loose] is Fate.DISCARDED
    assert _fates(sweeps.sweep(by=SYSTEM, older_than_s=GRACE_S, explain=9))[loose] is Fate.WAITING
    opened.clock.advance(GRACE_S)
    last = sweeps.sweep(by=SYSTEM, older_than_s=GRACE_S, explain=9)
    assert _fates(last)[loose] is Fate.DESTROYED
    assert last.sweep.freed_bytes == len(b"loose")
    assert not blobs.has(loose)
    assert digest(b"loose") not in digests(opened.stores.ledger.records())
    assert [sweep.freed_bytes for sweep in sweeps.list().items] == [5, 0]
    assert opened.platform.runs.artifacts(run)


def test_a_digest_that_is_only_mentioned_keeps_its_blob() -> None:
    opened = open_platform()
    blob = opened.platform.blobs.put(b"notes")
    opened.platform.runs.start(StartRun(experiment="late", tags={"see": f"the notes at {blob}"}), by=AUTHOR)
    (told,) = opened.platform.sweeps.sweep(by=SYSTEM, older_than_s=0, explain=9).explained
    assert (told.fate, told.why.partition(" of ")[0]) == (Fate.KEPT, "is mentioned in tags.see")


def test_what_is_missing_is_told_and_is_no_error() -> None:
    opened = open_platform()
    _artifact(opened, b"kept")
    opened.platform.blobs.delete(digest(b"kept"))
    swept = opened.platform.sweeps.sweep(by=SYSTEM)
    assert swept.sweep.missing == 1
    assert [(each.digest, each.place) for each in swept.missing] == [(digest(b"kept"), "blob")]


@pytest.mark.parametrize("older_than_s", [0.0, GRACE_S])
def test_a_record_that_was_kept_while_marking_is_seen(monkeypatch: pytest.MonkeyPatch, older_than_s: float) -> None:
    """The writer finds the blob there, old as it is, and says what it is when the marking has gone past."""
    opened = open_platform()
    run = opened.platform.runs.start(StartRun(experiment="late"), by=AUTHOR).id
    opened.platform.blobs.put(b"late")
    opened.clock.advance(2 * GRACE_S)
    whole = opened.stores.ledger.records

    def records() -> Iterator[tuple[str, bytes]]:
        yield from whole()
        opened.platform.artifacts.put(run, "weights", digest(b"late"), 4, by=AUTHOR)

    monkeypatch.setattr(opened.stores.ledger, "records", records)
    sweep = opened.platform.sweeps.sweep(by=SYSTEM, older_than_s=older_than_s).sweep
    assert [blob.digest for blob in opened.platform.blobs.all()] == [digest(b"late")]
    assert Fate.BROUGHT_BACK in sweep.blobs
    assert Fate.DESTROYED not in sweep.blobs


def test_who_may_sweep_and_how_old_is_old() -> None:
    sweeps = open_platform().platform.sweeps
    with pytest.raises(Forbidden):
        sweeps.sweep(by=AUTHOR, dry_run=True)
    for wrong in (-1.0, 1e12, float("nan")):
        with pytest.raises(Invalid):
            sweeps.sweep(by=SYSTEM, older_than_s=wrong)
    with sweeps._one, pytest.raises(Conflict, match="already"):
        sweeps.sweep(by=SYSTEM)


DAY_S = 86_400.0


def test_nothing_is_purged_without_a_policy() -> None:
    opened = open_platform()
    run = _artifact(opened, b"kept")
    opened.platform.retention.delete(run, by=AUTHOR)
    opened.clock.advance(10_000 * DAY_S)
    sweep = opened.platform.sweeps.sweep(by=SYSTEM).sweep
    assert (sweep.purged, sweep.idle) == ({}, True)
    assert opened.platform.runs.get(run)


def test_what_was_deleted_goes_after_its_days_and_the_rest_stays() -> None:
    opened = open_platform()
    platform = opened.platform
    platform.sweeps.declare(RetentionPolicy(deleted_days=30), by=SYSTEM)
    old, new, live = _artifact(opened, b"old"), _artifact(opened, b"new"), _artifact(opened, b"live")
    inner = platform.runs.start(StartRun(experiment="late", parent=old), by=AUTHOR).id
    for run in (old, inner):
        platform.retention.delete(run, by=AUTHOR)
    opened.clock.advance(20 * DAY_S)
    platform.retention.delete(new, by=AUTHOR)
    opened.clock.advance(10 * DAY_S)
    assert platform.sweeps.sweep(by=SYSTEM, dry_run=True).sweep.purged == {"deleted_days": 2}
    assert platform.runs.get(old)
    sweep = platform.sweeps.sweep(by=SYSTEM, older_than_s=0).sweep
    assert sweep.purged == {"deleted_days": 2}
    assert {blob.digest for blob in platform.blobs.all()} == {digest(b"new"), digest(b"live")}
    assert platform.retention.tombstone(old).why == "retention: deleted_days = 30"
    assert platform.runs.get(live)
    verify(opened.stores.ledger)


def test_what_something_came_from_outlives_its_time_and_is_counted() -> None:
    opened = open_platform()
    platform = opened.platform
    platform.sweeps.declare(RetentionPolicy(deleted_days=1), by=SYSTEM)
    outer = _artifact(opened, b"outer")
    platform.runs.start(StartRun(experiment="late", parent=outer), by=AUTHOR)
    platform.retention.delete(outer, by=AUTHOR)
    opened.clock.advance(2 * DAY_S)
    sweep = platform.sweeps.sweep(by=SYSTEM, older_than_s=0).sweep
    assert (sweep.purged, sweep.refused) == ({}, {"deleted_days": 1})
    assert platform.runs.get(outer)


def test_experiments_traces_and_the_cache_have_their_time() -> None:
    opened = open_platform()
    platform = opened.platform
    run = platform.runs.get(_artifact(opened, b"kept"))
    trials = platform.experiments.create("trials", by=AUTHOR)
    platform.retention.delete(trials.id, by=AUTHOR)
    late = platform.experiments.named("late")
    assert late
    platform.traces.keep("tr-1", late.id, {}, {}, by=AUTHOR)
    for key in ("k1", "k2", "k3"):
        outputs = [Output(blob=platform.blobs.put(key.encode() * 50), format="json")]
        platform.pipelines.keep(key, "load", run.id, outputs, by=AUTHOR)
        opened.clock.advance(DAY_S)
    policy = RetentionPolicy(deleted_days=1, traces_days=3, step_results_days=2.5, step_results_bytes=100)
    platform.sweeps.declare(policy, by=SYSTEM)
    sweep = platform.sweeps.sweep(by=SYSTEM, older_than_s=0).sweep
    assert sweep.purged == {"deleted_days": 1, "traces_days": 1, "step_results_days": 1, "step_results_bytes": 1}
    assert [key for key in ("k1", "k2", "k3") if platform.pipelines.result(key)] == ["k3"]
    assert platform.experiments.named("trials") is None
    verify(opened.stores.ledger)


def test_a_policy_is_written_once() -> None:
    opened = open_platform()
    policy = RetentionPolicy(deleted_days=30, step_results_bytes=10**9)
    for _ in range(3):
        opened.platform.sweeps.declare(policy, by=SYSTEM)
    assert opened.platform.sweeps.policy() == policy
    assert len(opened.stores.policies.list().items) == 1
    opened.platform.sweeps.declare(RetentionPolicy(), by=SYSTEM)
    assert opened.platform.sweeps.policy().keeps_everything


@pytest.mark.parametrize("name", RetentionPolicy.__struct_fields__)
def test_an_age_that_cannot_be(name: str) -> None:
    for wrong in (-1, float("nan"), 1e30):
        with pytest.raises(BadSettings, match=name):
            checked_policy(msgspec.structs.replace(RetentionPolicy(), **{name: wrong}), "[retention]")
