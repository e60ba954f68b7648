from __future__ import annotations

import os
import random
import shutil
import socket
import time
from pathlib import Path

import pytest
from blake3 import blake3

from headway.client.files import adding, contents
from headway.client.files.scanning import Found, plain, scan
from headway.errors import Conflict, Invalid, NotFound
from headway.kernel.access import SYSTEM
from headway.lifecycle.datasets.listing import checked_paths
from headway.lifecycle.datasets.records import Form
from tests.client.files.conftest import Place, tree, write

FILES = {"a/1.txt": b"one", "a/2.txt": b"two", "b.bin": bytes(range(256)) * 20, "empty": b"", "a/again": b"one"}
BIG = random.Random(7).randbytes(3_000_000)


HERE = pytest.mark.parametrize("place", ["here"], indirect=True)


def aged(folder: Path) -> None:
    """As if all had been written long ago: so that what `stat` says of it is believed."""
    past = time.time() - 3600
    for path in folder.rglob("*"):
        os.utime(path, (past, past))


def test_what_is_added_comes_back(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {**FILES, "big": BIG})
    (folder / "a" / "1.txt").chmod(0o755)
    version = place.client.datasets.add_files(place.name, folder, note="first")
    assert (version.label, version.form, version.files, version.note) == (f"{place.name}@1", Form.FILES, 6, "first")
    assert version.size == sum(map(len, FILES.values())) + len(BIG)
    done = place.client.datasets.checkout(place.name, tmp_path / "out")
    assert (done.files, done.written, done.kept, done.removed) == (6, 6, 0, 0)
    assert tree(tmp_path / "out") == tree(folder)


def test_the_same_files_are_the_newest_version(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", FILES)
    first = place.client.datasets.add_files(place.name, folder)
    assert place.client.datasets.add_files(place.name, folder) == first
    shutil.copytree(folder, tmp_path / "copy")
    before = place.stored()
    assert place.client.datasets.add_files(place.name, tmp_path / "copy") == first
    assert place.stored() == before


def test_an_older_state_is_a_version_again_and_takes_no_room(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {**FILES, "big": BIG})
    first = place.client.datasets.add_files(place.name, folder)
    write(folder, {"big": BIG[::-1]})
    place.client.datasets.add_files(place.name, folder)
    write(folder, {"big": BIG})
    before = place.stored()
    third = place.client.datasets.add_files(place.name, folder)
    assert (third.number, third.digest, third.root) == (3, first.digest, first.root)
    assert place.stored() - before < 2000
    place.client.datasets.checkout(f"{place.name}@1", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


def test_only_what_is_new_is_sent_and_kept(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {f"f{number}": os.urandom(1000) for number in range(500)} | {"big": BIG})
    place.client.datasets.add_files(place.name, folder)
    aged(folder)
    place.client.datasets.add_files(place.name, folder)
    before, sent = place.stored(), place.wire.sent if place.wire else 0
    write(folder, {"f77": b"another"})
    version = place.client.datasets.add_files(place.name, folder)
    assert 0 < place.stored() - before < 64 * 1024
    assert version.stored == place.stored() - before - len(place.app.blobs.get(version.blob))
    if place.wire:
        assert place.wire.sent - sent < 64 * 1024


def test_an_insert_into_a_large_file_takes_little_room(place: Place, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(8 << 20)
    folder = write(tmp_path / "data", {"big": data})
    place.client.datasets.add_files(place.name, folder)
    before = place.stored()
    changed = data[:4_000_000] + b"inserted" + data[4_000_000:]
    write(folder, {"big": changed})
    place.client.datasets.add_files(place.name, folder)
    assert place.stored() - before < 2 << 20
    place.client.datasets.checkout(place.name, tmp_path / "out")
    assert (tmp_path / "out" / "big").read_bytes() == changed


@HERE
def test_one_file(place: Place, tmp_path: Path) -> None:
    write(tmp_path, {"notes.md": b"hello"})
    version = place.client.datasets.add_files("notes", tmp_path / "notes.md")
    assert [each.path for each in place.client.datasets.files("notes")] == ["notes.md"]
    assert place.client.datasets.add_files("notes", tmp_path / "notes.md") == version
    assert place.client.datasets.status(tmp_path / "notes.md").same


@HERE
def test_what_is_left_out(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {**FILES, "a/x.tmp": b"", ".git/HEAD": b""})
    place.client.datasets.add_files(place.name, folder, exclude=["*.tmp", ".git"])
    assert [each.path for each in place.client.datasets.files(place.name)] == sorted(FILES)
    assert place.client.datasets.status(folder).same


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "link to nothing", "pipe", "socket"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "data", FILES)
    odd = folder / "a" / "odd"
    monkeypatch.chdir(folder / "a")  # the name of a socket has to be short
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("odd")
    else:
        odd.symlink_to({"link to a file": "1.txt", "link to a folder": "..", "link to nothing": "gone"}[kind])
    with pytest.raises(Invalid, match=r"'a/odd'.*--exclude"):
        scan(folder)
    assert [each[0] for each in scan(folder, ["odd"])] == sorted(FILES)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b"a\\b", b"\x1b[31m"])
def test_odd_names_are_refused(tmp_path: Path, name: bytes) -> None:
    folder = write(tmp_path / "data", FILES)
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    with pytest.raises(Invalid, match="rename it"):
        checked_paths([each[0] for each in scan(folder)])


