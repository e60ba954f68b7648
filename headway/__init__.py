"""Headway takes machine learning from data to production, and keeps it healthy there.

    import headway as hw

    with hw.start_run("orders") as run:
        run.log_metric("auc", 0.73)

Names are read when they are first used, so that the import itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name; importing `typing` would be half of the cost
if TYPE_CHECKING:
    from typing import Any

    from headway.client.active import active_run
    from headway.client.client import Client
    from headway.client.run import Run
    from headway.engines.gates.suites import check_suite
    from headway.engines.tables.contracts import infer_contract
    from headway.errors import Conflict, Forbidden, HeadwayError, Invalid, NotFound, Refused, Unavailable
    from headway.kernel.version import VERSION as __version__
    from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
    from headway.lifecycle.datasets.schema import Kind
    from headway.lifecycle.gates.check import Subject, check
    from headway.lifecycle.gates.records import Finding, Outcome
    from headway.lifecycle.models.graphs import Graph
    from headway.lifecycle.runs.pipeline import pipeline, step
    from headway.sdk import (
        add_dataset,
        adopt_model,
        connect,
        execute,
        explain,
        join_features,
        log_artifact,
        log_graph,
        log_metric,
        log_metrics,
        log_model,
        log_param,
        log_params,
        read_dataset,
        run,
        start_run,
        tune,
    )

_PLACES = {
    "headway.client.active": ("active_run",),
    "headway.client.client": ("Client",),
    "headway.client.run": ("Run",),
    "headway.errors": ("Conflict", "Forbidden", "HeadwayError", "Invalid", "NotFound", "Refused", "Unavailable"),
    "headway.lifecycle.datasets.contract": ("ColumnRule", "Contract", "Use"),
    "headway.lifecycle.datasets.schema": ("Kind",),
    "headway.lifecycle.gates.check": ("Subject", "check"),
    "headway.lifecycle.gates.records": ("Finding", "Outcome"),
    "headway.lifecycle.models.graphs": ("Graph",),
    "headway.lifecycle.runs.pipeline": ("pipeline", "step"),
    "headway.engines.gates.suites": ("check_suite",),
    "headway.engines.tables.contracts": ("infer_contract",),
    "headway.sdk": (
        "add_dataset", "adopt_model", "connect", "execute", "explain", "join_features", "log_artifact", "log_graph",
        "log_metric", "log_metrics", "log_model", "log_param", "log_params", "read_dataset", "run", "start_run", "tune",
    ),
}  # fmt: skip
_PLACE = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "Client",
    "ColumnRule",
    "Conflict",
    "Contract",
    "Finding",
    "Forbidden",
    "Graph",
    "HeadwayError",
    "Invalid",
    "Kind",
    "NotFound",
    "Outcome",
    "Refused",
    "Run",
    "Subject",
    "Unavailable",
    "Use",
    "__version__",
    "active_run",
    "add_dataset",
    "adopt_model",
    "check",
    "check_suite",
    "connect",
    "execute",
    "explain",
    "infer_contract",
    "join_features",
    "log_artifact",
    "log_graph",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_param",
    "log_params",
    "pipeline",
    "read_dataset",
    "run",
    "start_run",
    "step",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = import_module("headway.kernel.version").VERSION
    elif name in _PLACE:
        value = getattr(import_module(_PLACE[name]), name)
    else:
        raise AttributeError(f"module 'headway' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
