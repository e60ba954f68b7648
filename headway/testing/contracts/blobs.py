"""What holds for blobs. The fixture `blobs` gives an empty store."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import Invalid, NotFound
from headway.kernel.blobs import BlobStore
from headway.kernel.records import digest

_UNKNOWN = "b3:" + "0" * 64


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
        assert set(blobs.all()) == digests
        blobs.delete(digest(b"a"))
        assert set(blobs.all()) == digests - {digest(b"a")}

    def test_what_is_not_there(self, blobs: BlobStore) -> None:
        assert not blobs.has(_UNKNOWN)
        blobs.delete(_UNKNOWN)
        with pytest.raises(NotFound):
            blobs.get(_UNKNOWN)

    @pytest.mark.parametrize("text", ["", "b3:", "b3:../../etc/passwd", "b3:" + "A" * 64, "sha256:" + "0" * 64])
    def test_only_digests_are_understood(self, blobs: BlobStore, text: str) -> None:
        for ask in (blobs.get, blobs.has, blobs.delete, blobs.address):
            with pytest.raises(Invalid):
                ask(text)
