"""Frames of pandas and pyarrow there and back, and mapped. Run in the environment that has both."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from headway.client.blob_files import BlobFiles
from headway.engines.pipelines.outputs import Stored, pack
from headway.errors import BadPipeline
from headway.kernel.blobs import blob_place
from headway.kernel.records import digest

ROOT = Path(tempfile.mkdtemp(prefix="headway-frames-"))
ROWS = 2**22
"""64 MiB in two columns."""


def put(data: bytes) -> str:
    path = ROOT / blob_place(digest(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest(data)


def get(blob: str) -> bytes:
    return (ROOT / blob_place(blob)).read_bytes()


def _unread(blob: str) -> bytes:
    raise AssertionError(f"{blob} lies in a file and was read whole")


def stored(value: Any, option: str = "") -> Stored:
    return Stored(pack(value, put, option), get, file=BlobFiles(ROOT).path)


def anonymous_mib() -> float:
    """Memory of this process that no file lies behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def check_pandas() -> None:
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", "n"])
    kept = pd.DataFrame(
        {
            "int": [1, 2], "text": ["x", None], "when": pd.to_datetime(["2026-01-01", None], utc=True),
            "kind": pd.Categorical(["u", "v"]), "maybe": pd.array([1, None], dtype="Int64"),
        },
        index=index,
    )  # fmt: skip
    outputs = pack(kept, put)
    assert [output.format for output in outputs] == ["pandas"]
    assert pack(kept.copy(), put) == outputs
    pd.testing.assert_frame_equal(Stored(outputs, get).load(), kept)
    large = pd.DataFrame({"a": np.random.default_rng(1).random(2**18), "t": ["x", None] * 2**17})
    pd.testing.assert_frame_equal(Stored(pack(large, put), _unread, file=BlobFiles(ROOT).path).load(), large)
    assert "pandas DataFrame" in refusal(pd.DataFrame({"a": [{1}, {2}]}))
    assert "series.to_frame()" in refusal(kept["int"])


def refusal(value: Any) -> str:
    try:
        pack(value, put)
    except BadPipeline as error:
        return str(error)
    return "it was stored"


def check_mapped() -> None:
    columns = {"a": np.arange(ROWS), "b": np.random.default_rng(1).random(ROWS)}
    table, frame = pa.table(columns), pl.DataFrame(columns)
    handles = [stored(table), stored(frame, "arrow")]
    formats = [handle.formats for handle in handles]
    assert formats == [("arrow",), ("polars-arrow",)], formats
    total = int(columns["a"].sum())
    del table, frame, columns
    before = anonymous_mib()
    loaded = [handle.load() for handle in handles]
    assert pc.sum(loaded[0]["a"]).as_py() == total
    assert loaded[1]["a"].to_numpy(allow_copy=False).sum() == total
    grown = anonymous_mib() - before
    assert grown < 16, f"{grown} MiB were copied"
    texts = pl.DataFrame({"t": ["long enough to lie outside of its view"] * 2**16, "n": [None, "x"] * 2**15})
    assert stored(texts, "arrow").load().equals(texts)
    small = pa.table({"a": [1, None]})
    assert stored(small).load().equals(small)


if __name__ == "__main__":
    check_pandas()
    check_mapped()
    sys.stdout.write("all is well\n")
