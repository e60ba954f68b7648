"""All that tritonclient can ask a model server over HTTP, with its synchronous and its asyncio client."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.http as sync
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

DTYPES: dict[str, Any] = {
    "FP32": np.float32, "FP16": np.float16, "BF16": ml_dtypes.bfloat16, "INT64": np.int64, "UINT8": np.uint8,
}  # fmt: skip


def inputs(module: Any, datatype: str = "FP32", binary: bool = True) -> list[Any]:
    dtype = DTYPES[datatype]
    temp = module.InferInput("temp", [2, 1], datatype)
    temp.set_data_from_numpy(np.array([[20], [70]], dtype), binary_data=binary)
    carrier = module.InferInput("carrier", [2, 1], "BYTES")
    carrier.set_data_from_numpy(np.array([["AA"], ["UA"]], object), binary_data=binary)
    return [temp, carrier]


def outputs(module: Any, binary: bool) -> list[Any]:
    return [module.InferRequestedOutput("probabilities", binary_data=binary)]


VARIANTS: dict[str, Any] = {
    "plain": lambda module: (inputs(module), {}),
    "json": lambda module: (inputs(module, binary=False), {"outputs": outputs(module, False)}),
    "mixed in": lambda module: ([inputs(module)[0], inputs(module, binary=False)[1]], {}),
    "binary out": lambda module: (inputs(module, binary=False), {"outputs": outputs(module, True)}),
    "FP16": lambda module: (inputs(module, "FP16"), {}),
    "BF16": lambda module: (inputs(module, "BF16"), {}),
    "INT64": lambda module: (inputs(module, "INT64"), {}),
    "UINT8 in JSON": lambda module: (inputs(module, "UINT8", binary=False), {}),
    "gzip": lambda module: (
        inputs(module),
        {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"},
    ),
    "deflate": lambda module: (
        inputs(module),
        {"request_compression_algorithm": "deflate", "response_compression_algorithm": "deflate"},
    ),
    "version": lambda module: (inputs(module), {"model_version": "1"}),
    "parameters": lambda module: (inputs(module), {"priority": 1, "timeout": 5_000_000, "parameters": {"key": "k"}}),
}
WRONG: dict[str, Any] = {
    "model": lambda client, module: client.infer("nix", inputs(module)),
    "version": lambda client, module: client.infer("flights", inputs(module), model_version="7"),
    "missing input": lambda client, module: client.infer("flights", inputs(module)[:1]),
    "output": lambda client, module: client.infer(
        "flights", inputs(module), outputs=[module.InferRequestedOutput("nix")]
    ),
    "classes": lambda client, module: client.infer(
        "flights", inputs(module), outputs=[module.InferRequestedOutput("label", class_count=2)]
    ),
    "load": lambda client, module: client.load_model("flights"),
    "unload": lambda client, module: client.unload_model("flights"),
}
ASKED: dict[str, Any] = {
    "live": lambda client: client.is_server_live(),
    "ready": lambda client: client.is_server_ready(),
    "model ready": lambda client: client.is_model_ready("flights"),
    "version ready": lambda client: client.is_model_ready("flights", "1"),
    "server": lambda client: client.get_server_metadata(),
    "metadata": lambda client: client.get_model_metadata("flights", "1"),
    "config": lambda client: client.get_model_config("flights"),
    "index": lambda client: client.get_model_repository_index(),
    "statistics": lambda client: client.get_inference_statistics(),
    "statistics of one": lambda client: client.get_inference_statistics("flights", "1"),
}


def refused(error: InferenceServerException) -> list[str]:
    return [str(error.status()), str(error.message())]


def ask_sync(url: str) -> dict[str, Any]:
    client = sync.InferenceServerClient(url)
    said: dict[str, Any] = {"scores": {}, "refused": {}}
    for name, make in VARIANTS.items():
        tensors, options = make(sync)
        said["scores"][name] = client.infer("flights", tensors, **options).as_numpy("probabilities").tolist()
    said["async"] = client.async_infer("flights", inputs(sync)).get_result().as_numpy("probabilities").tolist()
    for name, ask in WRONG.items():
        try:
            ask(client, sync)
        except InferenceServerException as error:
            said["refused"][name] = refused(error)
    said["asked"] = {name: ask(client) for name, ask in ASKED.items()}
    client.close()
    return said


async def ask_aio(url: str) -> dict[str, Any]:
    said: dict[str, Any] = {"scores": {}, "refused": {}, "asked": {}}
    async with aio.InferenceServerClient(url) as client:
        for name, make in VARIANTS.items():
            tensors, options = make(aio)
            result = await client.infer("flights", tensors, **options)
            said["scores"][name] = result.as_numpy("probabilities").tolist()
        for name, ask in WRONG.items():
            try:
                await ask(client, aio)
            except InferenceServerException as error:
                said["refused"][name] = refused(error)
        for name, ask in ASKED.items():
            said["asked"][name] = await ask(client)
    return said


print(json.dumps({"sync": ask_sync(sys.argv[1]), "aio": asyncio.run(ask_aio(sys.argv[1]))}))
