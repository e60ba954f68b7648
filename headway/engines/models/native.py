"""Models in the files of their own libraries: what they take and give, and from a trained one to such a file."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from headway.engines.models.classes import several_classes
from headway.engines.models.libraries import library_of
from headway.engines.runtimes.python import Plan, PythonWorker
from headway.errors import Invalid
from headway.kernel.records import digest, encode
from headway.lifecycle.models.records import (
    ClassName,
    Datatype,
    Form,
    ModelFile,
    ModelFolder,
    PythonRuntime,
    Signature,
    TensorSpec,
)

FORMS = {
    ".onnx": Form.ONNX, ".skops": Form.SKOPS, ".txt": Form.LIGHTGBM, ".lgb": Form.LIGHTGBM, ".ubj": Form.XGBOOST,
    ".json": Form.XGBOOST, ".pt2": Form.TORCH, ".py": Form.PYTHON,
}  # fmt: skip
"""By the end of a file's name."""
_MOST_GRAPH_BYTES = 64 * 2**20
# Source: torch/_export/serde/schema.py, ScalarType.
_TORCH_TYPES = {4: Datatype.INT32, 5: Datatype.INT64, 7: Datatype.FP32, 8: Datatype.FP64}


def form_of_file(path: Path) -> Form:
    """The form of a file by its name; raises `Invalid` for one that is none."""
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise Invalid(f"{path.name!r} is no model by its name; what can be served ends in {', '.join(FORMS)}")
    return form


def folder_of_file(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """A function of Python in a file, or in a folder with `model.py` in it: the list of its files, and they by digest.

    Raises `Invalid` for a folder without one.
    """
    names = {"model.py": path} if path.is_file() else {
        file.relative_to(path).as_posix(): file
        for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }  # fmt: skip
    if "model.py" not in names:
        raise Invalid(f"{path} has no model.py with a function `predict`")
    blobs, files = dict[str, bytes](), []
    for name, file in sorted(names.items()):
        data = file.read_bytes()
        blob = digest(data)
        blobs[blob] = data
        files.append(ModelFile(name=name, blob=blob, size=len(data)))
    return encode(ModelFolder(files=tuple(files))), blobs


def native_signature(
    form: Form, path: Path, columns: Sequence[str] = (), classes: Sequence[ClassName] = (),
    runtime: PythonRuntime | None = None,
) -> Signature:  # fmt: skip
    """What the model in a file of LightGBM, XGBoost or torch takes and gives.

    Boosters are asked in a worker; of a program of torch, which may hold code, only the description inside is read.
    `columns` name the features where the file does not, `classes` those of a model that only counts them. Raises
    `Invalid` for what is no such file, and where the names do not fit.
    """
    if form is Form.TORCH:
        return torch_signature(path.read_bytes(), columns, classes)
    worker = PythonWorker(Plan(form, path, runtime or PythonRuntime()))
    worker.end()
    about = worker.about
    names, width = list(about["features"]) or list(columns), int(about["width"])
    if names and len(names) != width:
        raise Invalid(f"the model takes {width} columns, not {len(names)}: {', '.join(names[:10])}")
    inputs = tuple(TensorSpec(name=name, datatype=Datatype.FP64, shape=(-1, 1)) for name in names) or (
        TensorSpec(name="input", datatype=Datatype.FP64, shape=(-1, width)),
    )
    count = int(about["classes"])
    if not count:
        outputs: tuple[TensorSpec, ...] = (TensorSpec(name="variable", datatype=Datatype.FP64, shape=(-1, 1)),)
        return Signature(inputs=inputs, outputs=outputs, score="variable")
    known = tuple(classes) or tuple(range(count))
    if len(known) != count:
        raise Invalid(f"the model tells {count} classes apart, not {len(known)}")
    label = Datatype.BYTES if isinstance(known[0], str) else Datatype.INT64
    outputs = (
        TensorSpec(name="label", datatype=label, shape=(-1,)),
        TensorSpec(name="probabilities", datatype=Datatype.FP64, shape=(-1, count)),
    )
    return Signature(inputs=inputs, outputs=outputs, score="probabilities", classes=known if count > 2 else ())


def torch_signature(data: bytes, columns: Sequence[str], classes: Sequence[ClassName] = ()) -> Signature:
    """As `native_signature`, read off the description inside; nothing is loaded."""
    graph = _torch_graph(data)
    try:
        values, told = graph["graph"]["tensor_values"], graph["signature"]
        inputs = [_named(each["user_input"]["arg"], values) for each in told["input_specs"] if "user_input" in each]
        outputs = [_named(each["user_output"]["arg"], values) for each in told["output_specs"] if "user_output" in each]
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(f"the program's inputs and outputs cannot be read: {error!r}"[:300]) from None
    if len(inputs) != 1 or len(inputs[0][1]) != 2:
        raise Invalid(f"the program takes {len(inputs)} tensors; what can be served takes one, [rows, features]")
    datatype, shape = inputs[0]
    if shape[0] != -1:
        raise Invalid("the program takes a fixed number of rows; export it with dynamic_shapes=({0: Dim('rows')},)")
    if columns and len(columns) != shape[1]:
        raise Invalid(f"the program takes {shape[1]} columns, not {len(columns)}: {', '.join(columns[:10])}")
    specs = tuple(TensorSpec(name=name, datatype=datatype, shape=(-1, 1)) for name in columns) or (
        TensorSpec(name="input", datatype=datatype, shape=(-1, shape[1])),
    )
    names = ["score", *(f"output_{at}" for at in range(1, len(outputs)))]
    given = tuple(
        TensorSpec(name=name, datatype=kind, shape=(-1, *size[1:]))
        for name, (kind, size) in zip(names, outputs, strict=True)
    )
    if classes and given[0].shape[1:] != (len(classes),):
        raise Invalid(f"the program gives {list(given[0].shape)}, which is not one probability for each class")
    return Signature(inputs=specs, outputs=given, score="score", classes=tuple(classes))


def _torch_graph(data: bytes) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            [entry] = [each for each in archive.infolist() if _is_graph(each.filename)]
            if entry.file_size > _MOST_GRAPH_BYTES:
                raise Invalid(f"the program's description has more than {_MOST_GRAPH_BYTES} bytes")
            return msgspec.json.decode(archive.read(entry))["graph_module"]
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, RuntimeError, NotImplementedError) as error:
        raise Invalid(f"this is no program that torch.export has saved: {str(error)[:200]}") from None


