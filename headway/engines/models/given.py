"""Models as files, as their authors hand them over: served as they are, whatever wrote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from headway.engines.models.adoption import adopt_folder, skops_signature
from headway.engines.models.native import folder_of_file, form_of_file, native_signature
from headway.engines.models.scoring import signature_of
from headway.errors import Invalid
from headway.kernel.records import UNREADABLE, digest
from headway.lifecycle.models.records import ClassName, Feeding, Form, PythonRuntime, Signature

SIGNATURE = "signature.json"


class Given(NamedTuple):
    """`data` is what the version's blob is; `files` are the blobs that it lists, if it is a folder."""

    form: Form
    data: bytes
    signature: Signature
    feeding: Feeding = Feeding.FRAME
    files: tuple[bytes, ...] = ()


def model_at(
    path: Path, *, columns: Callable[[], Sequence[str]] = tuple, classes: Sequence[ClassName] = (),
    signature: Signature | None = None, score: str | None = None, runtime: PythonRuntime | None = None,
) -> Given:  # fmt: skip
    """The model in a file, by the end of its name, or in a folder: one that MLflow has saved, or one with `model.py`.

    `columns` gives the features of a file that does not name them. What a function of Python takes and gives is said by
    `signature`, or by `signature.json` beside it. Raises `Invalid` for what is none of these.
    """
    if not path.exists():
        raise Invalid(f"there is no file or folder {str(path)!r}")
    if path.is_dir() and (path / "MLmodel").exists():
        return _mlflow(path, score)
    form = Form.PYTHON if path.is_dir() else form_of_file(path)
    if form is Form.PYTHON:
        listed, blobs = folder_of_file(path)
        return Given(form, listed, signature or _told(path), Feeding.ARRAYS, tuple(blobs.values()))
    data = path.read_bytes()
    if form is Form.ONNX:
        return Given(form, data, signature_of(data, score))
    if form is Form.SKOPS:
        return Given(form, data, skops_signature(path.absolute(), score=score))
    found = native_signature(form, path.absolute(), (), classes, runtime)
    if _unnamed(found) and (names := tuple(columns())):
        found = native_signature(form, path.absolute(), names, classes, runtime)
    return Given(form, data, found.but(score=score or found.score))


def _mlflow(path: Path, score: str | None) -> Given:
    blobs: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        blobs[digest(data)] = data
        return digest(data)

    made = adopt_folder(path, put, score)
    files = tuple(blobs.values()) if made.form.is_folder else ()
    return Given(made.form, made.data, made.signature, made.feeding, files)


def _unnamed(signature: Signature) -> bool:
    return [spec.name for spec in signature.inputs] == ["input"]


def _told(path: Path) -> Signature:
    file = path / SIGNATURE
    if not path.is_dir() or not file.exists():
        raise Invalid(
            f"nothing says what the function in {path} takes and gives: hand over signature=, or put {SIGNATURE} beside"
            ' model.py, as {"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 1]}], "outputs": [{"name": "y", '
            '"datatype": "FP64", "shape": [-1]}], "score": "y"}'
        )
    try:
        return msgspec.json.decode(file.read_bytes(), type=Signature)
    except UNREADABLE as error:
        raise Invalid(f"{file} is no signature: {error}") from None
