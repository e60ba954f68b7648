from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from headway.client.files.checkout import files_of
from headway.client.files.packing import PackWriter
from headway.client.files.places import Destination
from headway.client.files.pointer import Pointer, pointer_to, read_pointer, write_pointer
from headway.client.files.scanning import UNFINISHED
from headway.errors import Conflict, Invalid, LedgerBroken, NotFound
from headway.lifecycle.datasets.listing import Entry
from headway.lifecycle.datasets.records import AddFiles
from headway.lifecycle.datasets.tree import build
from tests.client.files.conftest import Place, tree, write
from tests.client.files.test_adding import BIG, FILES, aged

HERE = pytest.mark.parametrize("place", ["here"], indirect=True)


def added(place: Place, tmp_path: Path) -> Path:
    folder = write(tmp_path / "data", {**FILES, "big": BIG})
    place.client.datasets.add_files(place.name, folder)
    return folder


def test_only_some_of_it(place: Place, tmp_path: Path) -> None:
    added(place, tmp_path)
    received = place.wire.received if place.wire else 0
    done = place.client.datasets.checkout(place.name, tmp_path / "out", only=["a/**"])
    assert (done.files, set(tree(tmp_path / "out"))) == (3, {"a/1.txt", "a/2.txt", "a/again"})
    if place.wire:
        assert place.wire.received - received < 600_000  # the large file was not fetched
    with pytest.raises(NotFound, match="no file that matches"):
        place.client.datasets.checkout(place.name, tmp_path / "out", only=["*.jpg"])
    assert place.client.datasets.status(tmp_path / "out").same
    assert place.client.datasets.checkout(place.name, tmp_path / "out").written == 3
    assert place.client.datasets.status(tmp_path / "out").version == f"{place.name}@1"


def test_a_part_is_not_taken_for_the_whole(place: Place, tmp_path: Path) -> None:
    added(place, tmp_path)
    place.client.datasets.checkout(place.name, tmp_path / "out", only=["a/**"])
    assert place.client.datasets.add_files(place.name, tmp_path / "out").files == 3


def test_going_from_one_version_to_another_and_back(place: Place, tmp_path: Path) -> None:
    folder = added(place, tmp_path)
    first = tree(folder)
    (folder / "a" / "1.txt").unlink()
    (folder / "b.bin").chmod(0o755)
    write(folder, {"new/x": b"x"})
    place.client.datasets.add_files(place.name, folder)
    out = tmp_path / "out"
    place.client.datasets.checkout(f"{place.name}@1", out)
    write(out, {"mine": b"not of any version"})
    assert place.client.datasets.checkout(f"{place.name}@2", out).removed == 1
    assert not (out / "a" / "1.txt").exists()
    place.client.datasets.checkout(f"{place.name}@1", out)
    assert (out / "mine").exists()
    assert {**first, "mine": (b"not of any version", False)}.items() <= tree(out).items()


def test_what_was_brought_long_ago_and_not_edited_is_replaced_and_removed(place: Place, tmp_path: Path) -> None:
    folder, out = added(place, tmp_path), tmp_path / "out"
    (folder / "a" / "1.txt").unlink()
    write(folder, {"b.bin": b"other"})
    place.client.datasets.add_files(place.name, folder)
    place.client.datasets.checkout(f"{place.name}@1", out)
    aged(out)
    assert place.client.datasets.status(out, f"{place.name}@1").same
    done = place.client.datasets.checkout(f"{place.name}@2", out)
    assert (done.written, done.removed) == (1, 1)
    assert tree(out) == tree(folder)


@HERE
def test_nothing_of_mine_is_overwritten(place: Place, tmp_path: Path) -> None:
    added(place, tmp_path)
    out = write(tmp_path / "out", {"b.bin": b"mine"})
    with pytest.raises(Conflict, match=r"'b\.bin'"):
        place.client.datasets.checkout(place.name, out)
    assert tree(out) == {"b.bin": (b"mine", False)}
    place.client.datasets.checkout(place.name, out, force=True)
    assert (out / "b.bin").read_bytes() == FILES["b.bin"]
    write(out, {"b.bin": b"edited"})
    with pytest.raises(Conflict):
        place.client.datasets.checkout(place.name, out)
    (out / "b.bin").unlink()
    (out / "b.bin").mkdir()
    with pytest.raises(Conflict):
        place.client.datasets.checkout(place.name, out, force=True)


