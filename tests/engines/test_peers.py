"""What Headway does with what it does without: pandas and Arrow frames, and a notebook in a real kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engines.peers import environment

pytestmark = pytest.mark.slow


def test_frames_of_pandas_and_arrow() -> None:
    assert environment.run("frames.py") == "all is well\n"


def test_a_notebook_runs_again_just_what_a_cell_has_changed() -> None:
    told: list[Any] = json.loads(environment.run("notebook.py").splitlines()[-1])
    first, value, second, comment, helper, constant, attribute, method, last_value, last = told
    assert [each[:3] for each in first] == [["load", True, "new"], ["work", None, "input"], ["show", None, "input"]]
    assert value == "6 of 7"
    for state in (second, comment, last):
        assert [each[:3] for each in state] == [[name, False, "same"] for name in ("load", "work", "show")]
    assert helper[1][1:] == [True, "code", "__main__.helper", "cell 12:2", "return x * RATE + 1"]
    assert constant[1][1:] == [True, "code", "__main__.RATE", "cell 15:1", "3"]
    assert attribute[1][1:] == [True, "code", "__main__.Limits", "cell 18:3", "top = 8"]
    assert method[1][1:3] == [True, "code"]
    assert method[2][1:4] == [True, "code", "class __main__.Point, which an argument is of"]
    assert last_value == "12 out of 8"
