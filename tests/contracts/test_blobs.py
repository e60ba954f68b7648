"""Blobs over every store, and what is particular to files."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.errors import BadSettings, LedgerBroken, Unavailable
from headway.storage.blobs import open_blobs
from headway.testing.contracts.blobs import BlobStoreContract


class TestBlobs(BlobStoreContract):
    pass


def test_a_changed_file_is_found_and_mended_by_putting_it_again(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path)
    digest = blobs.put(b"weights")
    Path(blobs.address(digest)).write_bytes(b"weighty")
    with pytest.raises(LedgerBroken):
        blobs.get(digest)
    assert blobs.put(b"weights") == digest
    assert blobs.get(digest) == b"weights"


def test_a_blob_lies_where_other_processes_look_for_it(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path)
    digest = blobs.put(b"weights")
    name = digest.removeprefix("b3:")
    assert Path(blobs.address(digest)) == tmp_path / name[:2] / name[2:]
    assert Path(blobs.address(digest)).read_bytes() == b"weights"


def test_files_of_another_name_are_no_blobs(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path)
    digest = blobs.put(b"weights")
    Path(blobs.address(digest) + "#1").write_bytes(b"wei")
    assert [each.digest for each in blobs.all()] == [digest]


def test_a_path_leads_to_the_blob_also_when_it_was_discarded(tmp_path: Path) -> None:
    blobs = open_blobs(tmp_path)
    digest = blobs.put(b"weights")
    blobs.discard(digest)
    assert Path(blobs.address(digest)).read_bytes() == b"weights"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    blobs = open_blobs(tmp_path / "blobs")
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_bytes(b"a file now")
    with pytest.raises(Unavailable, match="cannot be reached"):
        blobs.put(b"weights")


def test_an_address_that_leads_nowhere() -> None:
    with pytest.raises(BadSettings, match="foo://"):
        open_blobs("foo://bucket")
