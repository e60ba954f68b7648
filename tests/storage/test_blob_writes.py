"""Blobs in a folder, as they are written."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headway.errors import Unavailable
from headway.storage.blobs import open_blobs
from headway.storage.leftovers import FolderLeftovers

_CUT_OFF = """
import resource, signal, sys
from headway.storage.blobs import open_blobs
blobs = open_blobs(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
blobs.put(bytes(2**21))
"""


def test_a_blob_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(Unavailable, match="cannot be reached"):
            blobs.put(bytes(2**21))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert blobs.get(blobs.put(bytes(2**21))) == bytes(2**21)


def test_a_process_that_ends_within_a_write_leaves_what_is_known_as_a_leftover(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _CUT_OFF, str(tmp_path)], check=False, timeout=120)
    assert ended.returncode == -signal.SIGXFSZ
    assert not list(open_blobs(tmp_path).all())
    (left,) = FolderLeftovers(tmp_path / "uploads", tmp_path).found()
    assert left.size == 2**20
