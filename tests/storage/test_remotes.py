"""Remotes: a folder, SeaweedFS as S3, Azurite as Azure and what speaks like Google's, with processes that race."""

from __future__ import annotations

import subprocess
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headway.errors import AlreadyExists, BadSettings, Invalid, LedgerBroken, NotFound, Unavailable
from headway.kernel.records import digest
from headway.lifecycle.datasets.records import DatasetVersion, Form, Pack
from headway.storage.remotes.addresses import checked_address, open_store
from headway.storage.remotes.exchange import fetch, push, wanted_version
from headway.storage.remotes.layout import remote_version
from headway.storage.remotes.named import Remotes
from headway.storage.remotes.remote import Remote
from headway.storage.remotes.sources import fetch_all
from tests.storage.racing import version_of

ROOT = Path(__file__).parents[2]
RACERS = 16


class HomeBlobs:
    """The home's side of an exchange, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.most = -1

    def put(self, data: bytes) -> str:
        self.kept[digest(data)] = data
        return digest(data)

    def has(self, name: str) -> bool:
        return name in self.kept

    def get(self, name: str) -> bytes:
        if self.most == 0:
            raise ConnectionResetError("cut off")
        self.most -= 1
        return self.kept[name]

    def path(self, name: str) -> Path | None:
        return None

    def give(self, file: Path, name: str, size: int) -> None:
        data = file.read_bytes()
        assert (digest(data), len(data)) == (name, size)
        self.kept[name] = data
        file.unlink()


def made(blobs: HomeBlobs, number: int = 1, content: bytes = b"x", packs: int = 3) -> DatasetVersion:
    kept = [blobs.put(content + bytes([at])) for at in range(packs)]
    return DatasetVersion(
        id="dv_1", created_at=datetime.now(UTC), dataset="things", number=number, blob=blobs.put(b"manifest" + content),
        size=9, rows=0, schema=(), form=Form.FILES, files=1, digest=digest(content), root=digest(content),
        packs=tuple(Pack(blob=blob, size=len(content) + 1, index=1) for blob in kept),
    )  # fmt: skip


def ignored(size: int) -> None:
    pass


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("seaweedfs", "azurite")]


@pytest.fixture(params=["folder", "google", *SLOW])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "remote")
    return f"{request.getfixturevalue(request.param)}/{tmp_path.name}"


def test_a_version_goes_and_comes_back_and_only_what_is_missing_goes(address: str, tmp_path: Path) -> None:
    blobs, remote = HomeBlobs(), Remote(address)
    version = made(blobs)
    committed, sent = push(blobs, version, remote, ignored)
    assert (committed.label, sent.blobs, sent.there) == ("things@1", 4, 0)
    again, nothing = push(blobs, version, Remote(address), ignored)
    assert (again, nothing.blobs, nothing.bytes, nothing.there) == (committed, 0, 0, 4)
    other = HomeBlobs()
    wanted = wanted_version(Remote(address), "things", None)
    assert wanted == committed
    done = fetch(other, wanted, remote, tmp_path / "uploads", ignored)
    assert (done.blobs, other.kept) == (3, {each.blob: blobs.kept[each.blob] for each in version.packs})
    assert fetch(other, wanted, remote, tmp_path / "uploads", ignored).blobs == 0
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_push_that_is_cut_off_is_no_version_and_goes_on_where_it_was(address: str) -> None:
    blobs, remote = HomeBlobs(), Remote(address)
    version = made(blobs, packs=40)
    blobs.most = 10
    with pytest.raises(ConnectionResetError):
        push(blobs, version, remote, ignored)
    assert remote.versions("things") == []
    blobs.most = -1
    _, sent = push(blobs, version, remote, ignored)
    assert 0 < sent.blobs < 41
    assert sent.blobs + sent.there == 41


def test_another_content_gets_the_next_number(address: str) -> None:
    blobs, remote = HomeBlobs(), Remote(address)
    first, _ = push(blobs, made(blobs, content=b"a"), remote, ignored)
    second, _ = push(blobs, made(blobs, content=b"b"), remote, ignored)
    far, _ = push(blobs, made(blobs, number=7, content=b"c"), remote, ignored)
    assert [each.number for each in (first, second, far)] == [1, 2, 7]
    assert [each.digest for each in remote.versions("things")] == [digest(b"a"), digest(b"b"), digest(b"c")]
    assert wanted_version(remote, "things", 2).digest == digest(b"b")
    assert wanted_version(remote, "things", None, digest(b"a")).number == 1
    for wrong in (("gone", None, ""), ("things", 3, ""), ("things", None, digest(b"z"))):
        with pytest.raises(NotFound):
            wanted_version(remote, *wrong)


def test_of_sixteen_writers_one_wins_each_number_and_none_is_lost(address: str) -> None:
    Remote(address)
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.storage.racing", address, f"racer{number:02}"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(RACERS)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:  # all are there; now they are let go
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=300)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * RACERS
    assert sum(int(first) for first, _ in told) == 1
    kept = {each.number: each for each in Remote(address).versions("raced")}
    assert sorted(kept) == sorted(int(number) for _, number in told) == list(range(1, RACERS + 1))
    for who, (_, number) in enumerate(told):
        assert kept[int(number)].digest == version_of(f"racer{who:02}").digest
    assert all(Remote(address).has(each.blob, each.size) for each in kept.values())


def test_a_commit_that_was_sent_twice_is_known_for_ones_own(tmp_path: Path) -> None:
    """As when the first answer is lost on the way."""
    remote = Remote(str(tmp_path))
    offered = remote_version(version_of("me"), 1, "token")
    assert remote.try_commit(offered)
    assert remote.try_commit(offered)
    assert not remote.try_commit(remote_version(version_of("other"), 1, "another"))


def test_what_was_changed_in_a_remote_is_not_taken(tmp_path: Path) -> None:
    blobs, remote = HomeBlobs(), Remote(str(tmp_path / "remote"))
    version = made(blobs)
    committed, _ = push(blobs, version, remote, ignored)
    name = version.packs[0].blob.removeprefix("b3:")
    (tmp_path / "remote" / "blobs" / name[:2] / name[2:]).write_bytes(b"other")
    other = HomeBlobs()
    with pytest.raises(LedgerBroken):
        fetch(other, committed, remote, tmp_path / "uploads", ignored)
    assert version.packs[0].blob not in other.kept
    assert list((tmp_path / "uploads").iterdir()) == []
    _, sent = push(blobs, version, remote, ignored)  # of another size than it should be: it is sent once more
    assert sent.blobs == 1


def test_a_place_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "headway-remote.json").write_text('{"format":"other","version":1}')
    with pytest.raises(Invalid, match="other 1"):
        Remote(str(tmp_path))
    (tmp_path / "versions" / "d").mkdir(parents=True)
    (tmp_path / "headway-remote.json").unlink()
    (tmp_path / "versions" / "d" / "0000000001.json").write_text("{}")
    with pytest.raises(Invalid, match="no version"):
        Remote(str(tmp_path)).versions("d")


def test_a_store_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((Unavailable, FileExistsError, NotADirectoryError, BadSettings)):
        Remote(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:secret@bucket/p",
        "s3://bucket/p?X-Amz-Signature=1",
        "https://host/x",
        "s3://",
        "ftp://h/x",
        "az://c/p#s",
        "az://key@c/p",
        "abfss://container:secret@account.dfs.core.windows.net/p",
    ],
)
def test_addresses_that_are_none_or_hold_secrets(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as caught:
        Remotes(tmp_path).add("r", text)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "remotes.toml").exists()


def test_names_of_remotes(tmp_path: Path) -> None:
    remotes = Remotes(tmp_path / "home")
    with pytest.raises(NotFound, match="no remote yet"):
        remotes.named(None)
    made = remotes.add("main", str(tmp_path / "x"))
    assert remotes.named(None) == remotes.named("main") == remotes.add("main", str(tmp_path / "x")) == made
    remotes.add("second.one", "s3://bucket/path/")
    assert [each.url for each in remotes.all()] == [str(tmp_path / "x"), "s3://bucket/path"]
    assert (tmp_path / "home" / "remotes.toml").stat().st_mode & 0o077 == 0
    with pytest.raises(NotFound, match="say --remote"):
        remotes.named(None)
    with pytest.raises(NotFound, match="did you mean 'main'"):
        remotes.named("mian")
    with pytest.raises(AlreadyExists):
        remotes.add("main", "s3://other")
    assert remotes.remove("main") == made
    assert [each.name for each in remotes.all()] == ["second.one"]
    (tmp_path / "home" / "remotes.toml").write_text("remotes = 3")
    with pytest.raises(BadSettings):
        remotes.all()
    assert checked_address("file:///tmp/x") == "/tmp/x"


def test_files_from_a_uri(tmp_path: Path) -> None:
    for name in ("a/1", "a/b/2", "ab"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(name.encode())
    got: list[int] = []
    assert fetch_all(f"file://{tmp_path}/src/a", tmp_path / "out", got.append) == 2
    out = tmp_path / "out"
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {"1", "b/2"}
    assert sum(got) == 8
    assert fetch_all(f"file://{tmp_path}/src/ab", tmp_path / "one", got.append) == 1
    with pytest.raises(NotFound):
        fetch_all(f"file://{tmp_path}/src/gone", tmp_path / "none", got.append)
    with pytest.raises(BadSettings):
        fetch_all("s3://key:secret@bucket/p", tmp_path / "none", got.append)


def test_files_from_an_object_store(address: str, tmp_path: Path) -> None:
    store, uri = open_store(address), address if "://" in address else Path(address).as_uri()
    for name in ("a/1", "a/b/2", "ab"):
        store.put(name, name.encode())
    got: list[int] = []
    assert fetch_all(f"{uri}/a", tmp_path / "out", got.append) == 2
    assert (tmp_path / "out" / "b" / "2").read_bytes() == b"a/b/2"
    assert fetch_all(f"{uri}/ab", tmp_path / "one", got.append) == 1
    with pytest.raises(NotFound):
        fetch_all(f"{uri}/gone", tmp_path / "none", got.append)


@pytest.mark.parametrize(
    ("address", "name"),
    [("gs://bucket", "GOOGLE_BASE_URL"), ("az://box", "AZURE_STORAGE_ENDPOINT"), ("abfs://box", "AZURE_ENDPOINT")],
)
def test_tokens_go_to_another_machine_only_encrypted(address: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    for endpoint in ("http://storage.example", "HTTP://10.0.0.1:10000/account"):
        monkeypatch.setenv(name, endpoint)
        with pytest.raises(BadSettings, match=f"{name} is http:// on another machine"):
            open_store(address)
    for endpoint in ("https://storage.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"):
        monkeypatch.setenv(name, endpoint)
        open_store(address)


def test_an_account_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(BadSettings, match="AZURE_STORAGE_ACCOUNT_NAME"):
        open_store("az://container/path")
    open_store("abfss://container@account.dfs.core.windows.net/path")


def test_a_secret_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared access signature is part of every address that the provider's client asks, and fails at."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2021-08-06&sig=a-secret")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1/account")
    with pytest.raises(Unavailable) as caught:
        Remote("az://container/path")
    told = "".join(traceback.format_exception(caught.value))
    assert "cannot be reached" in told
    assert "a-secret" not in told
