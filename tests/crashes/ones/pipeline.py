"""A pipeline that takes no time, unless a file of the project holds it: `hold-run` a step, `hold-gate` a check."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import headway as hw
from headway.lifecycle.models.records import AddVersion, Datatype, Signature, Task, TensorSpec

HERE = Path(__file__).parent
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1)),),
    outputs=(TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 1)),),
    score="probabilities",
)


@hw.step(cache=False)
def begin(kind: str) -> str:
    if kind == "raises":
        raise ValueError("no model comes of this")
    return kind


@hw.step(cache=False)
def wait(kind: str) -> str:
    """With `hold-run` it waits, and has a child of its own meanwhile, as a step that trains in parallel has."""
    if (HERE / "hold-run").exists():
        child = subprocess.Popen(["sleep", "600"])
        wait_while(HERE / "hold-run", str(child.pid))
        child.kill()
        child.wait()
    return kind


@hw.step(cache=False)
def register(kind: str, name: str) -> str:
    run = hw.active_run()
    assert run is not None
    if kind == "nothing":
        return ""
    command = AddVersion(
        model="ones", blob=run.client.blobs.put(named(name)), signature=SIGNATURE,
        task=Task.BINARY, run=run.id, training=("learnt",), evaluation="held-out",
    )  # fmt: skip
    return run.client.models.add(command).id


@hw.pipeline
def train(kind: str = "good", name: str = "next") -> str:
    return register(wait(begin(kind)), name)


def named(name: str) -> bytes:
    """The model with a `doc_string` of its own (field 6 of the protobuf), so that it is another model than the last."""
    return (HERE / "model.onnx").read_bytes() + b"\x32" + bytes([len(name)]) + name.encode()


@hw.check
def may_go_on(subject: hw.Subject) -> bool:
    wait_while(HERE / "hold-gate")
    return len(subject.scores) > 0


def wait_while(file: Path, said: str = "") -> None:
    while file.exists():
        file.with_suffix(".reached").write_text(said)
        time.sleep(0.02)
