"""A chain of trivial functions with Hamilton's cache: `python hamilton_chain.py STEPS`, in an empty folder."""

import os
import sys
from pathlib import Path

os.environ.update(HAMILTON_TELEMETRY_ENABLED="false", DO_NOT_TRACK="1")
steps = int(sys.argv[1])
lines = ["def s0() -> int:\n    return 0\n"]
lines += [f"def s{n}(s{n - 1}: int) -> int:\n    return s{n - 1} + {n}\n" for n in range(1, steps + 1)]
if not Path("chain_module.py").exists():
    Path("chain_module.py").write_text("\n".join(lines))
sys.path.insert(0, ".")

import chain_module  # noqa: E402
from hamilton import driver  # noqa: E402

built = driver.Builder().with_modules(chain_module).with_cache(path="cache").build()
print(built.execute([f"s{steps}"]))
