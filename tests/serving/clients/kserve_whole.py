"""What the KServe client asks over the Open Inference Protocol v2."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

url = sys.argv.pop(1)  # importing kserve reads the arguments

import httpx  # noqa: E402
import numpy as np  # noqa: E402
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import RequestedOutput  # noqa: E402


def inputs(binary: bool) -> list[Any]:
    temp = InferInput("temp", [2, 1], "FP32")
    temp.set_data_from_numpy(np.array([[20], [70]], np.float32), binary_data=binary)
    carrier = InferInput("carrier", [2, 1], "BYTES")
    carrier.set_data_from_numpy(np.array([["AA"], ["UA"]], object), binary_data=binary)
    return [temp, carrier]


def scores(outputs: list[InferOutput]) -> list[Any]:
    found: list[Any] = next(each for each in outputs if each.name == "probabilities").as_numpy().tolist()
    return found


async def ask() -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    said: dict[str, Any] = {"scores": {}}
    for binary in (True, False):
        wanted = [RequestedOutput("probabilities", parameters={"binary_data": binary})]
        request = InferRequest("flights", inputs(binary), request_id="k-1", request_outputs=wanted)
        answer = await client.infer(url, request, model_name="flights")
        said["scores"]["binary" if binary else "json"] = scores(answer.outputs)
        said["id"] = answer.id
    said["live"] = await client.is_server_live(url)
    said["ready"] = await client.is_server_ready(url)
    said["model ready"] = await client.is_model_ready(url, "flights")
    try:
        await client.infer(url, InferRequest("nix", inputs(False)), model_name="nix")
    except httpx.HTTPStatusError as error:
        said["status"] = error.response.status_code
    return said


print(json.dumps(asyncio.run(ask())))
