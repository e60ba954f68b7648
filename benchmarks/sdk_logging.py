"""What logging costs a training loop: `python benchmarks/sdk_logging.py`, against a server of its own.

Printed are the time that one call takes of the loop, as a share of a step of 10 ms, and how many points a second one
client brings to the server, from the first call until the server has them all.
"""

from __future__ import annotations

import math
import time
from statistics import median

from benchmarks.tracking import own_server
from headway.client.client import Client
from headway.client.http import Connection
from headway.client.run import Exported, Run

STEP_S, KEYS = 0.01, [f"metric-{number}" for number in range(10)]


class NoExporter:
    def export(self, model: object, evaluation: str, example: object, score: str | None) -> Exported:
        raise NotImplementedError("only metrics are logged here")


def call_us(run: Run, keys: list[str], steps: int) -> float:
    """The median of one call, in microseconds."""
    taken = []
    for step in range(steps):
        values = {key: math.sin(step) for key in keys}
        began = time.perf_counter()
        run.log_metrics(values, step=step)
        taken.append(time.perf_counter() - began)
    return 1e6 * median(taken)


def ingested(client: Client, steps: int) -> float:
    """Points per second."""
    run = client.start_run("ingest", NoExporter())
    began = time.perf_counter()
    for step in range(steps):
        run.log_metrics(dict.fromkeys(KEYS, step / 7), step=step)
    run.finish()
    taken = time.perf_counter() - began
    assert client.runs.curve(run.id, KEYS[0], most=10).steps[-1] == steps - 1
    return steps * len(KEYS) / taken


def main() -> None:
    with own_server(own_api=True) as server:
        client = Client(Connection(server.uri, server.token))
        for keys in (KEYS[:1], KEYS):
            with client.start_run("overhead", NoExporter()) as run:
                taken = call_us(run, keys, 5000)
            share = taken / 1e6 / STEP_S
            print(f"one call with {len(keys):2} metrics: {taken:6.1f} us, {share:.2%} of a step of 10 ms")
        print(f"points per second: {median(ingested(client, 30_000) for _ in range(3)):,.0f}")


if __name__ == "__main__":
    main()
