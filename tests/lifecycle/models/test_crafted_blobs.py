"""Blobs that anybody may have put, read as what they are said to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headway.errors import Invalid
from headway.lifecycle.models.folders import read_folder
from headway.lifecycle.models.graphs import read_graph

NONE = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"files":[{"name":"\xff"}],"nodes":[{"name":"\xff"}]}',
    "no end": b'{"nodes":[{"inputs":' + b"[" * 100_000,
}


@pytest.mark.parametrize("what", NONE)
@pytest.mark.parametrize("read", [read_folder, read_graph])
def test_bytes_that_are_neither_folder_nor_graph(read: Callable[[bytes], object], what: str) -> None:
    with pytest.raises(Invalid, match="this blob is no"):
        read(NONE[what])
