"""Tables are read by processes that may die of them: what is answered, what is refused, and what lives on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headway.engines.tables.frames import PolarsInspector, PolarsSegmentReader
from headway.engines.tables.questions import MIB, ContentOf, DayProfileOf, Question, ReferenceOf, SummaryOf
from headway.engines.tables.reader import Reader
from headway.engines.tables.readers import Readers
from headway.engines.tables.windows import day_profiles
from headway.errors import HeadwayError, Invalid, Unavailable
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.profile import Profile
from headway.lifecycle.datasets.reference import read_reference
from headway.lifecycle.datasets.schema import Kind, Summary
from headway.lifecycle.predictions.records import SegmentContent
from tests.engines.damage import deadly_table
from tests.engines.test_frames import captured, orders, parquet

TABLE, SEGMENT = parquet(orders()), parquet(captured())
SUMMARY = PolarsInspector().summarise(TABLE)
CONTRACT = Contract(
    columns=(ColumnRule(name="at", kind=Kind.TIME, use=Use.TIME), ColumnRule(name="amount", kind=Kind.FLOAT))
)
STAND_IN = """
import os, signal, sys, time
from headway.engines.tables.questions import READY, Failed, found, receive, send

send(sys.stdout.buffer, READY)
while True:
    receive(sys.stdin.buffer)
    {then}
"""
"""A program that takes questions as a reader does, and then does something else."""
PARENT = '''
import pathlib, sys, threading, time
from headway.engines.tables.questions import SummaryOf
from headway.engines.tables.readers import COMMAND, Readers
from headway.lifecycle.datasets.schema import Summary

SLOW = """
import pathlib, sys, time
from headway.engines.tables.reading import serve

