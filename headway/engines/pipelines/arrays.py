"""numpy arrays as bytes and back, in numpy's own format without pickle; needs the extra `[ml]`."""

from __future__ import annotations

import io
from typing import Any


def dumps(array: Any) -> bytes:
    """The same bytes for equal arrays; raises `ValueError` for an array of objects."""
    import numpy  # noqa: PLC0415

    array = numpy.asarray(array, order="C")
    if array.dtype.names:  # bytes between the fields are whatever was in memory
        clean = numpy.zeros(array.shape, array.dtype)
        for name in array.dtype.names:
            clean[name] = array[name]
        array = clean
    buffer = io.BytesIO()
    numpy.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def loads(data: bytes) -> Any:
    import numpy  # noqa: PLC0415

    return numpy.load(io.BytesIO(data), allow_pickle=False)
