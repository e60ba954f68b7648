"""What ONNX calls the datatypes that are served."""

from __future__ import annotations

from headway.lifecycle.models.records import Datatype

ONNX_DATATYPES = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}
