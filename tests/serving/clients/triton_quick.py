"""One default request of tritonclient: binary both ways."""

from __future__ import annotations

import json
import sys

import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient(sys.argv[1])
temp = triton.InferInput("temp", [2, 1], "FP32")
temp.set_data_from_numpy(np.array([[20], [70]], np.float32))
carrier = triton.InferInput("carrier", [2, 1], "BYTES")
carrier.set_data_from_numpy(np.array([["AA"], ["UA"]], object))
result = client.infer("flights", [temp, carrier], request_id="t-1")
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_model_ready("flights"),
            "id": result.get_response()["id"],
            "label": result.as_numpy("label").tolist(),
            "probabilities": result.as_numpy("probabilities").tolist(),
        }
    )
)
