"""The main job, as a person starts it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_quick_play_tells_the_whole_story(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headway.cli", "demo", "--quick", "--into", str(tmp_path / "home")]
    played = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    told = played.stdout
    assert played.returncode == 0, told + played.stderr
    for kind, rule in (("schema", "required"), ("nulls", "nulls"), ("units", "median")):
        assert re.search(rf"bad delivery \({kind}\) is refused: .*'{rule}'", told)
    assert "refused: author" in told
    assert re.search(r"flights in [\d,]+ requests, 0 failed; [\d,]+ labels joined", told)
    changes = told[told.index("\nChanges\n") : told.index("What lateness served")].splitlines()
    assert [re.split(r"\s{2,}", line)[:2] for line in changes[3:6]] == [["1", "author"], ["2", "alert"], ["3", "owner"]]
    assert "settled" in changes[3]
    assert "settled" in changes[4]
    assert "rejected" in changes[5]
    assert "rolled back: quality is worse" in changes[5]
    assert "lateness@2 90 %, lateness@3 10 %" in told
    assert re.search(r"\d entries, every one as it was written", told)
