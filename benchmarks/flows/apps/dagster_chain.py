"""A job of trivial ops in this process, each result in a file: `python dagster_chain.py STEPS`. It keeps a record of
every run and runs all of it again."""

import logging
import os
import sys

os.makedirs("dagster", exist_ok=True)
os.environ.update(DAGSTER_HOME=os.path.abspath("dagster"), DAGSTER_DISABLE_TELEMETRY="yes")

from dagster import DagsterInstance, fs_io_manager, job, op  # noqa: E402

steps = int(sys.argv[1])


@op
def start() -> int:
    return 0


def made(number: int):
    @op(name=f"grow{number}")
    def grow(value: int) -> int:
        return value + number

    return grow


@job(resource_defs={"io_manager": fs_io_manager})
def chain():
    value = start()
    for number in range(steps):
        value = made(number)(value)


logging.disable(logging.CRITICAL)
with DagsterInstance.get() as instance:
    done = chain.execute_in_process(instance=instance)
    print(done.output_for_node(f"grow{steps - 1}"))
