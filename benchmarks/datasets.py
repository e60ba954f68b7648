"""What it costs to keep folders, large files and growing tables, beside DVC where that installs.

Every figure is of a fresh process of the command line, its start included, on a home of its own and without a server:
CPU seconds (user and system, children too), elapsed seconds, and the bytes that were stored. Tables are appended to in
one process, since that is how they grow. Run: python -m benchmarks.datasets [--files N] [--large-mib N] [--rounds N]
[--with-dvc] [--work FOLDER] [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

MIB = 1 << 20


class Cost(NamedTuple):
    cpu_s: float
    elapsed_s: float
    stored: int


class Tool(NamedTuple):
    """`store` is where it keeps what was added; `command` does a verb to a path."""

    name: str
    store: Path
    verbs: dict[str, list[str]]
    cwd: Path

    def run(self, verb: str) -> Cost:
        before, kept, began = os.times(), size_of(self.store), time.perf_counter()
        subprocess.run(self.verbs[verb], cwd=self.cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        elapsed, after = time.perf_counter() - began, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return Cost(cpu, elapsed, size_of(self.store) - kept)


def size_of(folder: Path) -> int:
    """Bytes that the files take on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def headway(folder: Path, target: Path) -> Tool:
    home = folder / ".headway"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    base = [sys.executable, "-m", "headway.cli", "--home", str(home), "dataset"]
    subprocess.run([*base, "list"], stdout=subprocess.DEVNULL, check=True)  # makes the database
    verbs = {
        "add": [*base, "add", "bench", str(target)], "status": [*base, "status", str(target)],
        "checkout": [*base, "checkout", "bench@1", str(folder / "out")],
    }  # fmt: skip
    return Tool("headway", home / "blobs", verbs, folder)


