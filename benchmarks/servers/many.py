"""Many models in one process: made from one, asked in turns, and what the same turns cost ONNX Runtime alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from servers.workload import Workload

_RUNS = 3000


def alike(model: bytes, count: int) -> list[bytes]:
    """Models of other thresholds and leaves, and the same cost."""
    random, made = np.random.default_rng(1), []
    for _ in range(count):
        graph = onnx.load_from_string(model)
        for node in graph.graph.node:
            for attribute in node.attribute:
                if attribute.name in ("nodes_values", "class_weights"):
                    moved = np.array(attribute.floats) * random.uniform(0.9, 1.1, len(attribute.floats))
                    del attribute.floats[:]
                    attribute.floats.extend(moved.tolist())
        made.append(graph.SerializeToString())
    return made


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_us(sessions: Sequence[onnxruntime.InferenceSession], work: Workload, rows: int = 1) -> float:
    """CPU of a row when the sessions run one after the other, again and again, each on so many rows at once."""
    feed = {name: np.repeat(values, rows, axis=0) for name, values in work.feed.items()}
    began = time.process_time()
    for at in range(_RUNS):
        sessions[at % len(sessions)].run(None, feed)
    return (time.process_time() - began) / _RUNS / rows * 1e6
