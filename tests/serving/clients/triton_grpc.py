"""What tritonclient asks over gRPC, with its synchronous and its asyncio client."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as sync
import tritonclient.grpc.aio as aio
from tritonclient.utils import InferenceServerException


def inputs(module: Any, datatype: Any = np.float32) -> list[Any]:
    temp = module.InferInput("temp", [2, 1], "FP32" if datatype is np.float32 else "FP16")
    temp.set_data_from_numpy(np.array([[20], [70]], datatype))
    carrier = module.InferInput("carrier", [2, 1], "BYTES")
    carrier.set_data_from_numpy(np.array([["AA"], ["UA"]], object))
    return [temp, carrier]


def refused(ask: Any) -> str:
    try:
        ask()
    except InferenceServerException as error:
        return str(error.status())
    return "none"


def why(ask: Any) -> str:
    try:
        ask("flights")
    except InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    return "none"


async def asked_async(address: str) -> Any:
    async with aio.InferenceServerClient(address) as client:
        result = await client.infer("flights", inputs(aio))
        return result.as_numpy("probabilities").tolist()


client = sync.InferenceServerClient(sys.argv[1])
result = client.infer("flights", inputs(sync), request_id="g-1", headers={"headway-key": "k"})
wanted = [sync.InferRequestedOutput("probabilities")]
scores = {
    "plain": result.as_numpy("probabilities").tolist(),
    "FP16": client.infer("flights", inputs(sync, np.float16)).as_numpy("probabilities").tolist(),
    "one output": client.infer("flights", inputs(sync), outputs=wanted).as_numpy("probabilities").tolist(),
    "version": client.infer("flights", inputs(sync), model_version="1").as_numpy("probabilities").tolist(),
    "parameters": client.infer("flights", inputs(sync), parameters={"key": "k"}).as_numpy("probabilities").tolist(),
    "gzip": client.infer("flights", inputs(sync), compression_algorithm="gzip").as_numpy("probabilities").tolist(),
    "asyncio": asyncio.run(asked_async(sys.argv[1])),
}
wrong = {
    "model": lambda: client.infer("nix", inputs(sync)),
    "version": lambda: client.infer("flights", inputs(sync), model_version="7"),
    "missing input": lambda: client.infer("flights", inputs(sync)[:1]),
    "output": lambda: client.infer("flights", inputs(sync), outputs=[sync.InferRequestedOutput("nix")]),
}
metadata = client.get_model_metadata("flights", as_json=True)
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model ready": client.is_model_ready("flights"),
            "server": client.get_server_metadata(as_json=True),
            "metadata": metadata,
            "id": result.get_response().id,
            "label": result.as_numpy("label").tolist(),
            "scores": scores,
            "config": client.get_model_config("flights", as_json=True)["config"],
            "index": client.get_model_repository_index(as_json=True),
            "statistics": client.get_inference_statistics("flights", "1", as_json=True)["model_stats"],
            "all statistics": client.get_inference_statistics(as_json=True)["model_stats"],
            "not here": {"load": why(client.load_model), "unload": why(client.unload_model)},
            "refused": {name: refused(ask) for name, ask in wrong.items()},
        }
    )
)