def dvc(folder: Path, target: Path, cache: Path) -> Tool:
    """In an environment of its own; as it is out of the box, but for analytics, which are off."""
    program = cache / "dvc" / "bin" / "dvc"
    if not program.exists():
        venv.create(cache / "dvc", with_pip=True)
        subprocess.run([cache / "dvc" / "bin" / "pip", "install", "--quiet", "dvc"], check=True)
    for name in (".dvc", f"{target.name}.dvc", ".dvcignore"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).unlink(missing_ok=True) if not (folder / name).is_dir() else None
    os.environ["DVC_NO_ANALYTICS"] = "1"
    subprocess.run([program, "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    verbs = {"add": [str(program), "add", "--quiet", target.name], "status": [str(program), "status"]}
    return Tool("dvc", folder / ".dvc" / "cache", verbs, folder)


def small_files(folder: Path, count: int) -> Path:
    target = folder / "small"
    for number in range(count):
        if number % 1000 == 0:
            (target / f"d{number // 1000:04}").mkdir(parents=True, exist_ok=True)
        (target / f"d{number // 1000:04}" / f"f{number:07}.bin").write_bytes(os.urandom(1024))
    time.sleep(3)  # files that were written to just now are read twice, by the rule for racily clean ones
    return target


def large_file(folder: Path, mib: int) -> Path:
    target = folder / "large.bin"
    with target.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    return target


def edit(target: Path) -> None:
    """1 % of the bytes, in one place."""
    size = target.stat().st_size
    with target.open("r+b") as file:
        file.seek(size // 3)
        for _ in range(max(1, size // 100 // MIB)):
            file.write(os.urandom(MIB))


def insert(target: Path) -> None:
    """1 MiB and a little, in the middle: no multiple of anything."""
    fresh = target.with_name("fresh")
    with target.open("rb") as source, fresh.open("wb") as file:
        left = target.stat().st_size // 2
        while left:
            left -= file.write(source.read(min(left, MIB)))
        file.write(os.urandom(MIB + 77))
        shutil.copyfileobj(source, file, MIB)
    fresh.replace(target)


def table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.rjust(width) if at > 1 else cell.ljust(width) for at, (cell, width) in
                        enumerate(zip(row, widths, strict=True))))  # fmt: skip
    print(flush=True)


def told(what: str, tool: str, costs: Sequence[Cost], against: int) -> list[str]:
    cpu, elapsed, stored = (median(each) for each in zip(*costs, strict=True))
    return [
        what,
        tool,
        f"{cpu:.2f}",
        f"{elapsed:.2f}",
        f"{stored / MIB:.3f}",
        f"{stored / against:.3f}" if against else "-",
    ]


HEADINGS = ["what", "tool", "CPU s", "elapsed s", "stored MiB", "of the data"]
Make = Callable[[Path], Tool]


def bench_small(work: Path, makes: Sequence[Make], count: int, rounds: int) -> None:
    target = small_files(work, count)
    data = count * 1024
    costs: dict[tuple[str, str], list[Cost]] = {}
    for number in range(rounds):
        for make in makes:
            tool = make(target)

            def did(what: str, verb: str, tool: Tool = tool) -> None:
                costs.setdefault((what, tool.name), []).append(tool.run(verb))

            did("add", "add")
            did("status, nothing changed", "status")
            victim = target / "d0000" / f"f{number:07}.bin"
            victim.write_bytes(os.urandom(1024))
            did("status, one file changed", "status")
            did("add, one file changed", "add")
            if "checkout" in tool.verbs:
                did("check out all", "checkout")
                shutil.rmtree(work / "out", ignore_errors=True)
            time.sleep(3)
    print(f"{count:,} files of 1 KiB")
    table([HEADINGS, *(told(what, tool, each, data) for (what, tool), each in costs.items())])
    shutil.rmtree(target)


def bench_large(work: Path, makes: Sequence[Make], mib: int) -> None:
    costs: dict[tuple[str, str], list[Cost]] = {}
    for make in makes:
        target = large_file(work, mib)
        before, began = os.times(), time.perf_counter()
        shutil.copyfile(target, work / "copy")
        after = os.times()
        copied = Cost(after.user + after.system - before.user - before.system, time.perf_counter() - began, mib * MIB)
        (work / "copy").unlink()
        costs.setdefault(("copy, for comparison", "cp"), []).append(copied)
        tool = make(target)
        for what, change in (("add", None), ("add, 1 % edited", edit), ("add, 1 MiB inserted", insert)):
            if change is not None:
                change(target)
            costs.setdefault((what, tool.name), []).append(tool.run("add"))
        target.unlink()
        shutil.rmtree(tool.store, ignore_errors=True)
    print(f"one file of {mib:,} MiB")
    table([HEADINGS, *(told(what, tool, each, mib * MIB) for (what, tool), each in costs.items())])


def bench_rows(work: Path, rows: int, rounds: int) -> None:
    import polars as pl  # noqa: PLC0415

    from headway import sdk  # noqa: PLC0415

    frame = pl.DataFrame({name: pl.Series(range(rows)).shuffle(seed=at) / 7 for at, name in enumerate("abcd")})
    home = work / "rows"
    client = sdk.open_client(home=home)
    client.datasets.add("rows", frame)
    client.datasets.add("whole", frame)
    client.retention.collect(older_than_s=0)
    costs: dict[str, list[Cost]] = {"append": [], "add the whole again": []}
    new, grown = 0, frame
    for number in range(rounds):
        piece = frame.sample(rows // 100, seed=number)
        grown = pl.concat([grown, piece.reverse()])  # not the same part again
        for what, name, given in (("append", "rows", piece), ("add the whole again", "whole", grown)):
            add = client.datasets.append if what == "append" else client.datasets.add
            before, kept, began = os.times(), size_of(home / "blobs"), time.perf_counter()
            version = add(name, given)
            after, elapsed = os.times(), time.perf_counter() - began
            new = new or version.stored
            client.retention.collect(older_than_s=0)  # of what was sent, all that is there already
            cpu = after.user + after.system - before.user - before.system
            costs[what].append(Cost(cpu, elapsed, size_of(home / "blobs") - kept))
    print(f"1 % more rows behind {rows:,} of 4 columns; beside the new rows as Parquet, without the CPU of readers")
    table([HEADINGS, *(told(what, "headway", each, new) for what, each in costs.items())])
    client.close()
    shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--large-mib", type=int, default=256)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--with-dvc", action="store_true")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "headway-benchmark-peers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        work = Path(folder)
        makes: list[Make] = [lambda target: headway(work, target)]
        if given.with_dvc:
            given.cache.mkdir(parents=True, exist_ok=True)
            makes.append(lambda target: dvc(work, target, given.cache))
        bench_small(work, makes, given.files, given.rounds)
        bench_large(work, makes, given.large_mib)
        bench_rows(work, given.rows, given.rounds)


if __name__ == "__main__":
    main()