@HERE
def test_links_in_the_way_are_not_followed(place: Place, tmp_path: Path) -> None:
    added(place, tmp_path)
    outside = write(tmp_path / "outside", {"1.txt": b"precious"})
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").symlink_to(outside)
    for force in (False, True):
        with pytest.raises(Conflict, match="is to be a folder"):
            place.client.datasets.checkout(place.name, out, force=force)
    (out / "a").unlink()
    (out / "b.bin").symlink_to(outside / "1.txt")
    with pytest.raises(Conflict):
        place.client.datasets.checkout(place.name, out)
    place.client.datasets.checkout(place.name, out, force=True)
    assert tree(outside) == {"1.txt": (b"precious", False)}
    assert not (out / "b.bin").is_symlink()


@HERE
def test_what_a_checkout_left_that_was_killed_is_cleared_away(place: Place, tmp_path: Path) -> None:
    folder = added(place, tmp_path)
    out = write(tmp_path / "out", {f"a/{UNFINISHED}1": b"half", "a/1.txt": FILES["a/1.txt"]})
    done = place.client.datasets.checkout(place.name, out)
    assert (done.kept, tree(out)) == (1, tree(folder))


@pytest.mark.parametrize("fresh", ["here"], indirect=True)
def test_a_piece_that_is_damaged_is_found_and_leaves_no_file(fresh: Place, tmp_path: Path) -> None:
    added(fresh, tmp_path)
    pack = fresh.client.datasets.version(fresh.name).packs[0]
    blob = Path(fresh.app.blobs.address(pack.blob))
    data = bytearray(blob.read_bytes())
    data[200] ^= 1
    blob.write_bytes(data)
    with pytest.raises(LedgerBroken):
        fresh.client.datasets.checkout(fresh.name, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(UNFINISHED)]


def test_reading_one_file(place: Place, tmp_path: Path) -> None:
    added(place, tmp_path)
    opened = place.client.datasets.open(place.name, "big")
    assert opened.read() == BIG
    assert opened.seek(-10, io.SEEK_END) == len(BIG) - 10
    assert opened.read(4) == BIG[-10:-6]
    assert io.BufferedReader(place.client.datasets.open(place.name, "a/1.txt")).readline() == b"one"
    small = place.client.datasets.open(place.name, "b.bin").mapped()
    assert small is not None
    assert bytes(small) == FILES["b.bin"]
    assert (opened.mapped(), place.client.datasets.open(place.name, "empty").read()) == (None, b"")
    with pytest.raises(NotFound, match="did you mean 'big'"):
        place.client.datasets.open(place.name, "bog")


def test_status_against_another_version(place: Place, tmp_path: Path) -> None:
    folder = added(place, tmp_path)
    write(folder, {"new": b"", "b.bin": b"other"})
    (folder / "empty").unlink()
    place.client.datasets.add_files(place.name, folder)
    assert place.client.datasets.status(folder).same
    status = place.client.datasets.status(folder, f"{place.name}@1")
    assert (status.added, status.changed, status.removed) == (("new",), ("b.bin",), ("empty",))
    with pytest.raises(NotFound, match="--against"):
        place.client.datasets.status(write(tmp_path / "other", FILES))


def test_tags_and_differences(place: Place, tmp_path: Path) -> None:
    datasets = place.client.datasets
    folder = added(place, tmp_path)
    write(folder, {"b.bin": b"other"})
    (folder / "a" / "2.txt").rename(folder / "a" / "moved")
    datasets.add_files(place.name, folder)
    assert datasets.tag(f"{place.name}@1", "gold").tagged == {"gold": 1}
    assert datasets.version(f"{place.name}@gold").number == 1
    found = datasets.diff(f"{place.name}@gold", place.name).files
    assert found is not None
    assert (found.added, found.removed, found.changed, found.moved) == (0, 0, 1, 1)
    assert [(each.path, each.moved_from) for each in found.changes] == [("a/moved", "a/2.txt"), ("b.bin", "")]
    assert datasets.diff(f"{place.name}@1", f"{place.name}@gold").same
    assert datasets.tag(place.name, "gold").tagged == {"gold": 2}
    assert datasets.untag(place.name, "gold").tagged == {}
    for gone in (lambda: datasets.version(f"{place.name}@gold"), lambda: datasets.untag(place.name, "gold")):
        with pytest.raises((NotFound, Invalid)):
            gone()


def crafted(place: Place, tmp_path: Path, entries: list[Entry], **tampered: bytes) -> AddFiles:
    """The command to add a tree that no folder has made."""
    shipped: list[str] = []

    def ship(path: Path, digest: str, size: int) -> None:
        place.client.blobs.give(path, digest, size)
        shipped.append(digest)

    writer = PackWriter(tmp_path / "crafted", ship)
    writer.add(blake3(b"x").digest(), tampered.get("data", b"x"))
    root = build(entries, lambda name, data: writer.add(name, data))
    writer.close()
    return AddFiles(dataset=f"{place.name}-evil", root="b3:" + root.hex(), packs=tuple(shipped))


