"""What a run records by itself: machine, repository, packages, command; and what it keeps to itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.machine import LinuxMachine, NvidiaGpus, PsutilMachine, readings
from headway.client.origin import MOST_DIFF_BYTES, command_tags, edits, package_lock, repository_tags
from headway.client.shipping import Shipper
from headway.client.spool import Attached, Points, Spool, Texts
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.capture import (
    BRANCH_TAG,
    COMMAND_TAG,
    COMMIT_TAG,
    DIFF,
    DIRTY_TAG,
    LOCK,
    LOCK_TAG,
    NOTHING,
    REQUIREMENTS,
    CaptureSpec,
)
from headway.lifecycle.runs.records import RunState
from tests.client.test_run import PlainExporter
from tests.client.test_spool import OPENING, Flaky, Received, _client
from tests.server.world import World

Frame = Points | Texts | Attached


def git(folder: Path, *arguments: str) -> None:
    command = [
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "init.defaultBranch=trunk",
        *arguments,
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit of `model.py`, `.env`, and `big.txt`; `notes.txt` is tracked and ignored since."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("model.py", ".env", "notes.txt", "server.pem", "ünïcode näme.py"):
        (folder / name).write_text("depth = 1\n")
    (folder / "big.txt").write_text("")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    (folder / ".gitignore").write_text("notes.txt\nout/\n")
    return folder


def test_an_edited_repository_is_told_without_what_is_ignored_or_secret(repository: Path) -> None:
    assert edits(repository) == b""
    assert repository_tags(repository)[DIRTY_TAG] == "false"
    (repository / "out").mkdir()
    for name in (".env", "notes.txt", "server.pem", "out/run.log", "untracked.py"):
        (repository / name).write_text("private = 2\n")
    (repository / "model.py").write_text('depth = 2\napi_key = "abcd-efgh"\n')
    (repository / "ünïcode näme.py").write_text("depth = 3\n")
    patch = edits(repository).decode()
    assert "+depth = 2" in patch
    assert "+depth = 3" in patch
    assert 'api_key = "***"' in patch
    assert "private" not in patch
    assert "abcd" not in patch
    tags = repository_tags(repository)
    assert (tags[BRANCH_TAG], tags[DIRTY_TAG], len(tags[COMMIT_TAG])) == ("trunk", "true", 40)
    assert edits(repository / "out").decode() == patch


def test_a_long_diff_is_cut_and_says_so(repository: Path) -> None:
    (repository / "big.txt").write_text("x" * 79 + "\n")
    assert b"cut here" not in edits(repository)
    (repository / "big.txt").write_text(("x" * 79 + "\n") * 5000)
    patch = edits(repository)
    assert MOST_DIFF_BYTES < len(patch) < MOST_DIFF_BYTES + 100
    assert patch.endswith(b"bytes in all]\n")


def test_a_folder_that_is_no_repository_or_has_no_commit_tells_nothing(tmp_path: Path) -> None:
    assert (repository_tags(tmp_path / "none"), edits(tmp_path / "none")) == ({}, b"")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init")
    assert repository_tags(fresh) == {BRANCH_TAG: "trunk", DIRTY_TAG: "false"}
    assert edits(fresh) == b""


def test_a_repository_cannot_make_a_program_run(repository: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for setting in ("diff.external", "diff.x.textconv", "core.fsmonitor", "diff.x.command"):
        git(repository, "config", setting, f"touch {ran}")
    (repository / ".gitattributes").write_text("*.py diff=x\n")
    (repository / "model.py").write_text("depth = 9\n")
    assert b"+depth = 9" in edits(repository)
    repository_tags(repository)
    assert not ran.exists()


def test_packages_are_the_first_of_their_name_along_the_path(tmp_path: Path) -> None:
    for place, name in (("a", "Foo_Bar-1.0.dist-info"), ("b", "foo.bar-2.0.dist-info"), ("b", "baz-3!1.0+x.dist-info")):
        (tmp_path / place / name).mkdir(parents=True)
    lock = package_lock([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "none")])
    assert lock.packages == {"foo-bar": "1.0", "baz": "3!1.0+x"}
    assert lock.requirements == "baz==3!1.0+x\nfoo-bar==1.0\n"
    assert lock.digest == package_lock([str(tmp_path / "a"), str(tmp_path / "b")]).digest
    assert lock.digest != lock.but(packages={"foo-bar": "1.1"}).digest


def test_the_lock_of_this_process_is_what_its_metadata_say() -> None:
    from importlib.metadata import version  # noqa: PLC0415

    packages = package_lock().packages
    assert {name: version(name) for name in ("msgspec", "pytest", "click")}.items() <= packages.items()


def test_a_command_is_told_without_its_secrets() -> None:
    tags = command_tags(["python", "train.py", "--api-key", "abc", "--depth", "3"], "train.py")
    assert tags[COMMAND_TAG] == "python train.py --api-key '***' --depth 3"
    assert tags["mlflow.source.name"] == "train.py"


STAT = "cpu  {user} 0 50 800 100 0 0 0 7 0\ncpu0 1 2 3\n"
NET = "Inter-|\n face |\n    lo: 999 0 0 0 0 0 0 0 999 0\n  eth0: {got} 1 0 0 0 0 0 0 {sent} 1\n"


def test_linux_is_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "net").mkdir()
    (tmp_path / "stat").write_text(STAT.format(user=50))
    (tmp_path / "net" / "dev").write_text(NET.format(got=1_000_000, sent=5))
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\nHugePages_Total: 0\n")
    (tmp_path / "self" / "statm").write_text("9 1000 3")
    (tmp_path / "self" / "io").write_text("rchar: 1\nread_bytes: 2000000\nwrite_bytes: 0\n")
    machine = LinuxMachine(tmp_path)
    (tmp_path / "stat").write_text(STAT.format(user=150))
    (tmp_path / "net" / "dev").write_text(NET.format(got=3_500_000, sent=5))
    found = machine.sample()
    assert found["cpu_utilization_percentage"] == pytest.approx(100.0)
    assert found["system_memory_usage_percentage"] == pytest.approx(75.0)
    assert found["system_memory_usage_megabytes"] == pytest.approx(0.768)
    assert found["process_disk_read_megabytes"] == pytest.approx(2.0)
    assert (found["network_receive_megabytes"], found["network_transmit_megabytes"]) == pytest.approx((2.5, 0.0))
    (tmp_path / "self" / "io").unlink()
    (tmp_path / "stat").write_text("nonsense\n")
    left = machine.sample()
    assert found.keys() - left.keys() == {
        "cpu_utilization_percentage", "process_disk_read_megabytes", "process_disk_write_megabytes",
    }  # fmt: skip


def test_both_ways_of_reading_this_machine_agree() -> None:
    psutil = pytest.importorskip("psutil")
    one, other = LinuxMachine(), PsutilMachine(psutil)
    sum(number * number for number in range(300_000))
    found, expected = one.sample(), other.sample()
    assert expected.keys() <= found.keys()
    for key in ("system_memory_usage_megabytes", "process_memory_usage_megabytes", "disk_usage_megabytes"):
        assert found[key] == pytest.approx(expected[key], rel=0.1)
    assert 0 <= found["cpu_utilization_percentage"] <= 100


class Nvml:
    """Two GPUs, of which the second does not tell its power."""

    class NVMLError(Exception):
        pass

    nvmlInit = staticmethod(lambda: None)
    nvmlDeviceGetCount = staticmethod(lambda: 2)
    nvmlDeviceGetHandleByIndex = staticmethod(lambda number: number)
    nvmlDeviceGetMemoryInfo = staticmethod(lambda handle: SimpleNamespace(used=2e9, total=8e9))
    nvmlDeviceGetUtilizationRates = staticmethod(lambda handle: SimpleNamespace(gpu=37))
    nvmlDeviceGetEnforcedPowerLimit = staticmethod(lambda handle: 200_000)

    @classmethod
    def nvmlDeviceGetPowerUsage(cls, handle: int) -> int:
        if handle:
            raise cls.NVMLError("not supported")
        return 50_000


def test_gpus_are_told_by_the_names_of_mlflow() -> None:
    found = NvidiaGpus(Nvml).sample()
    assert found == {
        "gpu_0_memory_usage_percentage": 25.0, "gpu_0_memory_usage_megabytes": 2000.0,
        "gpu_0_utilization_percentage": 37.0, "gpu_0_power_usage_watts": 50.0, "gpu_0_power_usage_percentage": 25.0,
        "gpu_1_memory_usage_percentage": 25.0, "gpu_1_memory_usage_megabytes": 2000.0,
        "gpu_1_utilization_percentage": 37.0,
    }  # fmt: skip


def recorded(spec: CaptureSpec, folder: Path, known: dict[str, str] | None = None, **told: Any) -> list[Frame]:
    frames = list[Frame]()
    capture = Capture(spec, folder, arguments=["python", "train.py"], **told)
    capture.start(frames.append, SystemClock(), known or {})
    capture.stop()
    return frames


def test_a_short_run_has_all_of_it_and_one_sample(repository: Path) -> None:
    (repository / "model.py").write_text("depth = 2\n")
    frames = recorded(CaptureSpec(), repository)
    assert [frame.name for frame in frames if isinstance(frame, Attached)] == [DIFF, LOCK, REQUIREMENTS]
    (sample,) = (frame for frame in frames if isinstance(frame, Points))
    assert {"system/disk_usage_percentage", "system/system_memory_usage_megabytes"} <= sample.values.keys()
    tags = {key: value for frame in frames if isinstance(frame, Texts) for key, value in frame.tags.items()}
    assert {COMMAND_TAG, COMMIT_TAG, DIRTY_TAG, LOCK_TAG} <= tags.keys()


def test_what_is_turned_off_is_not_recorded(repository: Path) -> None:
    assert recorded(NOTHING, repository) == []
    (frame,) = recorded(NOTHING.but(command=True), repository, {COMMAND_TAG: "mine"})
    assert isinstance(frame, Texts)
    assert COMMAND_TAG not in frame.tags


def test_samples_go_on_until_the_end(tmp_path: Path) -> None:
    frames = list[Frame]()
    capture = Capture(NOTHING.but(system=True, every_s=0.01), tmp_path, look=lambda: [lambda: {"x": 1.0}])
    capture.start(frames.append, SystemClock(), {})
    deadline = time.monotonic() + 60
    while len(frames) < 4 and time.monotonic() < deadline:
        time.sleep(0.005)
    capture.stop()
    samples = [frame for frame in frames if isinstance(frame, Points)]
    assert [frame.step for frame in samples] == list(range(len(samples)))
    assert len(samples) >= 4
    count = len(frames)
    time.sleep(0.05)
    assert len(frames) == count


def test_its_failure_is_nobodys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> list[Any]:
        raise RuntimeError("no such machine")

    assert recorded(NOTHING.but(system=True), tmp_path, look=broken) == []
    assert "no such machine" in caplog.text
    assert readings()


def test_a_refused_attachment_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool, received = Spool.create(tmp_path, OPENING), Received()
    for name in ("bad", "good"):
        spool.append(Attached(name, b"x", "text/plain"))
    spool.append(Points(0, 0, {"loss": 0.5}))
    Shipper(spool, received).flush()
    assert (received.attached, set(received.steps)) == ({"good": b"x"}, {0})
    assert "bad of run rn_1 is not kept" in caplog.text
    spool.remove()


def captured_run(client: Client, folder: Path, **told: Any) -> str:
    capture = Capture(CaptureSpec(), folder, arguments=["python", "train.py"])
    with client.start_run("captured", PlainExporter(), capture=capture, **told) as run:
        run.log_metric("loss", 0.5)
    return run.id


def test_a_captured_run_over_the_wire_and_two_of_them_compared(
    delivered: tuple[World, dict[str, str]], repository: Path, tmp_path: Path
) -> None:
    client = _client(delivered[0], Flaky(delivered[0]), tmp_path / "spool")
    one = captured_run(client, repository, params={"depth": 1})
    (repository / "model.py").write_text("depth = 2\n")
    other = captured_run(client, repository, params={"depth": 2})
    assert not list((tmp_path / "spool").iterdir())
    kept = {artifact.name: artifact for artifact in client.runs.artifacts(other)}
    assert kept.keys() == {DIFF, LOCK, REQUIREMENTS}
    assert b"+depth = 2" in client.blobs.get(kept[DIFF].blob)
    assert b"msgspec==" in client.blobs.get(kept[REQUIREMENTS].blob)
    found = client.runs.diff(one, other)
    assert [(each.name, each.left, each.right) for each in found.params] == [("depth", "1", "2")]
    assert [each.name for each in found.code] == ["edits"]
    assert (found.metrics, found.packages) == ((), ())


def test_captured_while_the_server_is_away_and_synced_once(
    delivered: tuple[World, dict[str, str]], repository: Path, tmp_path: Path
) -> None:
    transport = Flaky(delivered[0])
    client = _client(delivered[0], transport, tmp_path / "spool")
    capture = Capture(CaptureSpec(), repository, arguments=["python", "train.py"])
    run = client.start_run("away", PlainExporter(), capture=capture)
    transport.down = True
    run.finish()
    transport.down, transport.lose_answers = False, 2
    assert "broke" in client.sync()[0].error
    assert "broke" in client.sync()[0].error
    assert [item.error for item in client.sync()] == [""]
    assert [artifact.name for artifact in client.runs.artifacts(run.id)] == [LOCK, REQUIREMENTS]
    assert len(client.runs.curve(run.id, "system/system_memory_usage_megabytes")) >= 1
    kept = client.runs.get(run.id)
    assert (kept.state, kept.tags[COMMAND_TAG]) == (RunState.FINISHED, "python train.py")


KILLED = """
import sys, time
from pathlib import Path
from headway.client.capture import Capture
from headway.client.spool import Opening, Spool
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.capture import CaptureSpec, LOCK_TAG
spool = Spool.create(Path(sys.argv[1]), Opening(run=sys.argv[2], url="http://localhost"))
def note(frame):
    spool.append(frame)
    if LOCK_TAG in getattr(frame, "tags", {}):
        print("captured", flush=True)
Capture(CaptureSpec(), Path.cwd()).start(note, SystemClock(), {})
time.sleep(60)
"""


def test_a_killed_run_shows_what_was_captured(
    delivered: tuple[World, dict[str, str]], repository: Path, tmp_path: Path
) -> None:
    client = _client(delivered[0], Flaky(delivered[0]), tmp_path / "spool")
    run = client.start_run("killed", PlainExporter())
    command = [sys.executable, "-c", KILLED, str(tmp_path / "spool"), run.id, "--token=hw_abcdefghijklmnop"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "captured\n"
        process.kill()
    assert "" in [item.error for item in client.sync()]
    kept = client.runs.get(run.id)
    assert {COMMAND_TAG, COMMIT_TAG, LOCK_TAG} <= kept.tags.keys()
    assert kept.tags[COMMAND_TAG].endswith("'--token=***'")
    assert {artifact.name for artifact in client.runs.artifacts(run.id)} == {LOCK, REQUIREMENTS}
    assert client.runs.metrics([run.id])[run.id].keys() >= {"system/system_memory_usage_megabytes"}
    run.finish()
