"""A chain of trivial steps with ZenML's cache on its default stack, local: `python zenml_chain.py STEPS`."""

import os
import sys
from collections import Counter

os.environ.update(
    ZENML_CONFIG_PATH=os.path.abspath("zenml"), ZENML_ANALYTICS_OPT_IN="false", AUTO_OPEN_DASHBOARD="false",
    ZENML_LOGGING_VERBOSITY="ERROR",
)  # fmt: skip

from zenml import pipeline, step

steps = int(sys.argv[1])


@step
def grow(value: int, by: int) -> int:
    return value + by


@pipeline(enable_cache=True)
def chain() -> None:
    value = 0
    for by in range(steps):
        value = grow(value, by)


run = chain()
print(Counter(each.status.value for each in run.steps.values()))
