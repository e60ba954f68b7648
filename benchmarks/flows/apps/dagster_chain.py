"""A chain of trivial assets, materialised in this process: `python dagster_chain.py STEPS`."""

import os
import sys

os.makedirs("dagster", exist_ok=True)
os.environ.update(DAGSTER_HOME=os.path.abspath("dagster"), DAGSTER_DISABLE_TELEMETRY="yes")

import logging  # noqa: E402

from dagster import AssetIn, DagsterInstance, asset, materialize  # noqa: E402

steps = int(sys.argv[1])


def made(number: int):
    if number == 0:

        @asset(name="v0")
        def first() -> int:
            return 0

        return first

    @asset(name=f"v{number}", ins={"value": AssetIn(f"v{number - 1}")})
    def grown(value: int) -> int:
        return value + number

    return grown


logging.disable(logging.CRITICAL)
with DagsterInstance.get() as instance:
    materialize([made(number) for number in range(steps + 1)], instance=instance)
