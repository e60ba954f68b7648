"""Models that are no ONNX, from a file on disk to an answer and back: functions of Python, and programs of torch."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headway.cli.main import main
from headway.engines.models.given import model_at
from headway.engines.models.native import form_of_file, native_signature
from headway.engines.models.opening import WorkerModel
from headway.engines.runtimes.python import Plan
from headway.errors import Invalid, NotTrusted
from headway.kernel.records import encode
from headway.lifecycle.models.records import Datatype, Form, ModelVersion, Signature, TensorSpec
from headway.serving.offline.replay import replay_all, replay_one
from tests.serving.delivered import OWNER, Delivered, delivered
from tests.serving.processes import Server
from tests.serving.test_classes import CONTRACT, trips

SIGNATURE = Signature(
    inputs=tuple(TensorSpec(name=name, datatype=Datatype.FP64, shape=(-1, 1)) for name in ("far", "fare")),
    outputs=(TensorSpec(name="cost", datatype=Datatype.FP64, shape=(-1,)),
             TensorSpec(name="kind", datatype=Datatype.BYTES, shape=(-1,))),
    score="cost",
)  # fmt: skip
SOURCE = """
import numpy as np
from beside import FACTOR

def predict(inputs):
    far = inputs["far"][:, 0]
    return {"cost": FACTOR * far + inputs["fare"][:, 0], "kind": np.where(far > 0, "long", "short")}
"""
UNSTEADY = """
import random

def predict(inputs):
    return {"cost": inputs["far"][:, 0] + random.random(), "kind": ["any"] * len(inputs["far"])}
"""
CROWDED = """
def predict(inputs):
    rows = len(inputs["far"])
    return {"cost": inputs["far"][:, 0] + rows / 7, "kind": ["any"] * rows}
