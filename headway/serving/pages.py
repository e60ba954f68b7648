"""What a model server tells of itself and its model, as the Open Inference Protocol and Triton's extensions have it.

Source of the extensions: github.com/triton-inference-server/server, docs/protocol: model repository, model
configuration, statistics. Models are not loaded and unloaded here: that is what releases and rollouts are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headway.errors import Invalid, NotFound, Unavailable
from headway.lifecycle.models.records import Datatype, Form, TensorSpec
from headway.serving.counters import ReleaseCounters, ServerCounters
from headway.serving.dialects.predict import openapi
from headway.serving.dialects.protocol import encode, encode_error
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.messages import TEXT, Answer
from headway.serving.router import Router

EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration", "statistics")
Page = Callable[[], Answer]
_PLATFORMS = {Form.ONNX: "onnxruntime_onnx", Form.SKOPS: "sklearn_skops", Form.MLFLOW: "mlflow_pyfunc",
              Form.LIGHTGBM: "lightgbm_text", Form.XGBOOST: "xgboost_ubj", Form.TORCH: "pytorch_export",
              Form.PYTHON: "python_function", Form.GRAPH: "headway_graph"}  # fmt: skip


class Pages:
    """Answers by path; `fixed` has those that name no model."""

    def __init__(self, router: Router, counters: ServerCounters) -> None:
        self._router, self._counters = router, counters
        self.fixed: dict[str, tuple[str, Page]] = {
            "/v2": ("GET", lambda: _said({"name": "headway", "version": _version(), "extensions": EXTENSIONS})),
            "/v2/health/live": ("GET", lambda: _said({"live": True, "ready": self.is_ready()})),
            "/v2/health/ready": ("GET", lambda: _ready({"live": True, "ready": self.is_ready()})),
            "/v1/openapi.json": ("GET", self._openapi),
            "/ping": ("GET", self._ping),
            "/health": ("GET", self._ping),
            "/version": ("GET", lambda: Answer(200, _version().encode(), TEXT)),
            "/v2/models/stats": ("GET", lambda: _said({"model_stats": self._statistics(self._all())})),
            "/v2/repository/index": ("POST", lambda: _said([self._entry(each) for each in self._all()])),
        }

    def page(self, path: str, method: str) -> Answer:
        """Raises `NotFound`, or `Unavailable` while there is no routing table."""
        taken, page = self.fixed.get(path) or self._model_page(path)
        return page() if method == taken else not_allowed(path, taken)

    def serving(self, name: str) -> LoadedTable:
        """The table, if it is the one of deployment `name`."""
        table = self._router.active
        if table is None:
            raise Unavailable(self._router.error or "no routing table is loaded yet")
        if name != table.table.deployment:
            raise NotFound(f"there is no model {name[:200]!r} here; this server serves {table.table.deployment!r}")
        return table

    def _model_page(self, path: str) -> tuple[str, Page]:
        if path.startswith("/v2/repository/models/"):
            name, _, verb = path.removeprefix("/v2/repository/models/").partition("/")
            if verb in ("load", "unload"):
                return "POST", lambda: self._refuse_to(verb, name)
        name, number, rest = model_path(path)
        if rest not in ("", "ready", "infer", "config", "stats"):
            raise NotFound(f"there is nothing at {path[:200]}")
        table = self.serving(name)
        routes = (table.named(number),) if number else table.routes
        if rest == "infer":
            return "POST", lambda: not_allowed(path, "POST")
        return "GET", lambda: self._about(table, routes, rest)

    def _about(self, table: LoadedTable, routes: tuple[LoadedRoute, ...], what: str) -> Answer:
        match what:
            case "ready":
                return _ready({"name": table.table.deployment, "ready": bool(routes)})
            case "config":
                return _said(_config(table, routes))
            case "stats":
                return _said({"model_stats": self._statistics(routes)})
        return _said(_metadata(table, routes))

    def _statistics(self, routes: tuple[LoadedRoute, ...]) -> list[dict[str, Any]]:
        return [_statistics(self._name(), loaded, self._counters.releases[loaded.route.release]) for loaded in routes]

    def _entry(self, loaded: LoadedRoute) -> dict[str, Any]:
        return {"name": self._name(), "version": str(loaded.route.version), "state": "READY", "reason": ""}

    def _refuse_to(self, verb: str, name: str) -> Answer:
        self.serving(name)
        raise Invalid(f"models are not {verb}ed here: `headway ship` and `headway rollout` decide what is served")

    def _openapi(self) -> Answer:
        if self._router.active is None:
            raise Unavailable(self._router.error or "no routing table is loaded yet")
        return _said(openapi(self._router.active))

    def _ping(self) -> Answer:
        """As MLflow's scoring server has it, whose body is a line feed."""
        return Answer(200 if self.is_ready() else 503, b"\n", TEXT)

    def _name(self) -> str:
        return self._router.active.table.deployment if self._router.active else ""

    def _all(self) -> tuple[LoadedRoute, ...]:
        return self._router.active.routes if self._router.active else ()

    def is_ready(self) -> bool:
        return bool(self._all())


