"""`headway serve`: one ONNX file, alone."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from headway.cli.main import main
from tests.serving.processes import train

COMMAND = [sys.executable, "-c", "from headway.cli.main import main; main()", "serve"]


def test_a_file_is_served(tmp_path: Path) -> None:
    (tmp_path / "late.onnx").write_bytes(train(1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--model", "late.onnx", "--name", "late", "--port", str(port)]
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/v2/health/ready", process)
        body = json.dumps({"features": {"temp": 70, "carrier": "UA"}}).encode()
        with urlopen(f"http://127.0.0.1:{port}/v1/predict/late", body, timeout=10) as answer:
            said = json.load(answer)
        assert (said["model"], said["version"], said["label"]) == ("late", 1, 1)
    finally:
        process.send_signal(signal.SIGINT)
        output, log = process.communicate(timeout=20)
    assert output.startswith("Serving late.onnx at http://")
    assert "Traceback" not in log
    assert list(tmp_path.glob("headway-serve-*")) == []


def _wait(url: str, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        assert process.poll() is None, process.communicate()
        try:
            urlopen(url, timeout=5).close()
        except URLError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("it never became ready")


@pytest.mark.parametrize(
    ("data", "arguments", "named"),
    [
        (b"no model", [], "does not load"),
        (None, ["--score", "nix"], "nix"),
        (None, ["--name", "../x"], "cannot name"),
        (None, ["--port", "0"], "port"),
    ],
)
def test_what_cannot_be_served(tmp_path: Path, data: bytes | None, arguments: list[str], named: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(data or train(1))
    done = CliRunner().invoke(main, ["serve", "--model", str(file), *arguments])
    assert (done.exit_code, named in done.stderr) == (2, True)