@HERE
def test_nothing_is_added_of_a_folder_with_a_link(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", FILES)
    (folder / "odd").symlink_to("a")
    with pytest.raises(Invalid, match="'odd'"):
        place.client.datasets.add_files(place.name, folder)
    (folder / "odd").unlink()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_bytes(b"")
    with pytest.raises(Invalid, match="rename it"):
        place.client.datasets.add_files(place.name, folder)
    assert place.client.datasets.versions(place.name).items == ()


@HERE
def test_nothing_to_add(place: Place, tmp_path: Path) -> None:
    (tmp_path / "data" / "empty").mkdir(parents=True)
    with pytest.raises(Invalid, match="no file"):
        place.client.datasets.add_files(place.name, tmp_path / "data")
    with pytest.raises(NotFound):
        place.client.datasets.add_files(place.name, tmp_path / "gone")


@HERE
def test_tables_and_files_do_not_mix(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", FILES)
    place.client.datasets.add_files(place.name, folder)
    place.client.datasets.add("rows", {"a": [1]})
    with pytest.raises(Conflict, match="files"):
        place.client.datasets.add(place.name, {"a": [1]})
    with pytest.raises(Conflict, match="tables"):
        place.client.datasets.add_files("rows", folder)
    for refused in (lambda: place.client.datasets.read(place.name), lambda: list(place.client.datasets.files("rows"))):
        with pytest.raises(Invalid):
            refused()
    with pytest.raises(Invalid):
        place.client.datasets.checkout("rows", tmp_path / "out")


@pytest.mark.parametrize("size", [1000, 2_000_000])
def test_a_file_that_was_written_to_since_it_was_seen(tmp_path: Path, size: int) -> None:
    """What is read is what is told of, though the folder was looked at before."""
    folder = write(tmp_path, {"f": os.urandom(size)})
    (seen,) = scan(folder)
    now = write(folder, {"f": os.urandom(size + 5)}) / "f"
    pieces: list[bytes] = []
    if size > contents.CHUNKED_ABOVE:
        found, name, _ = contents.chunked(str(folder), Found(*seen), lambda _, data: pieces.append(bytes(data)))
        data = b"".join(pieces)[-size - 5 :]
    else:
        found, data = contents.whole(str(folder), Found(*seen))
        name = blake3(data).digest()
    assert (data, found.size) == (now.read_bytes(), size + 5)
    assert name == blake3(data).digest() == contents.digest_of_file(str(folder), Found(*seen))[1]
    assert [plain(found)] == scan(folder)


def test_a_file_that_never_rests_or_goes_is_told_by_name(tmp_path: Path) -> None:
    folder = write(tmp_path, {"f": os.urandom(3_000_000), "g": b""})
    seen = {each[0]: Found(*each) for each in scan(folder)}

    def disturb(name: bytes, data: bytes | memoryview) -> None:
        with (folder / "f").open("ab") as file:
            file.write(b"more")

    with pytest.raises(Conflict, match=r"'f' changes while it is read"):
        contents.chunked(str(folder), seen["f"], disturb)
    (folder / "g").unlink()
    with pytest.raises(Conflict, match="'g' went away"):
        contents.whole(str(folder), seen["g"])
    (folder / "g").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="'g' cannot be read"):
        contents.whole(str(folder), seen["g"])


@HERE
def test_a_file_of_the_same_size_and_time_is_not_missed(place: Place, tmp_path: Path) -> None:
    """Racily clean: written again within the clock's step, so that `stat` tells nothing."""
    folder = write(tmp_path / "data", {"f": b"before"})
    told = (folder / "f").stat()
    first = place.client.datasets.add_files(place.name, folder)
    with (folder / "f").open("r+b") as file:
        file.write(b"afterw")
    os.utime(folder / "f", ns=(told.st_atime_ns, told.st_mtime_ns))
    assert place.client.datasets.status(folder).changed == ("f",)
    assert place.client.datasets.add_files(place.name, folder).number == first.number + 1


@HERE
@pytest.mark.slow
def test_many_small_packs_are_packed_together(place: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", FILES)
    most = 0
    for number in range(adding.MOST_SMALL_PACKS + 5):
        write(folder, {f"more{number}": os.urandom(100)})
        version = place.client.datasets.add_files(place.name, folder)
        most = max(most, len(version.packs))
    assert most == adding.MOST_SMALL_PACKS + 1
    assert len(version.packs) < 10
    place.client.datasets.checkout(place.name, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


def test_packs_that_were_collected_are_sent_again(fresh: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", FILES)
    first = fresh.client.datasets.add_files(fresh.name, folder)
    aged(folder)
    fresh.client.datasets.add_files(fresh.name, folder)
    fresh.client.records.delete(first.id)
    fresh.client.records.purge(first.id, "not needed")
    fresh.app.platform.sweeps.sweep(by=SYSTEM, older_than_s=0)
    assert fresh.stored() == 0
    again = fresh.client.datasets.add_files(fresh.name, folder)
    assert (again.number, again.digest) == (2, first.digest)
    fresh.client.datasets.checkout(fresh.name, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


def test_collection_leaves_every_pack_that_a_version_needs(fresh: Place, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {f"f{number}": os.urandom(2000) for number in range(50)})
    first = fresh.client.datasets.add_files(fresh.name, folder)
    state = tree(folder)
    write(folder, {"f7": b"another"})
    second = fresh.client.datasets.add_files(fresh.name, folder)
    fresh.client.records.delete(first.id)
    fresh.client.records.purge(first.id, "not needed")
    swept = fresh.app.platform.sweeps.sweep(by=SYSTEM, older_than_s=0)
    assert swept.missing == ()
    kept = {blob.digest for blob in fresh.app.blobs.all()}
    assert kept == {second.blob, *(pack.blob for pack in second.packs)}
    assert first.packs[0].blob in kept  # some of it is dead, the rest is needed
    fresh.client.datasets.checkout(fresh.name, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder) != state