X = blake3(b"x").digest()
HOSTILE: dict[str, list[Entry]] = {
    "out": [Entry("../x", 1, False, X)],
    "absolute": [Entry("/x", 1, False, X)],
    "inside": [Entry("a/../../x", 1, False, X)],
    "twice": [Entry("a", 1, False, X), Entry("a", 1, False, X)],
    "order": [Entry("b", 1, False, X), Entry("a", 1, False, X)],
    "both": [Entry("a", 1, False, X), Entry("a/b", 1, False, X)],
    "size": [Entry("a", 2, False, X)],
    "missing": [Entry("a", 1, False, blake3(b"y").digest())],
    "list": [Entry("a", 1, False, X, (X,))],
}


@HERE
@pytest.mark.parametrize("name", HOSTILE)
def test_a_crafted_tree_is_refused(place: Place, tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        place.client.datasets.add_kept(crafted(place, tmp_path, HOSTILE[name]))
    assert place.client.datasets.versions(f"{place.name}-evil").items == ()


@HERE
def test_a_pack_that_lies_is_refused(place: Place, tmp_path: Path) -> None:
    honest = [Entry("a", 1, False, X)]
    with pytest.raises(Invalid, match="is not"):
        place.client.datasets.add_kept(crafted(place, tmp_path, honest, data=b"y"))
    command = crafted(place, tmp_path, honest)
    blob = place.client.blobs.put(b"no pack at all, but longer than a foot")
    for wrong in ({"packs": (blob,)}, {"packs": ()}, {"root": "b3:" + "0" * 64}, {"root": "../x"}, {"dataset": "../x"}):
        with pytest.raises(Invalid):
            place.client.datasets.add_kept(command.but(**wrong))
    with pytest.raises(NotFound):
        place.client.datasets.add_kept(command.but(packs=("b3:" + "0" * 64,)))
    assert place.client.datasets.add_kept(command).files == 1


@HERE
@pytest.mark.parametrize("name", ["out", "absolute", "inside", "both"])
def test_a_server_that_lies_writes_nothing_outside(place: Place, tmp_path: Path, name: str) -> None:
    """What a version says is looked at once more where it is written."""
    command = crafted(place, tmp_path, HOSTILE[name])
    pack = place.client._connection.post("/v1/datasets/packs", dict[str, Any], {"blob": command.packs[0]})
    honest = place.client.datasets.add_files("honest", write(tmp_path / "data", FILES))
    lie = honest.but(root=command.root, packs=(honest.packs[0].but(**pack),))
    with pytest.raises((Invalid, LedgerBroken)):
        files_of(place.client._connection, lie)


def test_the_destination_itself_lets_nothing_out(tmp_path: Path) -> None:
    """Even for paths that nobody has checked."""
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "secret")
    with Destination(tmp_path / "out") as destination:
        for path in ("link/x", "link/y/z"):
            with pytest.raises(Conflict):
                destination.look(path)
    assert list((tmp_path / "secret").iterdir()) == []


class TestPointers:
    def test_a_pointer_comes_back(self, place: Place, tmp_path: Path) -> None:
        folder = added(place, tmp_path)
        version = place.client.datasets.version(place.name)
        write_pointer(tmp_path / "data.dataset.toml", pointer_to(version, folder.name))
        pointer = read_pointer(tmp_path / "data.dataset.toml")
        assert (pointer.label, pointer.digest, pointer.path) == (f"{place.name}@1", version.digest, "data")

    @pytest.mark.parametrize("path", ["../x", "/etc", "a/../../x", ""])
    def test_one_that_leads_out_is_refused(self, tmp_path: Path, path: str) -> None:
        pointer = Pointer(dataset="d", version=1, digest="b3:" + "0" * 64, path=path)
        write_pointer(tmp_path / "p.toml", pointer)
        with pytest.raises(Invalid):
            read_pointer(tmp_path / "p.toml")

    @pytest.mark.parametrize("text", ["", "not toml", 'dataset = "d"', 'dataset = "../d"\nversion = 1'])
    def test_what_is_none(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "p.toml").write_text(text)
        with pytest.raises(Invalid):
            read_pointer(tmp_path / "p.toml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", FILES)
    (folder / "b.bin").chmod(0)
    with pytest.raises(Invalid, match=r"b\.bin"):
        place.client.datasets.add_files(place.name, folder)
