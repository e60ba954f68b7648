"""What an author sends cannot end the control plane, which loads no library of tables itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.server.home import Home
from tests.engines.damage import deadly_table
from tests.server.serving import served
from tests.server.world import posted, put_blob, segment, table

CONTROL_PLANE = """
import pathlib, sys
import headway.server.engine_room, headway.server.local, headway.server.up
from headway.engines.tables.readers import Readers
from headway.lifecycle.datasets.reference import read_reference
from headway.server.extras import Tables

table, segment = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
tables = Tables(Readers())
rows = tables.summarise(table).rows
layout = read_reference(tables.reference(table, None)).only({"delay"}).layout
print(rows, tables.read("late", "sg_1", segment).rows, tables.profile_day([segment], "2026-03-01", layout).rows)
skewed = tables.skewed_day([segment], "2026-03-01", "rl_1", {"delay"})
print(skewed.rows, skewed.skewed)
tables.close()
print(*sorted({"numpy", "polars"} & set(sys.modules)))
"""


def test_a_control_plane_looks_into_tables_without_loading_what_reads_them(tmp_path: Path) -> None:
    files = {"table": table(0), "segment": segment("rl_1")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", CONTROL_PLANE, *(str(tmp_path / name) for name in files)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("50 3 3\n3 0\n\n", "")


def test_a_table_that_ends_who_reads_it_is_refused_and_the_server_lives_on(home: Path) -> None:
    deadly = deadly_table()
    if deadly is None:
        pytest.skip("no damage that was tried ends this release of polars")
    with served(home) as client:
        for _ in range(2):
            answer = client.post("/v1/datasets/versions", json={"dataset": "bad", "blob": put_blob(client, deadly)})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")
            assert "this Parquet file cannot be read" in answer.json()["error"]["message"]
            body = {"dataset": "good", "blob": put_blob(client, table(0))}
            assert posted(client, "/v1/datasets/versions", body)["rows"] == 50
        assert [each["name"] for each in client.get("/v1/datasets").json()["items"]] == ["good"]
        serving = Home(home).serving()
        assert serving is not None
        loaded = Path(f"/proc/{serving.pid}/maps").read_text()
    assert "libpython" in loaded or "python3" in loaded
    assert "polars" not in loaded
    assert "numpy" not in loaded
