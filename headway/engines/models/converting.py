"""A process that converts a scikit-learn model from a skops file to ONNX: `... converting FOLDER MEMORY_BYTES`.

It reads `model.skops` and `rows.parquet` of the folder and writes `model.onnx`, and into `parity.json` how far that is
from the trained model on those rows; or into `failed` why there is none. Loading a file that somebody else wrote may
end the process, which is a confined one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl
from skops.io import get_untrusted_types, load

from headway.engines.models.export import parity, to_onnx
from headway.engines.runtimes.isolated import confine
from headway.engines.runtimes.skops import ALLOWED_TYPES
from headway.errors import Invalid
from headway.kernel.records import encode


def convert(folder: Path) -> None:
    """Raises `Invalid` for what cannot be converted, and for types that are on no list."""
    file, rows = folder / "model.skops", pl.read_parquet(folder / "rows.parquet")
    allowed = sorted(ALLOWED_TYPES)
    if strange := set(get_untrusted_types(file=file)) - ALLOWED_TYPES:
        raise Invalid(f"it holds types that are on no list: {', '.join(sorted(strange))[:500]}")
    estimator = load(file, trusted=allowed)
    onnx = to_onnx(estimator, rows)
    (folder / "parity.json").write_bytes(encode(parity(estimator, onnx, rows)))
    (folder / "model.onnx").write_bytes(onnx)


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0])
    readable = [entry for entry in (sys.prefix, sys.base_prefix, *sys.path) if entry]
    confine(int(arguments[1]), False, readable, str(folder))
    try:
        convert(folder)
    except Exception as error:  # the parent serves it in another form, and says why
        (folder / "failed").write_text(str(error)[:1000])
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
