"""Boosters of LightGBM and XGBoost in their own files, and what they say of some rows: `boosters.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import xgboost

NAMES = ["a", "b", "c"]
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "binary": ("binary", "binary:logistic", {}),
    "several": ("multiclass", "multi:softprob", {"num_class": 3}),
    "number": ("regression", "reg:squarederror", {}),
}


def main(folder: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    rows[::9, 1] = np.nan
    truths = {"binary": rows[:, 0] > 0, "several": (rows[:, 0] > 0) * 1 + (rows[:, 2] > 0), "number": rows[:, 0] * 2}
    np.save(folder / "rows.npy", rows)
    for kind, (light, xg, more) in KINDS.items():
        truth = truths[kind].astype(float)
        trained = lightgbm.train(
            {"objective": light, "verbose": -1, **more}, lightgbm.Dataset(rows, truth, feature_name=NAMES), 9
        )
        trained.save_model(folder / f"{kind}.txt")
        np.save(folder / f"{kind}.txt.npy", trained.predict(rows))
        matrix = xgboost.DMatrix(rows, truth, feature_names=NAMES)
        grown = xgboost.train({"objective": xg, **more}, matrix, 9)
        for end in ("ubj", "json"):
            grown.save_model(folder / f"{kind}.{end}")
            np.save(folder / f"{kind}.{end}.npy", grown.predict(matrix))
    print(json.dumps("made"))


main(Path(sys.argv[1]))
