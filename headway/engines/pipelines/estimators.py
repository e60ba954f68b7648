"""Fitted scikit-learn estimators as bytes and back by skops, which runs no code of the file it reads."""

from __future__ import annotations

import io
import json
from importlib import import_module
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from headway.engines.pipelines import arrays
from headway.engines.pipelines.libraries import needed
from headway.errors import BadPipeline

_SCHEMA = "schema.json"
_UNTRUSTED_PARTS = {"tests", "testing", "conftest", "externals", "f2py", "distutils"}


def dumps(estimator: Any) -> bytes:
    """The estimator in skops' format, the same bytes for the same estimator.

    Raises `BadPipeline` when it holds types that would not be trusted when it is read.
    """
    data = _skops().dumps(estimator)
    _check_trusted(data)
    return _settled(data)


def loads(data: bytes) -> Any:
    """The estimator; raises `BadPipeline` for types from elsewhere than scikit-learn, numpy and scipy."""
    return _skops().loads(data, trusted=_check_trusted(data))


def _skops() -> Any:
    return needed("skops.io", "storing scikit-learn estimators takes skops", "ml")


def _check_trusted(data: bytes) -> list[str]:
    names: list[str] = _skops().get_untrusted_types(data=data)
    foreign = [name for name in names if not _is_trusted(name)]
    if foreign:
        raise BadPipeline(
            f"the estimator holds {', '.join(foreign)}; only parts of scikit-learn, and types of numpy and scipy, are "
            f"trusted when it is read: {_instead(foreign)}"
        )
    return names


_BOOSTERS = {"lightgbm": "model.booster_", "xgboost": "model.get_booster()"}


def _instead(foreign: list[str]) -> str:
    boosters = [_BOOSTERS[package] for package in {name.split(".")[0] for name in foreign} if package in _BOOSTERS]
    return f"return {boosters[0]}" if boosters else "export it as ONNX bytes, or use parts of scikit-learn"


def _is_trusted(name: str) -> bool:
    """Types of the three packages, and scikit-learn's functions; numpy and scipy have functions that run code."""
    parts = name.split(".")
    if parts[0] not in ("sklearn", "numpy", "scipy") or _UNTRUSTED_PARTS & set(parts):
        return False
    if parts[0] == "sklearn":
        return True
    try:
        return isinstance(getattr(import_module(".".join(parts[:-1])), parts[-1], None), type)
    except ImportError:
        return False


def _settled(data: bytes) -> bytes:
    """Without the memory addresses by which skops names objects and files, the time of writing, and what lies between
    the fields of an array of trees' nodes."""
    places: dict[int, int] = {}
    files: dict[str, str] = {}

    def settle(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                settle(item)
        elif isinstance(node, dict):
            if node.get("__loader__") == "JsonNode":  # whether two equal numbers are one object differs by run
                node.pop("__id__", None)
            elif isinstance(node.get("__id__"), int):
                node["__id__"] = places.setdefault(node["__id__"], len(places) + 1)
            if "__loader__" in node and isinstance(node.get("file"), str):
                node["file"] = files.setdefault(node["file"], f"{len(files)}.bin")
            for item in node.values():
                settle(item)

    out = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as given, ZipFile(out, "w", ZIP_DEFLATED) as settled:
        schema = json.loads(given.read(_SCHEMA))
        settle(schema)
        for old, new in files.items():
            content = given.read(old)
            if old.endswith(".npy"):
                content = arrays.dumps(arrays.loads(content))
            settled.writestr(ZipInfo(new), content, ZIP_DEFLATED)
        settled.writestr(ZipInfo(_SCHEMA), json.dumps(schema), ZIP_DEFLATED)
    return out.getvalue()
