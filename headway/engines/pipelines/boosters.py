"""Trained boosters as bytes and back, each in its own library's format, which holds trees and no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headway.engines.pipelines.libraries import needed

_BY_CHANCE = ("model_guid", "train_finish_time")
"""What CatBoost notes in a model that tells two equal trainings apart."""


def lightgbm_dumps(booster: Any) -> bytes:
    """As text; where training was stopped early, up to the best round, as it predicts."""
    text: str = booster.model_to_string()
    return text.encode()


def lightgbm_loads(data: bytes) -> Any:
    return _library("lightgbm").Booster(model_str=data.decode())


def xgboost_dumps(booster: Any) -> bytes:
    """As UBJSON, names of features and attributes included."""
    return bytes(booster.save_raw("ubj"))


def xgboost_loads(data: bytes) -> Any:
    booster = _library("xgboost").Booster()
    booster.load_model(bytearray(data))
    return booster


def catboost_dumps(model: Any) -> bytes:
    """As CatBoost's binary, without when and under which id it was trained: equal models give the same bytes."""
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    settled = model.copy()
    notes = settled.get_metadata()
    for name in _BY_CHANCE:
        if name in notes.keys():  # noqa: SIM118 (it is no mapping)
            del notes[name]
    with TemporaryDirectory(prefix="headway-booster-") as folder:
        file = Path(folder) / "model.cbm"
        settled.save_model(str(file), format="cbm")
        return file.read_bytes()


def catboost_loads(data: bytes, cls: str) -> Any:
    """A model of CatBoost's class of this name."""
    model = getattr(_library("catboost"), cls)()
    model.load_model(blob=data)
    return model


def _library(name: str) -> Any:
    return needed(name, f"reading a booster of {name} takes {name}", name)