serve(lambda _: (pathlib.Path(sys.argv[1]).touch(), time.sleep(60)))
"""
table, asked = map(pathlib.Path, sys.argv[1:])
ask = SummaryOf(data=table.read_bytes())
idle, busy = Readers(), Readers(command=(sys.executable, "-c", SLOW, str(asked)))
threading.Thread(target=busy.ask, args=(ask, Summary), daemon=True).start()
idle.ask(ask, Summary)
while not asked.exists():
    time.sleep(0.01)
print(*idle.pids, *busy.pids, flush=True)
time.sleep(60)
'''


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    opened = Readers(time_limit_s=60)
    yield opened
    opened.close()


@pytest.fixture
def stand_ins() -> Iterator[Callable[..., Readers]]:
    """Makes readers of a statement that is run at each question; they are closed after the test."""
    made: list[Readers] = []

    def make(then: str, **settings: Any) -> Readers:
        made.append(Readers(command=(sys.executable, "-c", STAND_IN.format(then=then)), **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def summary(of: Readers, data: bytes = TABLE) -> Summary:
    return of.ask(SummaryOf(data=data), Summary)


def used_pid(of: Readers) -> int:
    """The process that has answered a question, and will get the next one."""
    before = set(of.pids)
    assert summary(of) == SUMMARY
    (pid,) = set(of.pids) - before or before
    return pid


def gone(pid: int, within_s: float = 20.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_what_it_answers_is_what_reading_here_would(readers: Readers) -> None:
    assert readers.pids == ()
    assert summary(readers) == SUMMARY
    for contract in (CONTRACT, None):
        expected = PolarsInspector().reference(TABLE, contract)
        assert readers.ask(ReferenceOf(data=TABLE, contract=contract), bytes) == expected
    content = ContentOf(deployment="late", segment="sg_1", data=SEGMENT)
    assert readers.ask(content, SegmentContent) == PolarsSegmentReader().read("late", "sg_1", SEGMENT)
    layout = read_reference(PolarsInspector().reference(TABLE, None)).only({"amount"}).layout
    profile = day_profiles([SEGMENT, SEGMENT], "2024-05-02", layout)
    assert readers.ask(DayProfileOf(segments=(SEGMENT, SEGMENT), day="2024-05-02", layout=layout), Profile) == profile
    assert profile.rows > 0
    infinite = parquet(pl.DataFrame({"x": [1.0, float("inf"), float("nan")]}))
    assert summary(readers, infinite) == PolarsInspector().summarise(infinite)
    assert len(readers.pids) == 1


def test_what_is_refused_here_is_refused_there_and_costs_no_process(readers: Readers) -> None:
    summary(readers)
    before = readers.pids
    questions: list[tuple[Question, type[Any], str]] = [
        (SummaryOf(data=b"a,b\n1,2\n"), Summary, "this is no Parquet file; save the table as Parquet and send that"),
        (ReferenceOf(data=TABLE[:200] + TABLE[-8:], contract=None), bytes, "this Parquet file cannot be read"),
        (ContentOf(deployment="late", segment="sg_1", data=TABLE), SegmentContent, "this is no segment"),
    ]
    for question, wanted, told in questions:
        with pytest.raises(Invalid, match=told):
            readers.ask(question, wanted)
    assert readers.pids == before


def test_a_reader_knows_no_secret_and_ends_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_TOKEN", "hw_secret")
    opened = Readers()
    try:
        pid = used_pid(opened)
        names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[:-1]}
        assert names <= {b"PYTHONPATH", b"POLARS_MAX_THREADS", b"OPENBLAS_NUM_THREADS", b"LD_LIBRARY_PATH"}
    finally:
        opened.close()
    assert gone(pid)
    assert opened.pids == ()
    with pytest.raises(Unavailable, match="closed"):
        summary(opened)


def test_a_table_that_ends_its_reader_is_refused_and_the_next_one_is_read(readers: Readers) -> None:
    table = deadly_table()
    if table is None:
        pytest.skip("no damage that was tried ends this release of polars")
    pid = used_pid(readers)
    with pytest.raises(Invalid, match=r"this Parquet file cannot be read \(its reader ended with SIGABRT\).*write it"):
        summary(readers, table)
    assert gone(pid)
    assert summary(readers) == SUMMARY


def test_the_memory_a_table_may_take_is_bounded() -> None:
    bomb = parquet(pl.DataFrame({"x": pl.zeros(60_000_000, eager=True)}))
    assert len(bomb) < MIB
    narrow = Readers(memory_bytes=1200 * MIB)
    try:
        with pytest.raises(Invalid, match="needs more than 1200 MiB"):
            narrow.ask(ReferenceOf(data=bomb, contract=None), bytes)
        assert summary(narrow) == SUMMARY
    finally:
        narrow.close()


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("os.abort()", "ended with SIGABRT"),
        ("sys.exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "its reader was killed"),
        ("os.write(1, b'cut'); sys.exit(0)", "ended with exit code 0"),
        ("print('this is no message', flush=True)", "no answer"),
        ("os.write(1, (1 << 40).to_bytes(8, 'big'))", "no answer"),
        ("os.write(1, (1).to_bytes(8, 'big') + bytes([0xC1]))", "no answer"),
        ("send(sys.stdout.buffer, found('no summary'))", "no answer"),
        ("send(sys.stdout.buffer, Failed(code='no such code', message=''))", "no answer"),
    ],
)
def test_a_reader_that_dies_or_talks_nonsense_harms_only_who_asked(
    then: str, told: str, stand_ins: Callable[..., Readers]
) -> None:
    opened = stand_ins(then)
    with pytest.raises(Invalid, match=rf"this Parquet file cannot be read \(.*{re.escape(told)}\)"):
        summary(opened)
    assert opened.pids == ()


def test_one_that_hangs_is_ended_in_time_and_replaced() -> None:
    opened = Readers(time_limit_s=3)
    try:
        pid = used_pid(opened)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(Invalid, match=r"it takes more than 3 s"):
            summary(opened)
        assert gone(pid)
        assert summary(opened) == SUMMARY
    finally:
        opened.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_is_killed_between_two_questions_is_not_missed(number: int, readers: Readers) -> None:
    pid = used_pid(readers)
    os.kill(pid, number)
    assert gone(pid)
    assert used_pid(readers) != pid


def test_one_that_is_killed_while_it_reads_is_replaced_and_asked_again(readers: Readers) -> None:
    pid = used_pid(readers)
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(summary, readers)
        time.sleep(0.2)
        assert not answer.done()
        os.kill(pid, signal.SIGKILL)
        assert answer.result() == SUMMARY


def test_a_slow_table_holds_up_no_other_but_many_do(
    readers: Readers, stand_ins: Callable[..., Readers], caplog: pytest.LogCaptureFixture
) -> None:
    pid = used_pid(readers)
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(3) as threads:
        slow = threads.submit(summary, readers)
        time.sleep(0.2)
        assert summary(readers) == SUMMARY
        assert not slow.done()
        os.kill(pid, signal.SIGCONT)
        assert slow.result() == SUMMARY

        busy = stand_ins("time.sleep(60)", processes=1, time_limit_s=0.5)
        errors = [answer.exception() for answer in [threads.submit(summary, busy) for _ in range(3)]]
    assert all(isinstance(error, HeadwayError) for error in errors)
    assert any("busy" in str(error) for error in errors if isinstance(error, Unavailable))
    assert "a table was not read: it takes more than 0.5 s" in caplog.text


def test_closing_ends_even_one_that_reads(stand_ins: Callable[..., Readers]) -> None:
    opened = stand_ins("time.sleep(60)")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(summary, opened)
        until = time.monotonic() + 60
        while not opened.pids and time.monotonic() < until:
            time.sleep(0.02)
        (pid,) = opened.pids
        time.sleep(0.3)
        opened.close()
        assert isinstance(answer.exception(timeout=20), Unavailable)
    assert gone(pid)


@pytest.mark.parametrize(
    ("command", "told"),
    [((sys.executable, "-c", "raise SystemExit('no numbers today')"), "no numbers today"), (("/no/such",), "No such")],
)
def test_where_no_reader_starts_no_table_is_blamed(command: tuple[str, ...], told: str) -> None:
    opened = Readers(command=command)
    for _ in range(3):
        with pytest.raises(Unavailable, match=f"no reader of tables starts: .*{told}"):
            summary(opened)
    opened.close()


def test_what_a_reader_said_before_it_is_waited_for_is_told() -> None:
    reader = Reader((sys.executable, "-c", "raise SystemExit('no numbers today')"))
    assert gone(reader.pid)
    with pytest.raises(Unavailable, match="no reader of tables starts: no numbers today"):
        reader.ready()


def test_readers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    table.write_bytes(TABLE)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(table), str(tmp_path / "asked")], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert parent.stdout
    with parent.stdout:
        idle, busy = map(int, parent.stdout.readline().split())
    parent.kill()
    parent.wait()
    assert gone(idle)
    assert gone(busy)
