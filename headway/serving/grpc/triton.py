"""What Triton's clients ask over gRPC beside the Open Inference Protocol: the same pages as over HTTP.

Source: github.com/triton-inference-server/common, protobuf/grpc_service.proto and model_config.proto, of which these
are the fields that the pages have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "ModelConfigRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelInput": {"name": (1, "string"), "data_type": (2, "int32"), "dims": (4, "repeated int64")},
    "ModelOutput": {"name": (1, "string"), "data_type": (2, "int32"), "dims": (3, "repeated int64")},
    "ModelConfig": {
        "name": (1, "string"),
        "platform": (2, "string"),
        "max_batch_size": (4, "int32"),
        "input": (5, "repeated ModelInput"),
        "output": (6, "repeated ModelOutput"),
        "backend": (17, "string"),
    },
    "ModelConfigResponse": {"config": (1, "ModelConfig")},
    "ModelStatisticsRequest": {"name": (1, "string"), "version": (2, "string")},
    "StatisticDuration": {"count": (1, "uint64"), "ns": (2, "uint64")},
    "InferStatistics": {"success": (1, "StatisticDuration"), "fail": (2, "StatisticDuration")},
    "ModelStatistics": {
        "name": (1, "string"),
        "version": (2, "string"),
        "inference_count": (4, "uint64"),
        "execution_count": (5, "uint64"),
        "inference_stats": (6, "InferStatistics"),
    },
    "ModelStatisticsResponse": {"model_stats": (1, "repeated ModelStatistics")},
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "ModelIndex": {"name": (1, "string"), "version": (2, "string"), "state": (3, "string"), "reason": (4, "string")},
    "RepositoryIndexResponse": {"models": (1, "repeated ModelIndex")},
    "RepositoryModelLoadRequest": {"repository_name": (1, "string"), "model_name": (2, "string")},
    "RepositoryModelLoadResponse": {},
    "RepositoryModelUnloadRequest": {"repository_name": (1, "string"), "model_name": (2, "string")},
    "RepositoryModelUnloadResponse": {},
}
"""By message, its fields as `messages.py` has them. An enumeration is its number on the wire."""
_DATATYPES = {"BOOL": 1, "INT32": 8, "INT64": 9, "FP32": 11, "FP64": 12, "STRING": 13}
"""By the name that a configuration has behind `TYPE_`."""


class Asking(NamedTuple):
    """How a method is answered by a page: which one, and its fields from what that says."""

    http_method: str
    path: Callable[[Any], str]
    fields: Callable[[Any], dict[str, Any]]


def path_of(name: str, version: str, what: str = "") -> str:
    """The page of a model; a name with a slash in it leads nowhere else."""
    name, version = (text.replace("/", "%2F") for text in (name, version))
    return f"/v2/models/{name}{f'/versions/{version}' if version else ''}{what}"


def _statistics_path(request: Any) -> str:
    return path_of(request.name, request.version, "/stats") if request.name else "/v2/models/stats"


def _loading(verb: str) -> Asking:
    return Asking("POST", lambda asked: f"/v2/repository/models/{asked.model_name}/{verb}", lambda said: {})


def _config(said: dict[str, Any]) -> dict[str, Any]:
    for tensor in (*said["input"], *said["output"]):
        tensor["data_type"] = _DATATYPES[tensor["data_type"].removeprefix("TYPE_")]
    return {"config": said}


METHODS = {
    "ModelConfig": Asking("GET", lambda asked: path_of(asked.name, asked.version, "/config"), _config),
    "ModelStatistics": Asking("GET", _statistics_path, lambda said: said),
    "RepositoryIndex": Asking("POST", lambda asked: "/v2/repository/index", lambda said: {"models": said}),
    "RepositoryModelLoad": _loading("load"),
    "RepositoryModelUnload": _loading("unload"),
}
