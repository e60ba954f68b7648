"""numpy arrays as bytes and back, in numpy's own format without pickle; needs the extra `[ml]`."""

from __future__ import annotations

import io
from pathlib import Path
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


def mapped(path: Path) -> Any:
    """The array as it lies in the file. It may be written to: what is written stays in memory, page by page, and the
    file is as it was."""
    import numpy  # noqa: PLC0415

    return numpy.load(path, mmap_mode="c", allow_pickle=False).view(numpy.ndarray)


def sparse_dumps(matrix: Any) -> bytes:
    """A sparse matrix or array of scipy's; its parts are arrays, without pickle."""
    from scipy import sparse  # noqa: PLC0415

    buffer = io.BytesIO()
    sparse.save_npz(buffer, matrix, compressed=False)
    return buffer.getvalue()


def sparse_loads(data: bytes) -> Any:
    from scipy import sparse  # noqa: PLC0415

    return sparse.load_npz(io.BytesIO(data))
