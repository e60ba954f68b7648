"""A chain of trivial nodes, each with a dataset on disk: `python kedro_chain.py STEPS`. Kedro looks only whether the
outputs are there, not at code or inputs."""

import os
import sys

os.environ.update(KEDRO_DISABLE_TELEMETRY="true", DO_NOT_TRACK="1")

from kedro.io import DataCatalog
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner
from kedro_pickle import PickleDataset

steps = int(sys.argv[1])


def grow(value: int) -> int:
    return value + 1


catalog = DataCatalog({f"v{n}": PickleDataset(f"data/v{n}.pickle") for n in range(steps + 1)})
if not catalog["v0"].exists():
    catalog["v0"].save(0)
chain = pipeline([node(grow, f"v{n}", f"v{n + 1}", name=f"n{n}") for n in range(steps)])
SequentialRunner().run(chain, catalog, only_missing_outputs=True)
print(catalog[f"v{steps}"].load())
