"""What a team writes with LitServe around ONNX Runtime; nothing counted, nothing kept."""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime
from numpy.typing import NDArray


class Flights(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict[str, Any]) -> dict[str, NDArray[Any]]:
        return {each["name"]: np.array(each["data"], np.float32).reshape(each["shape"]) for each in request["inputs"]}

    def predict(self, x: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self.session.run(None, x)
        return outputs

    def encode_response(self, output: list[NDArray[Any]]) -> dict[str, Any]:
        return {"model_name": "flights", "outputs": [{"data": each.ravel().tolist()} for each in output]}


if __name__ == "__main__":
    api = Flights(api_path="/v2/models/flights/infer")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
