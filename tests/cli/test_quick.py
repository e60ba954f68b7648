"""A run in which nothing has to run goes directly to the database, and leaves there what any other run leaves."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headway.cli.main import main
from headway.cli.remembered import remembered
from headway.storage.sql.direct import newest_version
from headway.storage.sql.schema import VERSION

FLOW = """
import headway as hw

@hw.step
def load(n: int) -> list[int]:
    return list(range(n))

@hw.step
def square(item: int) -> int:
    return item * item

@hw.step
def total(items: list[int]) -> int:
    return sum(items)

@hw.pipeline
def flow(n: int = 3):
    return total(square.map(load(n)))
"""
QUIET = "\n[capture]\nsystem = false\ncode = false\npackages = false\ncommand = false\n"
TOML = f'[project]\nname = "quick"\n[pipelines.sums]\nentry = "flow:flow"\nparams = {{ n = "3" }}\n{QUIET}'

Headway = Callable[..., Result]


@pytest.fixture
def headway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Headway]:
    for name in ("HEADWAY_HOME", "HEADWAY_URL", "HEADWAY_TOKEN", "HEADWAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headway.toml").write_text(TOML)
    (tmp_path / "flow.py").write_text(FLOW)
    path, finders = list(sys.path), list(sys.meta_path)
    yield lambda *arguments: CliRunner().invoke(main, arguments)
    sys.modules.pop("flow", None)
    sys.path[:], sys.meta_path[:] = path, finders


def ran(result: Result) -> str:
    """The id of the run that `--json` tells of."""
    assert result.exit_code == 0, result.output
    return str(json.loads(result.stdout)["run"]["id"])


def rows(folder: Path, query: str, *values: Any) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / ".headway" / "headway.db") as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute(query, values)]
    connection.close()
    return found


def test_the_newest_migration_is_the_databases_version() -> None:
    assert newest_version() == VERSION


def test_it_leaves_just_what_the_long_way_leaves(headway: Headway, tmp_path: Path, monkeypatch: Any) -> None:
    ran(headway("run", "sums", "--json"))
    quick = ran(headway("run", "sums", "--json"))
    monkeypatch.setenv("HEADWAY_TOKEN", (tmp_path / ".headway" / "tokens" / "owner").read_text())
    slow = ran(headway("run", "sums", "--json"))
    kept = {}
    for run in (quick, slow):
        found = []
        for table, key in (("runs", "id"), ("run_search", "run"), ("run_texts", "run"), ("steps", "run")):
            found += rows(tmp_path, f"SELECT * FROM {table} WHERE {key} = ? ORDER BY 1, 2, 3", run)
        found += rows(tmp_path, "SELECT * FROM events WHERE subject = ?", run)
        found += rows(tmp_path, "SELECT actor, verb, why, came_from FROM ledger WHERE subject = ? ORDER BY number", run)
        kept[run] = [_without_times(row, run) for row in found]
    assert kept[quick] == kept[slow]
    assert len(kept[quick]) == 1 + 1 + 2 + 5 + 1 + 2
    assert headway("ledger", "verify").exit_code == 0


def _without_times(row: dict[str, Any], run: str) -> dict[str, Any]:
    made = {}
    for name, value in row.items():
        if name in ("body", "facts"):
            told = json.loads(value)
            made[name] = {key: type(each) if key.endswith("_at") else each for key, each in told.items()}
            made[name].pop("id", None)
        else:
            made[name] = type(value) if name in ("at", "started_at", "ended_at", "number") else value
    return {name: None if value == run else value for name, value in made.items()}


WITHOUT = (
    "sqlalchemy", "litestar", "httpx2", "headway.client.client", "headway.engines.execution.crew",
    "headway.engines.execution.wire", "headway.running.options", "socket", "subprocess", "tempfile", "zoneinfo",
)  # fmt: skip
"""What only a step that is executed, or a server, needs."""


def test_nothing_is_imported_for_workers_that_are_not_started(headway: Headway, tmp_path: Path) -> None:
    ran(headway("run", "sums", "--json"))
    program = (
        "import sys\nfrom headway.cli.main import main\ntry:\n    main()\nfinally:\n"
        f"    print([name for name in {WITHOUT} if name in sys.modules], file=sys.stderr)"
    )
    found = []
    for params in ((), ("-p", "n=4")):  # all is cached; a step is not
        command = [sys.executable, "-c", program, "run", "sums", "--json", *params]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
        found.append(done.stderr.splitlines()[-1])
    assert found[0] == "[]"
    assert "headway.engines.execution.wire" in found[1]


def is_quick(headway: Headway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """Runs it where the client cannot be opened."""
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "headway.cli.reach", None)
        return headway("run", *arguments)


def test_no_client_is_opened_while_all_is_cached(headway: Headway, tmp_path: Path, monkeypatch: Any) -> None:
    assert headway("run", "sums").exit_code == 0
    done = is_quick(headway, monkeypatch, "sums")
    assert done.exit_code == 0, done.output
    assert "finished: 5" in done.stdout
    assert done.stderr.count("cached") == 5
    (tmp_path / "flow.py").write_text(FLOW.replace("sum(items)", "sum(items)  # a comment"))
    assert is_quick(headway, monkeypatch, "sums").exit_code == 0
    assert len(rows(tmp_path, "SELECT id FROM pipelines")) == 2  # the code is another one
    (tmp_path / "flow.py").write_text(FLOW.replace("sum(items)", "1 + sum(items)"))
    assert is_quick(headway, monkeypatch, "sums").exit_code != 0
    done = headway("run", "sums")
    assert "finished: 6" in done.stdout
    assert done.stderr.splitlines()[-1].split()[:2] == ["total", "done"]
    assert is_quick(headway, monkeypatch, "flow:flow").exit_code == 0
    assert headway("ledger", "verify").exit_code == 0


def test_logging_between_steps_opens_the_run(headway: Headway, tmp_path: Path) -> None:
    logging = FLOW.replace("    return total(", '    hw.log_metric("seen", n)\n    return total(')
    (tmp_path / "flow.py").write_text(logging)
    runs = {ran(headway("run", "sums", "--json")) for _ in range(2)}
    assert len(runs) == 2
    for run in runs:
        shown = json.loads(headway("run", "show", run, "--json").stdout)
        assert shown["metrics"] == {"seen": 3.0}
        assert shown["run"]["state"] == "finished"
        assert len(shown["steps"]) == 5


def test_what_fails_between_steps_is_a_failed_run(headway: Headway, tmp_path: Path) -> None:
    assert headway("run", "sums").exit_code == 0
    (tmp_path / "flow.py").write_text(FLOW.replace("    return total(square.map(load(n)))", "    load(n)\n    1 / 0"))
    assert headway("run", "sums").exit_code != 0
    last = json.loads(headway("run", "list", "--json").stdout)["items"][0]
    assert (last["state"], "ZeroDivisionError" in last["error"]) == ("failed", True)
    assert [step["state"] for step in json.loads(headway("run", "show", last["id"], "--json").stdout)["steps"]] == [
        "cached"
    ]


def test_a_blob_that_is_gone_is_made_again(headway: Headway, tmp_path: Path) -> None:
    assert headway("run", "sums").exit_code == 0
    for blob in (tmp_path / ".headway" / "blobs").rglob("*"):
        if blob.is_file() and blob.read_bytes() == b"[0,1,2]":
            blob.unlink()
    done = headway("run", "sums")
    assert done.exit_code == 0
    assert "load  done" in done.stderr
    assert done.stderr.count("cached") == 4


def test_a_blob_that_is_damaged_is_not_taken(headway: Headway, tmp_path: Path) -> None:
    assert headway("run", "sums").exit_code == 0
    damaged = [
        blob for blob in (tmp_path / ".headway" / "blobs").rglob("*") if blob.is_file() and blob.read_bytes() == b"5"
    ]
    for blob in damaged:
        blob.write_bytes(b"6")
    done = headway("run", "sums")
    assert damaged
    assert done.exit_code == 1
    assert "is not as it was written" in done.stderr


def test_a_cut_ledger_is_written_to_no_more(headway: Headway, tmp_path: Path) -> None:
    assert headway("run", "sums").exit_code == 0
    with sqlite3.connect(tmp_path / ".headway" / "headway.db") as connection:
        connection.execute("DELETE FROM ledger WHERE number = (SELECT max(number) FROM ledger)")
    connection.close()
    done = headway("run", "sums")
    assert done.exit_code != 0
    assert "has lost entry" in done.stderr


def test_deleted_experiments_and_revoked_tokens_take_the_long_way(headway: Headway) -> None:
    assert headway("run", "sums").exit_code == 0
    assert headway("experiment", "delete", "flow").exit_code == 0
    done = headway("run", "sums")
    assert done.exit_code == 2
    assert "is deleted" in done.stderr
    assert headway("experiment", "restore", "flow").exit_code == 0
    assert headway("run", "sums").exit_code == 0
    assert headway("token", "revoke", "owner").exit_code == 0
    assert headway("run", "sums").exit_code != 0


def test_an_edit_of_the_settings_is_read_whole(headway: Headway, tmp_path: Path) -> None:
    assert headway("run", "sums").exit_code == 0
    assert remembered(tmp_path / ".headway", TOML) is not None
    (tmp_path / "headway.toml").write_text(TOML + "\n[nonsense]\n")
    assert remembered(tmp_path / ".headway", TOML + "\n[nonsense]\n") is None
    done = headway("run", "sums")
    assert done.exit_code == 2
    assert "nonsense" in done.stderr
    (tmp_path / "headway.toml").write_text(TOML.replace('n = "3"', 'n = "4"'))
    assert "finished: 14" in headway("run", "sums").stdout


def test_wrong_params_and_names_are_told_as_ever(headway: Headway) -> None:
    assert headway("run", "sums").exit_code == 0
    for arguments, said in (
        (["sums", "-p", "m=3"], "has no param 'm'"), (["sums", "-p", "n=x"], "param 'n' takes int"),
        (["summs"], "did you mean 'sums'"), (["flow:flaw"], "did you mean 'flow'"),
    ):  # fmt: skip
        done = headway("run", *arguments)
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_explanations_and_a_preview(headway: Headway, tmp_path: Path) -> None:
    def reasons(*options: str) -> dict[str, list[dict[str, str]]]:
        told = json.loads(headway("run", "sums", "--json", *options).stdout)
        return {each["step"]: each["reasons"] for each in told.get("explanations", told.get("steps"))}

    assert {each[0]["because"] for each in reasons("--explain").values()} == {"new"}
    assert {each[0]["because"] for each in reasons("--explain").values()} == {"same"}
    (tmp_path / "flow.py").write_text(FLOW.replace("item * item", "item ** 2"))
    before = rows(tmp_path, "SELECT count(*) AS n FROM runs")
    foreseen = reasons("--dry-run")
    assert rows(tmp_path, "SELECT count(*) AS n FROM runs") == before
    assert foreseen["square"][0] == {
        "because": "code", "what": "flow.square", "where": "flow.py:10", "before": "return item * item",
        "after": "return item ** 2",
    }  # fmt: skip
    assert foreseen["load"][0]["because"] == "same"
    shown = headway("run", "sums", "--explain")
    assert "square  runs: flow.square (flow.py:10): return item * item -> return item ** 2" in shown.stderr
    assert "total  cached: nothing has changed since" in shown.stderr
    forced = reasons("--explain", "--force", "load")
    assert (forced["load"][0]["because"], forced["square"][0]["because"]) == ("forced", "same")
    assert headway("run", "sums", "--force", "lode").exit_code == 2


def test_a_pipeline_that_cannot_be_called_so_is_bad_input(headway: Headway, tmp_path: Path) -> None:
    ran(headway("run", "sums", "--json"))
    (tmp_path / "flow.py").write_text(FLOW.replace("return sum(items)", "raise ValueError('no')"))
    failed = headway("run", "sums", "--json")
    run = rows(tmp_path, "SELECT id FROM runs ORDER BY id DESC LIMIT 1")[0]["id"]
    assert "ValueError: no" in failed.output
    (tmp_path / "flow.py").write_text(FLOW.replace("n: int = 3", "n: int = 3, /"))
    for arguments in (("run", "sums"), ("run", "resume", run), ("run", "sums", "--dry-run")):
        said = headway(*arguments)
        assert said.exit_code == 2, said.output
        assert "pipeline 'flow' cannot be called so: " in said.output
