"""What tracking costs a training loop: `python benchmarks/sdk_logging.py`, against a server of its own.

Printed are what a run adds to a real loop (steps of scikit-learn's `partial_fit`, five metrics logged at each, and all
that a run records by itself), what one logging call takes, how long a run takes to begin and to end, and how many
points a second one client brings to the server, from the first call until the server has them all.

The loop is timed with and without a run in turns, once one way round and once the other, and the medians of the steps
are compared. On a machine that does other things too that is a noisy figure; so the CPU time that the run takes is
counted as well, by thread: that of the calls in the loop, and that of the threads behind it, which are all its own,
once what is done once a run is over (that is printed by itself). The threads behind work by the second, not by the
step: on a machine that gives the loop half a core their share of its CPU time is twice what it is on an idle one.
"""

from __future__ import annotations

import math
import time
from itertools import count as count_from
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from sklearn.linear_model import SGDClassifier

from benchmarks.tracking import own_server
from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.http import Connection
from headway.client.run import Exported, Run
from headway.lifecycle.runs.capture import CaptureSpec

STEP_S, KEYS = 0.01, [f"metric-{number}" for number in range(10)]
STEPS, TURNS, ROWS, COLUMNS = 400, 4, 16_000, 60
SETTLED_S = 1.5


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


class Training:
    """Mini-batches of a linear classifier: about 5 to 10 ms of one core a step, which no run knows of."""

    def __init__(self) -> None:
        chance = np.random.default_rng(1)
        self._rows = chance.standard_normal((ROWS, COLUMNS))
        self._numbers = count_from(0)
        self._labels = (self._rows[:, 0] + chance.standard_normal(ROWS) > 0).astype(int)

    def steps(self, run: Run | None, count: int) -> tuple[list[float], float]:
        """Seconds of each of `count` steps, with a run those of its logging too; and the CPU seconds of that."""
        model = SGDClassifier(loss="log_loss", random_state=1)
        taken, logging = list[float](), 0.0
        for _ in range(count):
            began = time.perf_counter()
            model.partial_fit(self._rows, self._labels, classes=[0, 1])
            if run is not None:
                weight, before = float(model.coef_[0, 0]), time.thread_time()
                run.log_metrics(dict.fromkeys(KEYS[:5], weight), step=next(self._numbers))
                logging += time.thread_time() - before
            taken.append(time.perf_counter() - began)
        return taken, logging


class Tracked:
    """What turns with a run took: CPU seconds of the loop, of logging in it, and of all other threads; those threads'
    first steps, in which they note what is noted once a run and make their connection, by themselves."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.steps = list[float]()
        self.begun, self.ended, self.edges = list[float](), list[float](), list[float]()
        self.loop, self.logging, self.behind, self.once = list[float](), list[float](), list[float](), list[float]()

    def turn(self, training: Training) -> None:
        edges, began = time.thread_time(), time.perf_counter()
        before = _behind()
        run = self._client.start_run("train", NoExporter(), capture=Capture(CaptureSpec(), Path.cwd()))
        self.begun.append(time.perf_counter() - began)
        edges = time.thread_time() - edges
        until = time.perf_counter() + SETTLED_S
        while time.perf_counter() < until:
            training.steps(run, 20)
        self.once.append(_behind() - before)
        inside, behind = time.thread_time(), _behind()
        taken, logging = training.steps(run, STEPS)
        self.loop.append(time.thread_time() - inside - logging)
        self.behind.append(_behind() - behind)
        self.logging.append(logging)
        self.steps += taken
        inside, began = time.thread_time(), time.perf_counter()
        run.finish()
        self.ended.append(time.perf_counter() - began)
        self.edges.append(edges + time.thread_time() - inside)


def _behind() -> float:
    """CPU seconds of all threads but this one."""
    return time.process_time() - time.thread_time()


def overhead(client: Client) -> None:
    """Prints what a run adds to a step, and to its beginning and end."""
    training, plain, tracked = Training(), list[float](), Tracked(client)
    training.steps(None, STEPS)
    for turn in range(TURNS):
        for with_run in (turn % 2 == 0, turn % 2 == 1):
            if with_run:
                tracked.turn(training)
            else:
                plain += training.steps(None, STEPS)[0]
    low, _, high = quantiles(plain, n=4)
    print(f"a step of training: {1e3 * median(plain):.2f} ms (quartiles {1e3 * low:.2f} to {1e3 * high:.2f})")
    slower = median(tracked.steps) / median(plain) - 1
    print(f"with a run and five metrics: {1e3 * median(tracked.steps):.2f} ms, {slower:+.2%}")
    calls, behind = (
        median(part / loop for part, loop in zip(parts, tracked.loop, strict=True))
        for parts in (tracked.logging, tracked.behind)
    )
    print(
        f"CPU time of loops of {median(tracked.loop):.1f} s: {calls + behind:.2%} more "
        f"({calls:.2%} by the calls, {behind:.2%} by the threads behind them)"
    )
    seconds = median(tracked.steps) * STEPS
    print(f"the threads behind take {median(tracked.behind) / seconds:.2%} of a core while loops take {seconds:.1f} s")
    print(f"behind them, once a run: {1e3 * median(tracked.once):.1f} ms of CPU in the first {SETTLED_S:g} s")
    print(
        f"to begin a run {1e3 * median(tracked.begun):.1f} ms, to end it {1e3 * median(tracked.ended):.1f} ms, "
        f"of which CPU {1e3 * median(tracked.edges):.1f} ms"
    )


def main() -> None:
    with own_server(own_api=True) as server:
        client = Client(Connection(server.uri, server.token))
        overhead(client)
        for keys in (KEYS[:1], KEYS):
            with client.start_run("overhead", NoExporter()) as run:
                taken = call_us(run, keys, 5000)
            share = taken / 1e6 / STEP_S
            print(f"one call with {len(keys):2} metrics: {taken:6.1f} us, {share:.2%} of a step of 10 ms")
        print(f"points per second: {median(ingested(client, 30_000) for _ in range(3)):,.0f}")


if __name__ == "__main__":
    main()
