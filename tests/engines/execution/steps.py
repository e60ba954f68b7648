"""Steps that do what steps do: also hang, die, and leave processes behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from headway.lifecycle.runs.pipeline import pipeline, step

PATIENCE_S = 60.0


def note(folder: str, text: str) -> None:
    """Append a line that survives whatever happens next."""
    with Path(folder, "notes").open("a") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def notes(folder: str | Path) -> list[str]:
    file = Path(folder, "notes")
    return file.read_text().splitlines() if file.exists() else []


def until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


@step
def load(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"a": list(range(rows))})


@step
def halve(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    return frame.head(len(frame) // 2), frame.tail(len(frame) // 2)


@step
def total(frame: pl.DataFrame, factor: int = 1) -> dict[str, int]:
    return {"sum": int(frame["a"].sum()) * factor}


@step
def add(*values: Any) -> int:
    return sum(value["sum"] for value in values)


@pipeline
def sums(rows: int = 5, factor: int = 1) -> Any:
    first, second = halve(load(rows))
    return add(total(first, factor), total(second)), total(load(rows), factor=2)


@step
def meet(folder: str, own: str, other: str) -> str:
    """Ends only if both run at the same time."""
    Path(folder, own).touch()
    until(Path(folder, other).exists, "the other step runs")
    return own


@pipeline
def pair(folder: str) -> Any:
    return [meet(folder, "left", "right"), meet(folder, "right", "left")]


@step
def fail(folder: str, times: int = 99) -> int:
    note(folder, "fail")
    if len(notes(folder)) <= times:
        raise ValueError("no more of this")
    return 7


@step
def slowly(folder: str, name: str, value: Any = None) -> str:
    note(folder, name)
    return name


@pipeline
def with_a_failure(folder: str) -> Any:
    broken = fail(folder)
    after = slowly(folder, "after", broken)
    return [slowly(folder, "one"), slowly(folder, "two"), after]


@step(retries=2, retry_wait_s=0.01)
def stubborn(folder: str, times: int) -> int:
    note(folder, "tried")
    if len(notes(folder)) <= times:
        raise ValueError("not yet")
    return len(notes(folder))


@pipeline
def trying(folder: str, times: int) -> Any:
    return stubborn(folder, times)


def leave_a_daemon(folder: str) -> None:
    """A grandchild in a session of its own, whose parent has ended: nobody in its tree is left to ask."""
    script = f"( setsid sh -c 'echo $$ > {folder}/daemon; exec sleep 1000' & )"
    subprocess.run(["sh", "-c", script], check=True)
    until(Path(folder, "daemon").exists, "the daemon runs")
    until(lambda: Path(folder, "daemon").read_text().strip(), "the daemon says its number")


@step(timeout_s=2.0)
def hang(folder: str) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_a_daemon(folder)
    time.sleep(1000)
    return 1


@pipeline
def hanging(folder: str) -> Any:
    return [hang(folder), slowly(folder, "beside")]


@step
def wait_long(folder: str) -> int:
    leave_a_daemon(folder)
    note(folder, f"waits {os.getpid()} {os.getppid()}")
    time.sleep(1000)
    return 1


@pipeline
def waiting(folder: str) -> Any:
    before = slowly(folder, "before")
    assert before.value == "before"
    return slowly(folder, "after", wait_long(folder))


@step(memory_mb=300)
def greedy(mb: int) -> int:
    return len(bytearray(mb * 2**20)) // 2**20


@pipeline
def memory(mb: int) -> Any:
    return greedy(mb)


@step
def die(folder: str, times: int, number: int = signal.SIGKILL) -> int:
    note(folder, "died")
    assert "step_worker" in " ".join(sys.orig_argv)  # never the process of the tests
    if len(notes(folder)) <= times:
        os.kill(os.getpid(), number)
    return len(notes(folder))


@pipeline
def dying(folder: str, times: int) -> Any:
    return die(folder, times)


@step
def say(lines: int) -> int:
    print("token=very-secret-indeed")
    os.write(2, b"straight to the descriptor\n")
    for number in range(lines):
        print(f"line {number} " + "x" * 100)
    print("the end, without a newline", end="")
    return lines


@pipeline
def saying(lines: int) -> Any:
    return say(lines)


@step
def wrong() -> tuple[int, int]:
    return 1, 2, 3  # type: ignore[return-value]


@pipeline
def unpacking() -> Any:
    one, two = wrong()
    return [one, two]


@step(gpus=1)
def cards() -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


@pipeline
def on_cards(many: int) -> Any:
    return [cards.named(f"cards-{number}")() for number in range(many)]


@step(cpus=2)
def alone(folder: str, name: str) -> str:
    note(folder, f"begin {name}")
    time.sleep(0.05)
    note(folder, f"end {name}")
    return name


@pipeline
def one_by_one(folder: str) -> Any:
    return [alone(folder, name) for name in "abc"]


@step
def combine(number: int, *inputs: Any) -> Any:
    if number % 7 == 3:
        raise ValueError(f"{number} is unlucky")
    values = [number, *(value if isinstance(value, int) else sum(value) for value in inputs)]
    return values if number % 2 else sum(values)


@pipeline
def graph(edges: list[list[int]]) -> Any:
    results: list[Any] = []
    for number, inputs in enumerate(edges):
        results.append(combine(number, *(results[each] for each in inputs)))
    return results[-1:]


@step
def write_file(folder: str) -> Path:
    path = Path(folder) / "given.txt"
    path.write_text("given")
    return path


@step
def take_file(file: Path, folder: str, before: str = "", *, dies: bool = False) -> str:
    note(folder, f"took {file.read_text()} {file} {Path(before).exists() if before else ''}")
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return str(file)


@pipeline
def files(folder: str, dies: bool = False) -> Any:
    made = write_file(folder)
    first = take_file(made, folder).value
    return take_file(made, folder, first, dies=dies)
