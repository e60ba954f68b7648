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
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from headway.cli.main import main
from tests.serving.processes import train
from tests.serving.workers import MODEL, folder_of, stand_in

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
        imported = Path(f"/proc/{process.pid}/maps").read_text()
        assert "sklearn" not in imported  # what it takes to look at a model is not kept while it is served
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


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_a_port_that_is_taken_is_told_before_anything_is_served(tmp_path: Path, option: str, workers: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(train(1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["serve", "--model", str(file), "--workers", workers, option, port])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"127.0.0.1:{port}: address already in use" in done.stderr


def test_one_port_is_not_for_both_protocols(tmp_path: Path) -> None:
    """Workers that share their ports could both listen there, and a client would meet either."""
    file = tmp_path / "model.onnx"
    file.write_bytes(train(1))
    ports = ["--port", "45321", "--grpc-port", "45321", "--workers", "2"]
    done = CliRunner().invoke(main, ["serve", "--model", str(file), *ports])
    assert (done.exit_code, "a port of its own" in done.stderr) == (2, True)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("code", "named", "exit_code"),
    [("\n1 / 0", "division by zero (model.py, line 2)", 2), ("import os; os._exit(5)", "code 5", 3)],
)
def test_a_model_that_does_not_load_ends_it(
    tmp_path: Path, code: str, named: str, exit_code: int, workers: str
) -> None:
    """It has no other one to wait for."""
    folder = folder_of(code, tmp_path / "model")
    tensor = {"name": "x", "datatype": "FP64", "shape": [-1]}
    signature = {"inputs": [tensor], "outputs": [tensor | {"name": "y"}], "score": "y"}
    (folder / "signature.json").write_text(json.dumps(signature))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["--model", str(folder), "--trust", "--port", str(port), "--workers", workers]
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, named in done.stderr) == (exit_code, True)
    assert list(tmp_path.glob("headway-serve-*")) == []


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to("/proc/self/mem")  # nobody may read its beginning, not even root
    for model in (str(tmp_path / "model.onnx"), "a" * 300):
        done = CliRunner().invoke(main, ["serve", "--model", model])
        assert (done.exit_code, "cannot be read" in done.stderr) == (2, True), done.stderr


SIGNED = {
    "inputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]),
    "outputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as MLflow saves one, whose code makes a file when it is loaded."""
    made = folder_of(f"open({str(tmp_path / 'loaded')!r}, 'w')\n" + MODEL, tmp_path / "saved")
    flavours = {"python_function": {"loader_module": "anything"}}
    (made / "MLmodel").write_text(json.dumps({"flavors": flavours, "signature": SIGNED}))
    return made


def test_a_folder_of_unknown_content_is_not_loaded_without_a_word(tmp_path: Path, folder: Path) -> None:
    done = CliRunner().invoke(main, ["serve", "--model", str(folder)])
    assert (done.exit_code, "--trust" in done.stderr) == (1, True)
    assert not (tmp_path / "loaded").exists()
    (folder / "MLmodel").write_text("flavors: {}")
    done = CliRunner().invoke(main, ["serve", "--model", str(folder), "--trust"])
    assert (done.exit_code, "python_function" in done.stderr) == (2, True)


@pytest.mark.parametrize(("model", "arguments"), [("nix", []), ("nix.onnx", []), (".", ["--python", "python3"])])
def test_what_is_not_there(model: str, arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["serve", "--model", model, *arguments])
    assert done.exit_code == 2, done.stderr


def test_a_folder_is_served_on_a_word(tmp_path: Path, folder: Path) -> None:
    python = stand_in(tmp_path / "environment")
    (folder / "model.py").write_text(MODEL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--model", str(folder), "--trust", "--python", python, "--port", str(port)]
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/v2/health/ready", process)
        body = json.dumps({"instances": [[1, 2], [3, 4]]}).encode()
        asked = Request(f"http://127.0.0.1:{port}/invocations", body, {"content-type": "application/json"})
        with urlopen(asked, timeout=10) as answer:
            assert json.load(answer) == {"predictions": [4, 10]}
    finally:
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert "Traceback" not in log
    assert list(tmp_path.glob("headway-serve-*")) == []


def test_a_name_alone_is_its_newest_version(tmp_path: Path) -> None:
    """Told apart from a file by being none; without such a model the message names all that could be meant."""
    done = CliRunner().invoke(main, ["serve", "--model", "nix"], env={"HEADWAY_HOME": str(tmp_path / "home")})
    assert (done.exit_code, "file, folder or model 'nix'" in done.stderr) == (2, True)
