"""The command line as a process: a new project, a real server, and what ends them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

COMMAND = [sys.executable, "-c", "from headway.cli.main import main; main()"]
PATIENCE_S = 60
ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWAY_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def headway(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    made = headway("init", "parcels", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "cd parcels && headway run train" in made.stdout
    return folder / "parcels"


@pytest.fixture(scope="module")
def trained(project: Path) -> Path:
    done = headway("run", "train", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "Next: headway ship parcels@1" in done.stdout
    return project


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[tuple[Path, str]]:
    """`headway up` on the new project; the folder, and the server's address."""
    process = subprocess.Popen(
        [*COMMAND, "up", "--port", "0", "--json"], cwd=trained, env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        told = threading.Timer(PATIENCE_S, process.kill)
        told.start()
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, "the server ended before it was up"
            text += line
        told.cancel()
        yield trained, json.loads(text)["url"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert not (trained / ".headway" / "server.json").exists()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_a_project_is_never_written_over(project: Path) -> None:
    before = (project / "pipeline.py").read_text()
    again = headway("init", ".", cwd=project)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert (project / "pipeline.py").read_text() == before


def test_the_new_project_trains_a_model_that_converts_and_beats_its_baselines(trained: Path) -> None:
    version = json.loads(headway("model", "show", "parcels", "--json", cwd=trained).stdout)
    assert version["parity"]["max_difference"] <= version["parity"]["tolerance"]
    assert version["metrics"]["auc"] > 0.7
    assert [baseline["name"] for baseline in version["baselines"]] == ["constant", "logistic"]


def test_a_terminal_gets_colours(trained: Path) -> None:
    leader, follower = pty.openpty()
    env = environment() | {"TERM": "xterm-256color", "COLUMNS": "120"}
    subprocess.run([*COMMAND, "run", "list"], cwd=trained, env=env, stdout=follower, check=True, timeout=PATIENCE_S)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "\x1b[32mfinished" in shown


def test_up_applies_the_project_and_is_found(server: tuple[Path, str]) -> None:
    folder, url = server
    with urlopen(f"{url}/health") as answer:
        assert json.load(answer)["status"] == "ok"
    listed = headway("deployment", "list", cwd=folder)
    assert "parcels" in listed.stdout
    shown = headway("project", "show", cwd=folder)
    assert shown.stdout == (folder / "headway.toml").read_text()


def test_a_second_server_on_the_home_is_refused(server: tuple[Path, str]) -> None:
    folder, url = server
    second = headway("up", "--port", "0", cwd=folder)
    assert second.returncode == 2
    assert url in second.stderr


def test_a_port_that_is_taken(server: tuple[Path, str], tmp_path: Path) -> None:
    port = server[1].rpartition(":")[2]
    taken = headway("up", "--port", port, cwd=tmp_path)
    assert taken.returncode == 3
    assert "--port" in taken.stderr


def test_open_to_the_world_without_tokens_is_refused(tmp_path: Path) -> None:
    refused = headway("up", "--host", "0.0.0.0", "--auth", "none", cwd=tmp_path)
    assert refused.returncode == 2
    assert "loopback" in refused.stderr


def test_a_bad_token(server: tuple[Path, str]) -> None:
    env = environment() | {"HEADWAY_TOKEN": "hw_wrong"}
    done = subprocess.run([*COMMAND, "status"], cwd=server[0], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "headway token create" in done.stderr


def test_whoever_has_read_enough_may_close_the_pipe() -> None:
    script = (
        f"{sys.executable} -c 'from headway.cli.main import main; main()' --help | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


def test_a_breakpoint_in_a_step_stops_there(tmp_path: Path) -> None:
    (tmp_path / "headway.toml").touch()
    (tmp_path / "flow.py").write_text(
        "import headway as hw\n\n@hw.step\ndef work(x: int) -> int:\n    y = x * 7\n    breakpoint()\n    return y\n\n"
        "@hw.pipeline\ndef flow():\n    return work(6)\n"
    )
    done = subprocess.run(
        [*COMMAND, "run", "flow:flow", "--in-process"], cwd=tmp_path, env=environment(), input="p y + 100\nc\n",
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(Pdb) 142" in done.stdout
    assert "finished: 42" in done.stdout
