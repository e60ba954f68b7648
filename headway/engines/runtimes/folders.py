"""A model's files on disk for an isolated worker, each as its digest says, with nothing else beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headway.errors import LedgerBroken
from headway.kernel.records import digest
from headway.lifecycle.models.folders import read_folder
from headway.lifecycle.models.records import Form

_ENDS = {
    Form.ONNX: ".onnx", Form.SKOPS: ".skops", Form.LIGHTGBM: ".txt", Form.XGBOOST: ".ubj", Form.TORCH: ".pt2",
}  # fmt: skip
"""What files are called, since some libraries look at it."""


def laid_out(form: Form, blob: str, get: Callable[[str], bytes], folder: Path) -> Path:
    """Write the model that `blob` is below `folder`; the path of the file, or of the folder that it is.

    Raises what `get` raises, `LedgerBroken` for bytes that are not those of their digest, `Invalid` for a blob that
    does not list a model's files.
    """
    if not form.is_folder:
        return _written(folder / f"model{_ENDS[form]}", _proven(blob, get))
    for file in read_folder(_proven(blob, get)).files:
        _written(folder / "model" / file.name, _proven(file.blob, get))
    return folder / "model"


def _proven(blob: str, get: Callable[[str], bytes]) -> bytes:
    data = get(blob)
    if digest(data) != blob:
        raise LedgerBroken(f"what is kept as {blob} has another digest")
    return data


def _written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
