"""A cluster of two nodes on this machine, one of which is killed while it works: run in an environment with Ray.

`python story.py FOLDER`: the project is in FOLDER, with a server's address in HEADWAY_URL. Prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

PATIENCE_S = 180.0


def headway(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "headway.cli", "--json", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(process: subprocess.Popen[str]) -> Any:
    said, complained = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, complained
    assert said.strip().startswith("{"), f"{said!r} {complained}"
    return json.loads(said)


def notes(file: Path, what: str) -> list[list[str]]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.split() for line in lines if line.startswith(what)]


def main(folder: Path) -> None:
    cluster = Cluster()
    head = cluster.add_node(num_cpus=1, include_dashboard=False)
    other = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    file = folder.parent / "notes"
    options = ["-p", "steps=12", "-p", "pause_s=1.0", "-p", f"notes={file}"]
    process = headway(folder, "run", "counting", *options, "--executor", "ray", "--address", cluster.address)
    deadline = time.monotonic() + PATIENCE_S
    while not (len(notes(file, "end")) >= 2 and any(each[2] == other.node_id for each in notes(file, "begin"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no step came to the other node"
        time.sleep(0.1)
    cluster.remove_node(other, allow_graceful=False)
    run = done(process)["run"]
    search = done(
        headway(
            folder, "tune", "training", "-s", "depth=1..5", "--metric", "loss", "--trials", "4", "--executor", "ray",
            "--address", cluster.address,
        )
    )  # fmt: skip
    told = {
        "run": run["id"], "nodes": [head.node_id, other.node_id], "begun": notes(file, "begin"),
        "ended": notes(file, "end"), "search": search,
    }  # fmt: skip
    cluster.shutdown()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main(Path(sys.argv[1]))
