"""A notebook in a real kernel: steps, helpers and classes in cells, edited and run again. Prints, for each state of the
notebook, which steps would run and the first reason of each."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TELL = """
import json as _json
print("TOLD" + _json.dumps([
    [_e.step, _e.runs, _e.reasons[0].because, _e.reasons[0].what, _e.reasons[0].where, _e.reasons[0].after]
    for _e in hw.explain(flow).steps
]))
"""
STEPS = """
from dataclasses import dataclass

@hw.step
def load(n: int) -> list[int]:
    return list(range(n))

@hw.step
def work(rows: list[int]) -> Point:
    return Point(sum(helper(row) for row in rows), limit())

@hw.step
def show(of: Point) -> str:
    return of.told()

@hw.pipeline
def flow(n: int = 3):
    return show(work(load(n)))
"""
POINT = """
from dataclasses import dataclass

@dataclass
class Point:
    x: int
    y: int

    def told(self) -> str:
        return f"{self.x} of {self.y}"
"""
HELPER = """
def helper(x):
    return x * RATE
"""
LIMIT = """
%config InteractiveShell.ast_node_interactivity = "last_expr"
class Limits:
    top = 7

def limit():
    return Limits.top
"""


def main(folder: Path) -> None:
    cells = [
        f"import headway as hw\n_ = hw.connect(home={str(folder / '.headway')!r})",
        "RATE = 2", POINT, HELPER, LIMIT, STEPS,
        TELL, "print('TOLD' + _json.dumps(hw.run(flow)))", TELL,
        HELPER.replace("return", "# twice\n    return"), TELL,
        HELPER.replace("x * RATE", "x * RATE + 1"), TELL, "_ = hw.run(flow)", "RATE = 3", TELL,
        "_ = hw.run(flow)", LIMIT.replace("7", "8"), TELL, "_ = hw.run(flow)",
        POINT.replace("} of {", "} out of {"), TELL, "print('TOLD' + _json.dumps(hw.run(flow)))", TELL,
    ]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip()) for text in cells])
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=place).execute()
    told = []
    for cell in notebook.cells:
        for output in cell.outputs:
            for line in output.get("text", "").splitlines():
                if line.startswith("TOLD"):
                    told.append(json.loads(line.removeprefix("TOLD")))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="headway-notebook-") as place:
        main(Path(place))
