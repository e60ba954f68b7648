"""A chain of trivial tasks with cached results: `python prefect_chain.py STEPS`."""

import os
import sys

os.environ.update(
    PREFECT_HOME=os.path.abspath("prefect"), PREFECT_LOGGING_LEVEL="ERROR", PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=os.path.abspath("results"), DO_NOT_TRACK="1",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="300",
)  # fmt: skip

from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE

steps = int(sys.argv[1])


@task(cache_policy=TASK_SOURCE + INPUTS, persist_result=True)
def grow(value: int, by: int) -> int:
    return value + by


@flow
def chain(steps: int) -> int:
    value = 0
    for by in range(steps):
        value = grow(value, by)
    return value


print(chain(steps))
