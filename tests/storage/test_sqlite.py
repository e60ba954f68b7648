"""What is particular to SQLite: durable acts, shared syncs, several processes on one file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from headway.errors import AlreadyExists, Invalid, Unavailable
from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.kernel.ledger import verify
from headway.lifecycle.runs.records import Experiment
from headway.storage.sql.sqlite import SqliteDatabase
from headway.storage.sql.stores import Opened
from headway.testing.memory import FrozenClock
from tests.storage.conftest import Open

WRITER = """
import sys
from pathlib import Path
from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.lifecycle.runs.records import Experiment
from headway.storage.sql.stores import open_stores
from concurrent.futures import ThreadPoolExecutor
home, threads, acts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
clock = SystemClock()
ids = time_sorted(clock)
engine, journal, stores = open_stores(home / "headway.db", clock, home / "ledger.head")

def write(_):
    for _ in range(acts):
        name = ids("ex")
        with journal.act("ada", "experiment.add") as act:
            act.save(stores.experiments, Experiment(id=name, created_at=clock.now(), name=name))
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()

with ThreadPoolExecutor(threads) as pool:
    list(pool.map(write, range(threads)))
"""


def _start(home: Path, threads: int, acts: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(home), str(threads), str(acts)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def _add(opened: Opened, name: str, *, id: str = "") -> None:
    record = Experiment(id=id or f"ex_{name}", created_at=FrozenClock().now(), name=name)
    with opened.journal.act("ada", "experiment.add") as act:
        act.save(opened.stores.experiments, record)


def test_kill_9_loses_nothing_that_was_acknowledged(home: Path, reopen: Open) -> None:
    writer = _start(home, threads=8, acts=100_000)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline() for _ in range(150)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    opened = reopen()
    kept = [name.strip() for name in acknowledged if name.endswith("\n")]
    assert len(kept) >= 150
    assert [name for name in kept if opened.stores.experiments.named(name) is None] == []
    assert verify(opened.stores.ledger) >= len(kept)
    _add(opened, "after")
    assert verify(opened.stores.ledger) > len(kept)


def test_processes_open_and_write_one_new_home_together(home: Path, reopen: Open) -> None:
    writers = [_start(home, threads=2, acts=15) for _ in range(3)]
    names = [name for writer in writers for name in writer.communicate(timeout=60)[0].split()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(set(names)) == 90
    opened = reopen()
    assert verify(opened.stores.ledger) == 90
    anchor = opened.stores.ledger.anchor()
    assert anchor is not None
    assert anchor.number == 90


@contextmanager
def _watched() -> Iterator[list[str]]:
    """The COMMITs of connections that are opened inside."""
    commits = list[str]()

    def note(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)

    def watch(driver: sqlite3.Connection, _record: object) -> None:
        driver.set_trace_callback(note)

    event.listen(Engine, "connect", watch)
    try:
        yield commits
    finally:
        event.remove(Engine, "connect", watch)


def _until_waiting(opened: Opened, threads: int) -> None:
    """Return once so many threads wait for their turn to write."""
    database, end = opened.engine._database, time.monotonic() + 60
    assert isinstance(database, SqliteDatabase)
    while database._waiting < threads:
        assert time.monotonic() < end, f"{database._waiting} of {threads} wait"
        time.sleep(0.005)


def test_threads_that_wait_share_one_commit(reopen: Open) -> None:
    with _watched() as commits:
        opened = reopen()
    commits.clear()
    ids = time_sorted(SystemClock())
    first_is_in, all_wait = threading.Event(), threading.Event()

    def hold() -> None:
        with opened.journal.act("ada", "experiment.add"):
            first_is_in.set()
            all_wait.wait(60)

    with ThreadPoolExecutor(9) as threads:
        holding = threads.submit(hold)
        first_is_in.wait(60)
        adding = [threads.submit(_add, opened, ids("ex")) for _ in range(8)]
        _until_waiting(opened, 8)
        assert not any(each.done() for each in adding)
        all_wait.set()
        for each in [holding, *adding]:
            each.result(60)
    assert len(commits) == 1
    assert verify(opened.stores.ledger) == 8


def test_an_act_that_fails_among_others_undoes_itself_alone(reopen: Open) -> None:
    opened, first_is_in, all_wait = reopen(), threading.Event(), threading.Event()

    def hold() -> None:
        with opened.journal.act("ada", "experiment.add"):
            first_is_in.set()
            all_wait.wait(60)

    def fail(name: str) -> None:
        with opened.journal.act("ada", "experiment.add") as act:
            act.save(opened.stores.experiments, Experiment(id=f"ex_{name}", created_at=FrozenClock().now(), name=name))
            raise ZeroDivisionError

    with ThreadPoolExecutor(9) as threads:
        holding = threads.submit(hold)
        first_is_in.wait(60)
        good = [threads.submit(_add, opened, f"good-{number}") for number in range(4)]
        bad = [threads.submit(fail, f"bad-{number}") for number in range(4)]
        _until_waiting(opened, 8)
        all_wait.set()
        assert all(isinstance(each.exception(60), ZeroDivisionError) for each in bad)
        assert [each.result(60) for each in [holding, *good]] == [None] * 5
    assert {record.name for record in opened.stores.experiments.all().items} == {f"good-{n}" for n in range(4)}
    assert verify(opened.stores.ledger) == 4


def test_acts_together_share_one_commit_and_see_each_other(reopen: Open) -> None:
    with _watched() as commits:
        opened, other = reopen(), reopen()
    commits.clear()
    with opened.journal.together():
        _add(opened, "first")
        assert opened.stores.experiments.named("first") is not None
        with pytest.raises(AlreadyExists, match="another Experiment"):
            _add(opened, "first", id="ex_other")
        _add(opened, "second")
        assert opened.stores.experiments.all().items[0].name == "second"
        assert other.stores.experiments.named("first") is None, "nobody else may see it before it is durable"
    assert len(commits) == 1
    assert [record.name for record in other.stores.experiments.all().items] == ["second", "first"]
    assert verify(opened.stores.ledger) == 2


def test_acts_together_whose_commit_fails_are_all_refused(reopen: Open) -> None:
    opened = reopen()
    with opened.engine.transaction() as transaction:
        transaction.connection.exec_driver_sql("CREATE TABLE bound (number INTEGER PRIMARY KEY)")
        transaction.connection.exec_driver_sql(
            "CREATE TABLE loose (number INTEGER REFERENCES bound (number) DEFERRABLE INITIALLY DEFERRED)"
        )

    def spoil() -> None:
        with opened.journal.together():
            _add(opened, "before")
            with opened.journal.act("ada", "experiment.add"):
                opened.engine.write("INSERT INTO loose VALUES (?)", [(1,)])

    with pytest.raises(Unavailable, match="nothing was written"):
        spoil()
    assert opened.stores.experiments.named("before") is None
    _add(opened, "after")
    assert verify(opened.stores.ledger) == 1


def test_a_read_together_sees_what_others_committed_and_nothing_that_they_have_not(reopen: Open) -> None:
    opened, is_in, may_end = reopen(), threading.Event(), threading.Event()
    experiments = opened.stores.experiments
    _add(opened, "before")

    def hold() -> None:
        with opened.journal.together():
            _add(opened, "open")
            is_in.set()
            may_end.wait(60)

    with ThreadPoolExecutor(1) as threads, opened.journal.together():
        assert experiments.named("before") is not None
        holding = threads.submit(hold)
        is_in.wait(60)
        assert experiments.named("open") is None
        assert [each.name for each in experiments.all().items] == ["before"]
        may_end.set()
        holding.result(60)
        assert experiments.named("open") is not None
        _add(opened, "mine")
    assert len(experiments.all().items) == 3


def test_a_record_that_an_act_has_read_is_written_as_it_stands_then(reopen: Open) -> None:
    opened = reopen()
    experiments, made = (
        opened.stores.experiments,
        Experiment(id="ex_" + 26 * "1", created_at=FrozenClock().now(), name="a"),
    )
    with opened.journal.act("ada", "experiment.add") as act:
        assert experiments.get(made.id) is None
        act.save(experiments, made)
        act.save(experiments, made.but(name="b"))
        assert experiments.get(made.id) == made.but(name="b")
        act.save(experiments, made)
        assert experiments.named("b") is None
    assert experiments.named("a") == made
    with opened.journal.act("ada", "experiment.purge"):
        assert experiments.get(made.id) == made
        opened.stores.kept.remove(made.id)
        assert experiments.get(made.id) is None
        experiments.put(made.but(name="c"))
    assert experiments.named("c") == made.but(name="c")


def test_others_are_not_kept_waiting_by_acts_together(reopen: Open) -> None:
    opened = reopen()
    with ThreadPoolExecutor(1) as threads, opened.journal.together():
        _add(opened, "mine")
        threads.submit(_add, opened, "theirs").result(60)
        _add(opened, "mine-too")
    assert len(opened.stores.experiments.all().items) == 3
    assert verify(opened.stores.ledger) == 3


def test_when_the_commit_fails_nobody_is_told_otherwise(reopen: Open, home: Path) -> None:
    opened = reopen()
    _add(opened, "before")
    with opened.engine.transaction() as transaction:
        transaction.connection.exec_driver_sql("CREATE TABLE bound (number INTEGER PRIMARY KEY)")
        transaction.connection.exec_driver_sql(
            "CREATE TABLE loose (number INTEGER REFERENCES bound (number) DEFERRABLE INITIALLY DEFERRED)"
        )

    def spoil() -> None:
        with opened.journal.act("ada", "experiment.add"), opened.engine.writing() as connection:
            connection.exec_driver_sql("INSERT INTO loose VALUES (1)")  # found out by COMMIT only

    anchor = (home / "ledger.head").read_bytes()
    with pytest.raises(Unavailable, match="nothing was written"):
        spoil()
    assert (home / "ledger.head").read_bytes() == anchor
    _add(opened, "after")
    assert verify(opened.stores.ledger) == 2


def test_a_writer_waits_for_another_process_and_goes_on(reopen: Open, home: Path) -> None:
    opened = reopen()
    with closing(sqlite3.connect(home / "headway.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as threads:
            adding = threads.submit(_add, opened, "patient")
            time.sleep(0.2)
            assert not adding.done()
            assert opened.stores.experiments.named("patient") is None, "readers do not wait"
            other.execute("COMMIT")
            adding.result(60)
    assert opened.stores.experiments.named("patient") is not None


def test_a_database_that_stays_locked_is_unavailable_and_heals(reopen: Open, home: Path) -> None:
    opened = reopen()
    with opened.engine.transaction() as transaction:
        transaction.connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(home / "headway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            _add(opened, "refused")
        other.execute("ROLLBACK")
    _add(opened, "welcome")
    assert [record.name for record in opened.stores.experiments.all().items] == ["welcome"]


def test_a_question_that_no_database_can_hold_is_invalid(reopen: Open) -> None:
    opened = reopen()
    with pytest.raises(Invalid, match="cannot keep"):
        opened.stores.experiments.named("\ud800")
    with pytest.raises(Invalid, match="cannot keep"):
        opened.stores.changes.numbered(2**63)


LOGGER = """
import sys
from pathlib import Path
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.curve import Curve
from headway.storage.sql.stores import open_stores
home = Path(sys.argv[1])
engine, journal, stores = open_stores(home / "headway.db", SystemClock(), home / "ledger.head")
step = 0
while True:
    size = 1 + step % 40
    steps = list(range(step, step + size))
    with journal.act("ada", "run.log"):
        stores.metrics.add({("rn_1", "loss"): Curve(steps=steps, at_us=steps, values=[float(each) for each in steps])})
    step += size
    print(step, flush=True)
"""


def test_kill_9_among_folded_points_loses_and_doubles_none(home: Path, reopen: Open) -> None:
    command = [sys.executable, "-c", LOGGER, str(home)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline() for _ in range(300)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    last = int([line for line in acknowledged if line.endswith("\n")][-1])
    curve = reopen().stores.metrics.curve("rn_1", "loss", limit=100_000)
    assert last > 2048, "enough to be folded"
    assert len(curve) >= last
    assert curve.steps == list(range(len(curve)))
    assert curve.values == [float(step) for step in curve.steps]
