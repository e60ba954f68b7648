"""Files of uploads that were cut off: found, told from blobs, removed, and nothing else with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.errors import Invalid
from headway.storage.blobs import open_blobs
from headway.storage.leftovers import FolderLeftovers


def test_only_what_was_cut_off(tmp_path: Path) -> None:
    uploads, folder = tmp_path / "uploads", tmp_path / "blobs"
    uploads.mkdir()
    blobs = open_blobs(folder)
    whole = Path(blobs.address(blobs.put(b"whole")))
    partial, upload, other = whole.with_name(whole.name + "#1"), uploads / "blob-x7", whole.parent / "notes.txt"
    discarded = blobs.put(b"discarded")
    blobs.discard(discarded)
    for path in (partial, upload, uploads / "artifact-x8", other):
        path.write_bytes(b"half")
    leftovers = FolderLeftovers(uploads, folder)
    assert {each.name for each in leftovers.found()} == {str(partial), str(upload), str(uploads / "artifact-x8")}
    assert {each.size for each in leftovers.found()} == {4}
    for each in list(leftovers.found()):
        leftovers.remove(each.name)
        leftovers.remove(each.name)
    assert not list(leftovers.found())
    assert whole.read_bytes() == b"whole"
    assert other.exists()
    assert blobs.get(discarded) == b"discarded"


def test_nothing_elsewhere_is_removed(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"secret")
    with pytest.raises(Invalid):
        FolderLeftovers(tmp_path / "uploads", tmp_path / "blobs").remove(str(tmp_path / "keys"))
    assert (tmp_path / "keys").exists()
