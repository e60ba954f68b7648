"""A chain of trivial steps, each a process of its own: `python metaflow_chain.py STEPS`."""

import os
import sys
from pathlib import Path

steps = int(sys.argv[1])
lines = ["from metaflow import FlowSpec, step\n\n\nclass Chain(FlowSpec):"]
names = ["start", *(f"s{n}" for n in range(1, steps - 1)), "end"] if steps > 1 else ["start", "end"]
for name, following in zip(names, [*names[1:], ""], strict=True):
    lines.append(f"    @step\n    def {name}(self):\n        self.value = {len(lines)}")
    if following:
        lines.append(f"        self.next(self.{following})\n")
lines.append('\n\nif __name__ == "__main__":\n    Chain()\n')
Path("chain_flow.py").write_text("\n".join(lines))
os.environ.update(METAFLOW_USER="bench", METAFLOW_DATASTORE_SYSROOT_LOCAL=os.getcwd(), METAFLOW_HOME=os.getcwd())
os.execv(sys.executable, [sys.executable, "chain_flow.py", "--quiet", "run"])
