"""The ONNX file as an MLflow model in the folder `model`, then `mlflow models serve` with one worker."""

import os
import sys

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

mlflow.onnx.save_model(
    onnx.load(sys.argv[1]), "model",
    signature=ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 20), "x")])),
    onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
)  # fmt: skip
command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "model", "--env-manager", "local"]
os.execv(sys.executable, [*command, "--host", "127.0.0.1", "--port", sys.argv[2], "--workers", "1"])
