"""A profile as it is kept: deflated, and readable as it was kept before."""

from __future__ import annotations

import zlib

import pytest

from headway.errors import Invalid
from headway.kernel.records import encode
from headway.lifecycle.datasets.profile import Layout, NumericLayout, NumericProfile, Profile
from headway.lifecycle.datasets.reference import Reference, encode_reference, read_reference


def reference() -> Reference:
    layout = Layout(columns={"x": NumericLayout(cuts=tuple(float(cut) for cut in range(500)))})
    column = NumericProfile(n=0, nulls=0, non_finite=0, counts=(0,) * 501)
    return Reference(layout=layout, whole=Profile(layout=layout.digest, rows=0, columns={"x": column}))


def test_what_is_kept_is_read() -> None:
    kept = encode_reference(reference())
    assert read_reference(kept) == reference()
    assert len(kept) < len(encode(reference())) / 2


def test_what_was_kept_before_is_read() -> None:
    assert read_reference(encode(reference())) == reference()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"{}", b"PAR1", zlib.compress(b"{"), encode_reference(reference())[:-1],
             encode_reference(reference()) + b"more"],
)  # fmt: skip
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        read_reference(data)


def test_what_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.lifecycle.datasets.reference._MOST_BYTES", 1000)
    with pytest.raises(Invalid, match="at most"):
        read_reference(zlib.compress(b"{" + b" " * 2000))