def not_allowed(path: str, taken: str) -> Answer:
    """The answer to a method that a path does not take, with the header that RFC 9110 (15.5.6) asks for."""
    methods = b"GET, HEAD" if taken == "GET" else taken.encode()
    return Answer(405, encode_error(f"{path[:200]} takes {taken}"), headers=((b"allow", methods),))


def model_path(path: str) -> tuple[str, str, str]:
    """Model, version or nothing, and what is wanted of it, in `/v2/models/{model}[/versions/{version}][/{what}]`."""
    if not path.startswith("/v2/models/"):
        raise NotFound(f"there is nothing at {path[:200]}")
    name, _, rest = path.removeprefix("/v2/models/").partition("/")
    if not rest.startswith("versions/"):
        return name, "", rest
    number, _, rest = rest.removeprefix("versions/").partition("/")
    if not number:
        raise NotFound(f"{path[:200]} names no version")
    return name, number, rest


def _version() -> str:
    # Here, since what reads it from the installed package takes 1.3 MiB, and few ask.
    from headway.kernel.version import VERSION  # noqa: PLC0415

    return VERSION


def _said(value: Any) -> Answer:
    return Answer(200, encode(value))


def _ready(value: dict[str, Any]) -> Answer:
    return Answer(200 if value["ready"] else 503, encode(value))


def _metadata(table: LoadedTable, routes: tuple[LoadedRoute, ...]) -> dict[str, Any]:
    signature = routes[0].route.signature if routes else None
    return {
        "name": table.table.deployment,
        "versions": [str(loaded.route.version) for loaded in routes],
        "platform": _PLATFORMS[routes[0].route.form if routes else Form.ONNX],
        "inputs": [_described(spec) for spec in signature.inputs] if signature else [],
        "outputs": [_described(spec) for spec in signature.outputs] if signature else [],
    }


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _config(table: LoadedTable, routes: tuple[LoadedRoute, ...]) -> dict[str, Any]:
    """Triton's ModelConfig; without batching (`max_batch_size` 0) the dimensions have the rows in them."""
    signature = routes[0].route.signature if routes else None
    return {
        "name": table.table.deployment,
        "platform": _PLATFORMS[routes[0].route.form if routes else Form.ONNX],
        "backend": "onnxruntime" if not routes or routes[0].route.form is Form.ONNX else "python",
        "max_batch_size": 0,
        "input": [_configured(spec) for spec in signature.inputs] if signature else [],
        "output": [_configured(spec) for spec in signature.outputs] if signature else [],
    }


def _configured(spec: TensorSpec) -> dict[str, Any]:
    name = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{name}", "dims": spec.shape}


def _statistics(name: str, loaded: LoadedRoute, counters: ReleaseCounters) -> dict[str, Any]:
    answered = counters.statuses[200]
    failed = counters.statuses.total() - answered
    succeeded_ns = round((counters.latency_us - counters.failed_us) * 1000)
    return {
        "name": name,
        "version": str(loaded.route.version),
        "inference_count": counters.rows,
        "execution_count": answered,
        "inference_stats": {
            "success": {"count": answered, "ns": succeeded_ns},
            "fail": {"count": failed, "ns": round(counters.failed_us * 1000)},
        },
    }
