"""How long `import headway` and the command line take to start, and how many modules they load.

Each is timed in fresh interpreters, in turn with a bare one so that a busy machine slows all alike; the medians of
CPU time (user and system) and of elapsed time are printed. Run: python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

_COMMAND = "from headway.cli.main import main\ntry: main([{!r}])\nexcept SystemExit: pass"
CASES = {
    "bare interpreter": "pass",
    "import headway": "import headway",
    "import headway, then hw.step": "import headway; headway.step",
    "import headway, then hw.connect": "import headway; headway.connect",
    "headway --version": _COMMAND.format("--version"),
    "headway --help": _COMMAND.format("--help"),
    "import click": "import click",
    "import httpx2": "import httpx2",
}
BUDGETS_MS = {"import headway": 80.0, "headway --help": 150.0}
"""Held against CPU time, which a busy machine changes least; without the bare interpreter for the import."""


def timed(code: str) -> tuple[float, float]:
    """CPU and elapsed milliseconds of one fresh interpreter."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    elapsed, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return 1000 * cpu, 1000 * elapsed


def modules(code: str) -> int:
    """How many modules are loaded after `code`."""
    asked = f"import sys, io\nout, sys.stdout = sys.stdout, io.StringIO()\n{code}\nprint(len(sys.modules), file=out)"
    return int(subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout)


def main(rounds: int) -> int:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, code in CASES.items():
            times[name].append(timed(code))
    bare_cpu, bare = (median(values) for values in zip(*times["bare interpreter"], strict=True))
    print(f"{'':34}{'CPU ms':>8}{'ms':>8}{'ms over bare':>14}{'modules':>9}")
    missed = 0
    for name, code in CASES.items():
        cpu, elapsed = (median(values) for values in zip(*times[name], strict=True))
        counted = cpu - bare_cpu if name.startswith("import") else cpu
        over = name in BUDGETS_MS and counted > BUDGETS_MS[name]
        missed += over
        note = f"  over its budget of {BUDGETS_MS[name]:g} ms" if over else ""
        print(f"{name:34}{cpu:8.0f}{elapsed:8.0f}{elapsed - bare:14.0f}{modules(code):9}{note}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
