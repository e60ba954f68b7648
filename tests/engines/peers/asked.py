"""Runs the tests of one file whose names hold a word, and prints how many of them ended how."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout

import pytest


class Counted:
    def __init__(self) -> None:
        self.ends = {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.ends[report.outcome] += 1


def main(file: str, word: str, folder: str) -> None:
    counted, told = Counted(), io.StringIO()
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "slow", "-k", word, "--basetemp", f"{folder}/t"]
    with redirect_stdout(told):
        pytest.main([*options, file], plugins=[counted])
    print(json.dumps({**counted.ends, "told": told.getvalue()[-4000:]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