def _is_graph(name: str) -> bool:
    parts = name.split("/")
    return parts[-2:-1] == ["models"] and name.endswith(".json")


def _named(argument: Any, values: Any) -> tuple[Datatype, tuple[int, ...]]:
    value = values[argument["as_tensor"]["name"]]
    if value["dtype"] not in _TORCH_TYPES:
        raise ValueError(f"a tensor of type {value['dtype']}, which cannot be served")
    return _TORCH_TYPES[value["dtype"]], tuple(int(size.get("as_int", -1)) for size in value["sizes"])


def native_file(model: Any, columns: Sequence[str]) -> tuple[Form, bytes, Signature] | None:
    """A trained booster or network as a file of its own library; None for what is neither.

    Raises `Invalid` where that cannot say what the model does.
    """
    library = library_of(model)
    if library not in ("lightgbm", "xgboost"):
        return None
    classes = several_classes(model)
    told = getattr(model, "classes_", None)
    if told is not None and not classes and [int(each) for each in told] != [0, 1]:
        raise Invalid(f"a {library} file names no classes: train it on 0 and 1")
    with tempfile.TemporaryDirectory(prefix="headway-native-") as folder:
        form = Form.LIGHTGBM if library == "lightgbm" else Form.XGBOOST
        file = Path(folder) / f"model{'.txt' if form is Form.LIGHTGBM else '.ubj'}"
        booster = model.booster_ if form is Form.LIGHTGBM else _best(model)
        booster.save_model(str(file))
        return form, file.read_bytes(), native_signature(form, file, columns, classes)


def _best(model: Any) -> Any:
    """The booster up to the round where it was best, as the estimator predicts with it."""
    booster = model.get_booster()
    best = getattr(model, "best_iteration", None) if getattr(model, "early_stopping_rounds", None) else None
    return booster if best is None else booster[: best + 1]
