"""HPACK: the examples of its standard, and the hpack package at the other end."""

from __future__ import annotations

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from headway.serving.http2 import huffman
from headway.serving.http2.codes import Code, ConnectionFault
from headway.serving.http2.hpack import EMPTY_TABLE, STATIC, TABLE_BYTES, Decoder, Field, encode

PLENTY = 2**20
SHOP = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SHOP_KEY = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"),
            (b":authority", b"www.example.com"), (b"custom-key", b"custom-value")]  # fmt: skip
MOVED = [(b":status", b"302"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
         (b"location", b"https://www.example.com")]  # fmt: skip
COOKIE = [(b":status", b"200"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
          (b"location", b"https://www.example.com"), (b"content-encoding", b"gzip"),
          (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header")),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),
        ("100870617373776f726406736563726574", (b"password", b"secret")),
        ("82", (b":method", b"GET")),
    ],
)
def test_single_fields_of_the_standard(block: str, field: Field) -> None:
    """RFC 7541, C.2."""
    assert Decoder(PLENTY).decode(bytes.fromhex(block)) == [field]


@pytest.mark.parametrize(
    "blocks",
    [
        ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
         "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"],
        ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
         "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"],
    ],
    ids=["plain", "huffman"],
)  # fmt: skip
def test_requests_of_the_standard(blocks: list[str]) -> None:
    """RFC 7541, C.3 and C.4."""
    decoder = Decoder(PLENTY)
    found = [decoder.decode(bytes.fromhex(block)) for block in blocks]
    assert found == [SHOP, [*SHOP, (b"cache-control", b"no-cache")], SHOP_KEY]


@pytest.mark.parametrize(
    "blocks",
    [
        ["4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f"
         "7777772e6578616d706c652e636f6d", "4803333037c1c0bf",
         "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b42"
         "5a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"],
        ["488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
         "4883640effc1c0bf",
         "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f"
         "3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"],
    ],
    ids=["plain", "huffman"],
)  # fmt: skip
def test_a_small_table_evicts_as_in_the_standard(blocks: list[str]) -> None:
    """RFC 7541, C.5 and C.6: a table of 256 bytes, which is agreed upon in the first block here."""
    decoder = Decoder(PLENTY)
    first, *others = (bytes.fromhex(block) for block in blocks)
    assert decoder.decode(b"\x3f\xe1\x01" + first) == MOVED
    assert [decoder.decode(block) for block in others] == [[(b":status", b"307"), *MOVED[1:]], COOKIE]


def test_the_static_table_is_that_of_the_other() -> None:
    assert HeaderTable.STATIC_TABLE == STATIC


def test_the_huffman_code_is_that_of_the_other() -> None:
    expected = {
        (bits, code): symbol
        for symbol, (code, bits) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))
    }
    assert huffman._codes() == expected


@given(st.binary(max_size=60))
def test_huffman_strings_come_back(text: bytes) -> None:
    packed = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert huffman.decode(packed) == text


@pytest.mark.parametrize("wrong", ["ff", "ffffffff", "1f00", "00", "fffffffc1f"])
def test_strings_that_end_wrongly_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"padding|end"):
        huffman.decode(bytes.fromhex(wrong))


NAMES = st.sampled_from([name for name, _ in STATIC]) | st.binary(min_size=1, max_size=30)
VALUES = st.sampled_from([value for _, value in STATIC]) | st.binary(max_size=400)
FIELDS = st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=8)


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.none() | st.integers(0, TABLE_BYTES)), min_size=1, max_size=6))
def test_what_the_other_writes_is_read(blocks: list[tuple[list[Field], bool, int | None]]) -> None:
    """Also where it repeats itself, and shrinks and widens its table in between."""
    encoder, decoder = hpack.Encoder(), Decoder(PLENTY)
    for fields, packed, size in [*blocks, *blocks]:
        if size is not None:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman=packed)) == fields


@given(st.lists(FIELDS, min_size=1, max_size=4), st.booleans())
def test_what_is_written_the_other_reads(blocks: list[list[Field]], forgets: bool) -> None:
    decoder = hpack.Decoder(max_header_list_size=PLENTY)
    if forgets:
        decoder.max_allowed_table_size = 0
    for place, fields in enumerate([*blocks, *blocks]):
        found = decoder.decode((EMPTY_TABLE if place == 0 else b"") + encode(fields), raw=True)
        assert [tuple(field) for field in found] == fields


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4))
def test_random_blocks_are_read_as_by_the_other_or_refused(blocks: list[bytes]) -> None:
    decoder, other = Decoder(PLENTY), hpack.Decoder()
    for block in blocks:
        try:
            found = decoder.decode(block)
        except ConnectionFault:
            return
        assert found == [tuple(field) for field in other.decode(block, raw=True)]


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"\x80", "no field 0"),
        (b"\xbe", "no field 62"),
        (b"\xff\xff\xff\xff\xff\xff\x01", "too long"),
        (b"\xff\x80", "index out of range"),
        (b"\x40\x05abc", "inside a string"),
        (b"\x40\x81\xff\x00", "padding"),
        (b"\x3f\xe2\x1f", "larger than agreed"),
        (b"\x82\x20", "after a field"),
    ],
)
def test_what_cannot_be_read(block: bytes, why: str) -> None:
    with pytest.raises(ConnectionFault, match=why) as raised:
        Decoder(PLENTY).decode(block)
    assert raised.value.code is Code.COMPRESSION_ERROR


def test_a_list_that_is_too_large_is_left_out_and_the_table_is_kept() -> None:
    decoder, encoder = Decoder(1000), hpack.Encoder()
    large = [(b"name", b"v" * 500), (b"other", b"w" * 500)]
    assert decoder.decode(encoder.encode(large)) is None
    again = encoder.encode(large[:1])
    assert len(again) == 1
    assert decoder.decode(again) == large[:1]


def test_a_small_block_cannot_become_a_large_list() -> None:
    decoder = Decoder(16384)
    assert decoder.decode(hpack.Encoder().encode([(b"n", b"v" * 3000)], huffman=False)) == [(b"n", b"v" * 3000)]
    assert decoder.decode(b"\xbe" * 10_000) is None