"""


def folder_of(path: Path, source: str, signature: Signature | None = None) -> Path:
    path.mkdir()
    (path / "model.py").write_text(source)
    (path / "beside.py").write_text("FACTOR = 2.5\n")
    if signature:
        (path / "signature.json").write_bytes(encode(signature))
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    with delivered(tmp_path_factory.mktemp("forms")) as opened:
        for name, seed in (("trips", 1), ("later", 2)):
            opened.client.datasets.add(name, trips(seed), contract=CONTRACT)
        yield opened


def logged(world: Delivered, path: Path, name: str, **told: Any) -> ModelVersion:
    with world.run() as run:
        return run.log_model(name, path, training=["trips"], evaluation="later", task="regression", **told)


@pytest.fixture(scope="module")
def version(world: Delivered, tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    path = folder_of(tmp_path_factory.mktemp("function") / "model", SOURCE)
    return logged(world, path, "costs", signature=SIGNATURE)


@pytest.fixture(scope="module")
def server(world: Delivered, version: ModelVersion) -> Server:
    world.declare("costs", "costs")
    with pytest.raises(NotTrusted, match="may hold any code"):
        world.ship(version, "costs")
    world.platform.models.trust(version.id, "it was read", by=OWNER)
    world.ship(version, "costs")
    return world.serve("costs")


def test_the_version_is_what_was_handed_over(version: ModelVersion) -> None:
    assert (version.form, version.as_logged, version.parity) == (Form.PYTHON, True, None)
    assert [file.name for file in version.files] == ["beside.py", "model.py"]


def test_a_function_answers_from_its_worker(server: Server) -> None:
    status, answer = server.call("POST", "/v1/predict/costs", {"features": {"far": 2, "fare": 1}})
    assert (status, answer["score"], answer["label"]) == (200, 6.0, "long")
    status, answer = server.call("GET", "/v2/models/costs")
    assert answer["platform"] == "python_function"


def test_it_is_replayed_bit_for_bit(world: Delivered, server: Server) -> None:
    for place, far in enumerate([0.1, 1 / 3, -2e-9]):
        body = {"features": {"far": far, "fare": far * 7}, "id": f"c-{place}"}
        assert server.call("POST", "/v1/predict/costs", body)[0] == 200
    world.bring_back(server, "costs")
    one = replay_one(world.client, "c-1")
    assert (one.identical, one.steady, one.outputs["kind"]) == (True, True, ["long"])
    every = replay_all(world.client, "costs")
    assert (every.rows, every.identical, every.unsteady) == (every.rows, every.rows, 0)


def test_a_model_that_is_not_deterministic_is_told(world: Delivered, tmp_path: Path) -> None:
    version = logged(world, folder_of(tmp_path / "model", UNSTEADY, SIGNATURE), "dice")
    world.declare("dice", "dice")
    world.platform.models.trust(version.id, "it was read", by=OWNER)
    world.ship(version, "dice")
    server = world.serve("dice")
    assert server.call("POST", "/v1/predict/dice", {"features": {"far": 1, "fare": 1}, "id": "d-0"})[0] == 200
    world.bring_back(server, "dice")
    one = replay_one(world.client, "d-0")
    assert (one.identical, one.steady) == (False, False)
    every = replay_all(world.client, "dice")
    assert (every.rows, every.identical, every.unsteady) == (1, 0, 1)


def test_a_row_is_replayed_among_those_that_it_was_asked_with(world: Delivered, tmp_path: Path) -> None:
    """Sums that are taken over many rows at once may differ in their last bits; this model differs in the first. The
    same id twice is two requests."""
    version = logged(world, folder_of(tmp_path / "model", CROWDED, SIGNATURE), "crowd")
    world.declare("crowd", "crowd")
    world.platform.models.trust(version.id, "it was read", by=OWNER)
    world.ship(version, "crowd")
    server = world.serve("crowd")
    for rows in (2, 3):
        columns = [
            {"name": name, "datatype": "FP64", "shape": [rows, 1], "data": [1.0] * rows} for name in ("far", "fare")
        ]
        assert server.call("POST", "/v2/models/crowd/infer", {"id": "w", "inputs": columns})[0] == 200
    world.bring_back(server, "crowd")
    for place in range(3):
        one = replay_one(world.client, f"w-{place}")
        assert (one.identical, one.steady, len(one.outputs["cost"])) == (True, True, 1)
    every = replay_all(world.client, "crowd")
    assert (every.rows, every.identical, every.unsteady) == (5, 5, 0)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("x = 1", "no function `predict`"),
        ("import nowhere", "No module named 'nowhere'"),
        ("def predict(", "SyntaxError"),
    ],
)
def test_what_is_no_function(world: Delivered, tmp_path: Path, source: str, what: str) -> None:
    path = folder_of(tmp_path / "model", source)
    with pytest.raises(Invalid, match=what):
        WorkerModel(Plan(Form.PYTHON, path, signature=SIGNATURE))


def test_a_function_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="nothing says what the function"):
        model_at(folder_of(tmp_path / "bare", SOURCE))
    assert model_at(folder_of(tmp_path / "told", SOURCE, SIGNATURE)).signature == SIGNATURE
    (tmp_path / "told" / "signature.json").write_text('{"inputs": 1}')
    with pytest.raises(Invalid, match="is no signature"):
        model_at(tmp_path / "told")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match=r"no model\.py"):
        model_at(tmp_path / "empty")


def test_serve_asks_for_trust(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "model", SOURCE, SIGNATURE)
    done = CliRunner().invoke(main, ["serve", "--model", str(path)])
    assert done.exit_code == 1
    assert "--trust" in done.output
    done = CliRunner().invoke(main, ["serve", "--model", str(program(tmp_path / "net.pt2"))])
    assert done.exit_code == 1
    assert "may hold any code" in done.output


def test_files_are_known_by_their_names() -> None:
    assert form_of_file(Path("a.PT2")) is Form.TORCH
    with pytest.raises(Invalid, match="is no model by its name"):
        form_of_file(Path("a.pkl"))


def program(path: Path, rows: Any = None, **changes: Any) -> Path:
    """What `torch.export.save` writes, as far as its description goes; with weights that must not be unpickled."""
    free = {"as_expr": {"expr_str": "Symbol('s77')", "hint": {"as_int": 3}}}
    values = {
        "x": {"dtype": 7, "sizes": [free if rows is None else rows, {"as_int": 2}]},
        "y": {"dtype": 7, "sizes": [free, {"as_int": 1}]},
    }
    told = {
        "input_specs": [{"parameter": {"arg": {"name": "w"}}}, {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}],
        "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "y"}}}}],
    }
    graph = {"graph_module": {"graph": {"tensor_values": values | changes}, "signature": told}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/models/model.json", json.dumps(graph))
        archive.writestr("net/data/weights/weight_0", b"cposix\nsystem\n(S'touch /tmp/loaded'\ntR.")
    return path


def test_the_signature_of_a_program_is_read_and_nothing_loaded(tmp_path: Path) -> None:
    found = native_signature(Form.TORCH, program(tmp_path / "net.pt2"), ("far", "fare"))
    assert [(spec.name, spec.datatype) for spec in found.inputs] == [("far", Datatype.FP32), ("fare", Datatype.FP32)]
    assert [(spec.name, spec.shape) for spec in found.outputs] == [("score", (-1, 1))]
    assert native_signature(Form.TORCH, program(tmp_path / "net.pt2")).inputs[0].shape == (-1, 2)


@pytest.mark.parametrize(
    ("rows", "columns", "what"),
    [({"as_int": 3}, (), "fixed number of rows"), (None, ("far",), "takes 2 columns, not 1")],
)
def test_a_program_that_cannot_be_served(tmp_path: Path, rows: Any, columns: tuple[str, ...], what: str) -> None:
    with pytest.raises(Invalid, match=what):
        native_signature(Form.TORCH, program(tmp_path / "net.pt2", rows), columns)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04" + b"x" * 100])
def test_what_is_no_program(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "net.pt2").write_bytes(data)
    with pytest.raises(Invalid, match="no program that torch"):
        native_signature(Form.TORCH, tmp_path / "net.pt2")


def test_a_tensor_that_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        native_signature(Form.TORCH, program(tmp_path / "net.pt2", y={"dtype": 99, "sizes": []}))


def test_a_booster_that_is_none_ends_nobody(tmp_path: Path) -> None:
    """Without its library, or with bytes that its parser refuses, a worker says so."""
    (tmp_path / "model.txt").write_text("tree\nversion=v4\n")
    with pytest.raises(Invalid, match="the model does not load"):
        model_at(tmp_path / "model.txt")
