"""Elements as the Open Inference Protocol carries them: its datatypes, their binary form, and exact conversion.

Source: github.com/kserve/open-inference-protocol, "Tensor Data Types", and the binary tensor data extension of
github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md: little-endian, row-major, each BYTES
element behind its length in four bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.models.records import Datatype

INTEGERS: dict[str, np.dtype[Any]] = {
    f"{sign}INT{bits}": np.dtype(f"<{sign.lower() or 'i'}{bits // 8}") for sign in ("", "U") for bits in (8, 16, 32, 64)
}
_FLOATS: dict[str, np.dtype[Any]] = {"FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
_BINARY: dict[str, np.dtype[Any]] = INTEGERS | _FLOATS | {"BOOL": np.dtype("u1"), "BF16": np.dtype("<u2")}
_EXACT_BELOW = {Datatype.FP32: 2**24, Datatype.FP64: 2**53}
"""Every integer up to here has a float of its own."""
_LENGTH_BYTES = 4
_MOST_DIMENSIONS = 8


class Numbers(list[Any]):
    """Elements that are all finite, and the array that they came from: nobody needs to look at each of them again."""

    __slots__ = ("array",)

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(array.tolist())
        self.array = array


def elements(datatype: str, shape: list[int], blob: memoryview) -> list[Any]:
    """What `blob` holds, a missing number (NaN) as None; raises `ValueError` saying what is wrong with it."""
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise ValueError(f"has a shape of {len(shape)} dimensions or a negative one, which no tensor has")
    count = math.prod(shape)
    if datatype == "BYTES":
        return _texts(count, blob)
    if datatype not in _BINARY:
        raise ValueError(f"has datatype {datatype[:100]!r}, which is none of {', '.join(_BINARY)}, BYTES")
    dtype = _BINARY[datatype]
    if count * dtype.itemsize != len(blob):
        raise ValueError(
            f"brings {len(blob)} bytes, but its shape {shape} in {datatype} takes {count * dtype.itemsize}"
        )
    array: NDArray[Any] = np.frombuffer(blob, dtype).copy()  # what stands behind JSON is not aligned
    if datatype == "BOOL":
        if array.size and array.max() > 1:
            raise ValueError("is BOOL, but holds a byte other than 0 and 1")
        array = array.astype(np.bool_)
    elif datatype == "BF16":  # the upper half of an FP32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    values = Numbers(array)
    if array.dtype.kind == "f" and not math.isfinite(sum(values)):
        return [None if value != value else value for value in values]
    return values


def packed(array: NDArray[Any], datatype: Datatype) -> bytes:
    """An output in its binary form."""
    if datatype is not Datatype.BYTES:
        return array.tobytes()
    texts = [text.encode() if isinstance(text, str) else bytes(text) for text in array.ravel().tolist()]
    return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in texts)


def must_convert(values: list[Any], datatype: str, wanted: Datatype) -> None:
    """Raises `ValueError` unless `values` of another datatype are elements of `wanted` without loss.

    Integers become wider or narrower integers (whose range is checked with all others) and floats, FP32 becomes FP64.
    """
    if datatype == "FP32" and wanted is Datatype.FP64:
        return
    if datatype in ("FP16", "BF16") and wanted in _EXACT_BELOW:
        raise ValueError(f"is {datatype}, which goes in binary only; in JSON send {wanted}")
    if datatype not in INTEGERS or wanted in (Datatype.BOOL, Datatype.BYTES):
        raise ValueError(f"has datatype {datatype[:100]!r}, but the model takes {wanted}")
    if strange := {type(value).__name__ for value in values} - {"int"}:
        raise ValueError(f"is {datatype}, but its data holds {', '.join(sorted(strange))}")
    bounds = np.iinfo(INTEGERS[datatype])
    if min(values) < bounds.min or max(values) > bounds.max:
        raise ValueError(f"holds a number that is out of the range of {datatype}")
    if (exact := _EXACT_BELOW.get(wanted)) and max(max(values), -min(values)) > exact:
        dtype = np.float32 if wanted is Datatype.FP32 else np.float64
        if any(int(dtype(value)) != value for value in values):
            raise ValueError(f"holds an integer that no {wanted} equals")


def _texts(count: int, blob: memoryview) -> list[str]:
    texts, at, end = list[str](), 0, len(blob)
    while at < end and len(texts) < count:
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(blob[at:start], "little")
        if start > end or at > end:
            raise ValueError("is cut: an element is longer than what is left of the body")
        try:
            texts.append(str(blob[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise ValueError("holds bytes that are not UTF-8 text, the only BYTES that are served here") from None
    if len(texts) != count or at != end:
        raise ValueError(f"does not hold the {count} elements of its shape: {len(texts)} found, {end - at} bytes left")
    return texts
