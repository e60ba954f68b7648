"""A chain of stages, each of which copies a file: `python dvc_chain.py STEPS`."""

import os
import subprocess
import sys
from pathlib import Path

steps = int(sys.argv[1])
dvc = [sys.executable, "-m", "dvc"]
os.environ["DVC_NO_ANALYTICS"] = "1"
if not Path(".dvc").exists():
    subprocess.run([*dvc, "init", "--no-scm", "--quiet"], check=True)
    Path("s0").write_text("0\n")
    stages = "".join(
        f"  t{n}:\n    cmd: cat s{n} > s{n + 1}\n    deps: [s{n}]\n    outs: [s{n + 1}]\n" for n in range(steps)
    )
    Path("dvc.yaml").write_text("stages:\n" + stages)
os.execv(sys.executable, [*dvc, "repro", "--quiet"])
