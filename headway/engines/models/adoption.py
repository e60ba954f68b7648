"""From what somebody has logged to a form that is served: as it is, or converted where a converted one is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import onnx
import polars as pl

from headway.engines.models.flavours import Flavours, read_mlmodel
from headway.engines.models.scoring import signature_of
from headway.engines.runtimes.python import MIB, Plan, PythonWorker
from headway.errors import Invalid, Unavailable
from headway.kernel.records import digest, encode
from headway.lifecycle.models.records import (
    ClassName,
    Datatype,
    Feeding,
    Form,
    ModelFile,
    ModelFolder,
    Parity,
    Signature,
    TensorSpec,
)

_CONVERTING_S = 120.0
_MEMORY_BYTES = 4096 * MIB
_PARITY_ROWS = 5000


class Adopted(NamedTuple):
    """`data` is what the version's blob is; `note` says for people why it has this form."""

    form: Form
    data: bytes
    signature: Signature
    feeding: Feeding = Feeding.FRAME
    parity: Parity | None = None
    note: str = ""


def adopt(
    files: Sequence[ModelFile],
    get: Callable[[str], bytes],
    rows: Callable[[Sequence[str]], pl.DataFrame] | None,
    score: str | None = None,
    columns: tuple[str, ...] = (),
) -> Adopted:
    """The form in which the MLflow model of `files` is served; `get` gives a blob's bytes, `rows` real rows of columns.

    ONNX stays what it is. scikit-learn from skops becomes ONNX if that answers alike on real rows, and else stays what
    it is; everything else stays a folder, of which nothing is loaded here. `columns` name those of an array. Raises
    `Invalid` for what is no MLflow model, or has a signature that cannot be served.
    """
    named = {file.name: file.blob for file in files}
    if "MLmodel" not in named:
        raise Invalid("there is no MLmodel among the files: what was registered is no model that MLflow has logged")
    flavours = read_mlmodel(get(named["MLmodel"]))
    if flavours.onnx_file in named:
        data = _whole_onnx(flavours.onnx_file, named, get)
        return Adopted(Form.ONNX, data, signature_of(data, score).naming(columns))
    why = ""
    if flavours.skops_file in named:
        try:
            return _sklearn(get(named[flavours.skops_file]), flavours, rows, score, columns)
        except Invalid as error:
            why = f"not served by skops: {error}"
    if "python_function" not in flavours.of:
        raise Invalid(f"its flavours {sorted(flavours.of)} have no python_function, which MLflow would predict with")
    folder = encode(ModelFolder(files=tuple(files)))
    return Adopted(Form.MLFLOW, folder, flavours.signature(score).naming(columns), flavours.feeding, note=why)


def adopt_folder(path: Path, put: Callable[[bytes], str], score: str | None = None) -> Adopted:
    """The form in which a folder on disk is served, each of its files kept with `put`. There are no rows to compare a
    converted form on, so nothing is converted."""
    blobs: dict[str, bytes] = {}
    files = []
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        data = file.read_bytes()
        blobs[put(data)] = data
        files.append(ModelFile(name=file.relative_to(path).as_posix(), blob=digest(data), size=len(data)))
    files.sort(key=lambda file: file.name)
    return adopt(files, blobs.__getitem__, None, score)


def skops_signature(path: Path, flavours: Flavours | None = None, score: str | None = None) -> Signature:
    """What the model of a skops file takes and gives, asked in a worker; raises `Invalid` for types on no list."""
    worker = PythonWorker(Plan(Form.SKOPS, path))
    worker.end()
    about = worker.about
    inputs = flavours.inputs if flavours else ()
    if not inputs:
        names, width = about["features"], about["width"]
        inputs = tuple(TensorSpec(name=name, datatype=Datatype.FP64, shape=(-1, 1)) for name in names) or (
            TensorSpec(name="input", datatype=Datatype.FP64, shape=(-1, width)),
        )
    classes: tuple[ClassName, ...] = tuple(about["names"]) if about["classes"] > 2 else ()
    if about["classes"]:
        outputs: tuple[TensorSpec, ...] = (
            TensorSpec(name="label", datatype=Datatype(about["label"]), shape=(-1,)),
            TensorSpec(name="probabilities", datatype=Datatype.FP64, shape=(-1, about["classes"])),
        )
    else:
        outputs = (TensorSpec(name="variable", datatype=Datatype.FP64, shape=(-1, 1)),)
    chosen = score or outputs[-1].name
    return Signature(inputs=inputs, outputs=outputs, score=chosen, classes=classes)


def _sklearn(
    data: bytes,
    flavours: Flavours,
    rows: Callable[[Sequence[str]], pl.DataFrame] | None,
    score: str | None,
    columns: tuple[str, ...],
) -> Adopted:
    with tempfile.TemporaryDirectory(prefix="headway-adopt-") as temporary:
        folder = Path(temporary)
        (folder / "model.skops").write_bytes(data)
        signature = skops_signature(folder / "model.skops", flavours, score).naming(columns)
        if rows is None:
            return Adopted(Form.SKOPS, data, signature, flavours.feeding)
        frame = rows([name for spec in signature.inputs for name in spec.columns]).head(_PARITY_ROWS)
        frame.write_parquet(folder / "rows.parquet")
        why = _converted(folder)
        if not why:
            parity = msgspec.json.decode((folder / "parity.json").read_bytes(), type=Parity)
            onnx_bytes = (folder / "model.onnx").read_bytes()
            if parity.proven:
                note = f"converted to ONNX, which answers alike on {parity.rows} rows"
                return Adopted(Form.ONNX, onnx_bytes, signature_of(onnx_bytes, score), parity=parity, note=note)
            why = f"as ONNX it would differ by {parity.max_difference:.3g} in row {parity.worst_row} of {parity.rows}"
    return Adopted(Form.SKOPS, data, signature, flavours.feeding, note=f"served by skops: {why}"[:500])


def _converted(folder: Path) -> str:
    """Why there is no ONNX file in `folder` now, or nothing."""
    entries = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": entries,
                   "POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "-P", "-m", "headway.engines.models.converting", str(folder), str(_MEMORY_BYTES)]
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=_CONVERTING_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"converting it takes more than {_CONVERTING_S:g} s"
    except OSError as error:
        raise Unavailable(f"no process can be started to convert the model: {error}") from error
    failed = folder / "failed"
    if failed.exists():
        return failed.read_text(errors="replace")
    if not (folder / "model.onnx").exists():
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return f"the process that converts it ended with {done.returncode} ({last[:300]})"
    return ""


def _whole_onnx(file: str, named: dict[str, str], get: Callable[[str], bytes]) -> bytes:
    """The ONNX file; with the weights inside, where MLflow has put them beside it."""
    data = get(named[file])
    beside = {name: blob for name, blob in named.items() if name.startswith(f"{file}.")}
    if not beside:
        return data
    with tempfile.TemporaryDirectory(prefix="headway-adopt-") as temporary:
        for name, blob in {file: named[file], **beside}.items():
            path = Path(temporary, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(get(blob))
        try:
            model = onnx.load(Path(temporary, file))
        except Exception as error:  # protobuf and onnx raise all sorts
            raise Invalid(f"the ONNX file cannot be read with what is beside it: {str(error)[:300]}") from error
    return bytes(model.SerializeToString())
