"""What holds for blobs. The fixture `blobs` gives an empty store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import Invalid, NotFound
from headway.kernel.blobs import BlobStore, BlobsUsed
from headway.kernel.records import digest

_UNKNOWN = "b3:" + "0" * 64
_A = digest(b"a")


class BlobStoreContract:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.binary(max_size=200_000))
    def test_bytes_come_back_under_their_digest(self, blobs: BlobStore, data: bytes) -> None:
        assert blobs.put(data) == digest(data)
        assert blobs.put(data) == digest(data)
        assert blobs.get(digest(data)) == data
        assert blobs.has(digest(data))

    def test_all_that_is_kept(self, blobs: BlobStore) -> None:
        digests = {blobs.put(data) for data in (b"", b"a", b"b")}
        assert {each.digest: each.size for each in blobs.all()} == {digest(b""): 0, digest(b"a"): 1, digest(b"b"): 1}
        blobs.delete(digest(b"a"))
        assert {each.digest for each in blobs.all()} == digests - {digest(b"a")}

    def test_what_is_discarded_is_had_back_by_whoever_asks_for_it(self, blobs: BlobStore) -> None:
        asks = (lambda: blobs.put(b"a"), lambda: blobs.get(_A), lambda: blobs.has(_A))
        for ask in asks:
            blobs.put(b"a")
            blobs.discard(_A)
            assert ([each.digest for each in blobs.all()], [each.digest for each in blobs.discarded()]) == ([], [_A])
            assert ask()
            assert ([each.digest for each in blobs.all()], list(blobs.discarded())) == ([_A], [])
            assert blobs.get(_A) == b"a"

    def test_what_is_destroyed_is_gone_and_what_was_had_back_stays(self, blobs: BlobStore) -> None:
        blobs.put(b"a")
        blobs.destroy(_A)
        assert blobs.get(_A) == b"a"
        blobs.discard(_A)
        blobs.destroy(_A)
        assert not blobs.has(_A)
        assert not list(blobs.all())
        assert not list(blobs.discarded())
        blobs.discard(_UNKNOWN)
        blobs.destroy(_UNKNOWN)

    def test_what_they_take(self, blobs: BlobStore) -> None:
        assert blobs.used() == BlobsUsed()
        for data in (b"a", b"bc", b"bc"):
            blobs.put(data)
        assert blobs.used() == BlobsUsed(objects=2, bytes=3)
        blobs.discard(_A)
        assert blobs.used() == BlobsUsed(objects=2, bytes=3)
        blobs.destroy(_A)
        assert blobs.used() == BlobsUsed(objects=1, bytes=2)

    def test_a_file_becomes_a_blob_and_is_gone(self, blobs: BlobStore, tmp_path: Path) -> None:
        for data in (b"a", b"a", b"", b"b" * 300_000):
            file = tmp_path / "file"
            file.write_bytes(data)
            blobs.adopt(file, digest(data))
            assert not file.exists()
            assert blobs.get(digest(data)) == data
        assert blobs.used() == BlobsUsed(objects=3, bytes=300_001)
        blobs.discard(_A)
        (tmp_path / "file").write_bytes(b"a")
        blobs.adopt(tmp_path / "file", _A)
        assert blobs.get(_A) == b"a"

    def test_parts(self, blobs: BlobStore) -> None:
        name = blobs.put(b"abcdef")
        assert [blobs.part(name, *part) for part in ((0, 6), (2, 3), (6, 0), (5, 1))] == [b"abcdef", b"cde", b"", b"f"]
        blobs.discard(name)
        assert blobs.part(name, 1, 1) == b"b"
        assert [each.digest for each in blobs.all()] == [name]
        for start, length in ((0, 7), (6, 1), (-1, 1), (0, -1), (7, 0)):
            with pytest.raises(Invalid):
                blobs.part(name, start, length)
        with pytest.raises(NotFound):
            blobs.part(_UNKNOWN, 0, 0)

    def test_age_counts_from_the_last_put(self, blobs: BlobStore) -> None:
        blobs.put(b"a")
        (first,) = blobs.all()
        blobs.put(b"b")
        blobs.put(b"a")
        assert next(each for each in blobs.all() if each.digest == _A).at >= first.at
        blobs.discard(_A)
        assert next(iter(blobs.discarded())).at >= first.at

    def test_nothing_is_lost_between_threads_that_discard_and_bring_back(self, blobs: BlobStore) -> None:
        names = [blobs.put(bytes([number])) for number in range(8)]

        def discard() -> None:
            for _ in range(20):
                for name in names:
                    blobs.discard(name)

        def use() -> None:
            for _ in range(20):
                for number, name in enumerate(names):
                    assert blobs.get(name) == bytes([number])
                    assert blobs.put(bytes([number])) == name

        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(work) for work in (discard, use, use)]:
                done.result()

    def test_what_is_not_there(self, blobs: BlobStore) -> None:
        assert not blobs.has(_UNKNOWN)
        blobs.delete(_UNKNOWN)
        with pytest.raises(NotFound):
            blobs.get(_UNKNOWN)

    @pytest.mark.parametrize("text", ["", "b3:", "b3:../../etc/passwd", "b3:" + "A" * 64, "sha256:" + "0" * 64])
    def test_only_digests_are_understood(self, blobs: BlobStore, text: str) -> None:
        for ask in (blobs.get, blobs.has, blobs.delete, blobs.discard, blobs.destroy, blobs.address):
            with pytest.raises(Invalid):
                ask(text)
