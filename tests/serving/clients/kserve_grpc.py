"""What the KServe client asks over gRPC."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

address = sys.argv.pop(1)  # importing kserve reads the arguments

import grpc  # noqa: E402
import numpy as np  # noqa: E402
from kserve import InferenceGRPCClient, InferInput, InferOutput, InferRequest  # noqa: E402


def inputs(binary: bool, temp: float = 20) -> list[Any]:
    first = InferInput("temp", [2, 1], "FP32")
    first.set_data_from_numpy(np.array([[temp], [70]], np.float32), binary_data=binary)
    second = InferInput("carrier", [2, 1], "BYTES")
    second.set_data_from_numpy(np.array([["AA"], ["UA"]], object), binary_data=binary)
    return [first, second]


def values(outputs: list[InferOutput], name: str) -> list[Any]:
    found: list[Any] = next(each for each in outputs if each.name == name).as_numpy().tolist()
    return found


async def refused(ask: Any) -> str:
    try:
        await ask
    except grpc.RpcError as error:
        return str(error.code().name)  # type: ignore[attr-defined]
    return "none"


async def ask() -> dict[str, Any]:
    client = InferenceGRPCClient(address, retries=0)
    said: dict[str, Any] = {"scores": {}}
    for name, binary in (("raw", True), ("typed", False)):
        request = InferRequest("flights", inputs(binary), request_id="k-1", parameters={"key": "customer-7"})
        answer = await client.infer(request, headers=[("headway-key", "customer-7")])
        said["scores"][name] = values(answer.outputs, "probabilities")
        said["id"], said["label"] = answer.id, values(answer.outputs, "label")
        release = (answer.parameters or {}).get("release")
        said["release"] = getattr(release, "string_param", release)
    said["live"] = await client.is_server_live()
    said["ready"] = await client.is_server_ready()
    said["model ready"] = await client.is_model_ready("flights")
    said["refused"] = {
        "model": await refused(client.infer(InferRequest("nix", inputs(True)))),
        "version": await refused(client.infer(InferRequest("flights", inputs(True), model_version="7"))),
        "missing input": await refused(client.infer(InferRequest("flights", inputs(True)[:1]))),
        "contract": await refused(client.infer(InferRequest("flights", inputs(True, 999)))),
    }
    await client.close()
    return said


print(json.dumps(asyncio.run(ask())))
