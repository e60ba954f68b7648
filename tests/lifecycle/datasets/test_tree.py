from __future__ import annotations

import msgspec
import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headway.errors import Invalid
from headway.lifecycle.datasets.listing import Entry
from headway.lifecycle.datasets.pack import HEAD, Index, check_pieces, index_tail, read_tail
from headway.lifecycle.datasets.tree import build, chunks_of, entries_of, put_chunks, read_node

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\."), min_size=1)


def name_of(data: bytes) -> bytes:
    return blake3(data).digest()


def entry(path: str, content: str = "", lists: tuple[bytes, ...] = ()) -> Entry:
    return Entry(path, len(content), False, name_of(content.encode()), lists)


def kept(entries: list[Entry]) -> tuple[bytes, dict[bytes, bytes]]:
    nodes: dict[bytes, bytes] = {}
    return build(entries, nodes.__setitem__), nodes


@given(st.dictionaries(names, st.text(max_size=3), min_size=1, max_size=400))
@settings(max_examples=30, deadline=None)
def test_what_is_built_is_read_back(files: dict[str, str]) -> None:
    entries = [entry(path, files[path]) for path in sorted(files)]
    root, nodes = kept(entries)
    assert list(entries_of(root, nodes.__getitem__)) == entries
    assert all(name_of(data) == name for name, data in nodes.items())


def test_one_file_of_a_hundred_thousand_touches_one_node_a_level() -> None:
    entries = [entry(f"d{number // 1000:03}/f{number:06}", str(number)) for number in range(100_000)]
    _, before = kept(entries)
    entries[50_000] = entry(entries[50_000].path, "another")
    _, after = kept(entries)
    fresh = {name: data for name, data in after.items() if name not in before}
    assert len(fresh) <= 4
    assert sum(map(len, fresh.values())) < 60_000
    del entries[70_000]
    _, less = kept(entries)
    assert sum(len(data) for name, data in less.items() if name not in after) < 100_000


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=4), st.just(1)), min_size=1, max_size=3000))
@settings(max_examples=20, deadline=None)
def test_lists_of_chunks(drawn: list[tuple[bytes, int]]) -> None:
    nodes: dict[bytes, bytes] = {}
    chunks = [(name_of(data), len(data)) for data, _ in drawn]
    lists = put_chunks(chunks, nodes.__setitem__)
    file = Entry("a", sum(length for _, length in chunks), False, name_of(b""), lists)
    assert list(chunks_of(file, nodes.__getitem__)) == chunks
    with pytest.raises(Invalid, match="size"):
        list(chunks_of(file._replace(size=file.size + 1), nodes.__getitem__))


def test_a_chunk_that_changes_touches_one_list() -> None:
    nodes: dict[bytes, bytes] = {}
    chunks = [(name_of(str(number).encode()), 1000) for number in range(20_000)]
    first = put_chunks(chunks, nodes.__setitem__)
    chunks[9000] = (name_of(b"another"), 1000)
    second = put_chunks(chunks, nodes.__setitem__)
    assert len(set(second) - set(first)) <= 2


@given(st.binary(max_size=200))
@example(b"\x91\xa8not-utf\x80")
def test_bytes_that_are_no_node(data: bytes) -> None:
    try:
        node = read_node(data)
    except Invalid:
        return
    assert len(node.digests) % 32 == 0


CROOKED = [
    ["files", ["a"], [1], b"\0", b"", {}],
    ["files", ["a"], [], b"\0", b"x" * 32, {}],
    ["files", ["a"], [-1], b"\0", b"x" * 32, {}],
    ["files", ["a"], [1], b"\2", b"x" * 32, {}],
    ["files", ["a"], [1], b"\0", b"x" * 32, {1: b"x" * 32}],
    ["files", ["a"], [1], b"\0", b"x" * 32, {0: b"x"}],
    ["nodes", ["a"], b"x", [1], [1]],
    ["nodes", ["a"], b"x" * 32, [1], []],
    ["chunks", [1], b""],
    ["chunks", [-1], b"x" * 32],
    ["other"],
]


@pytest.mark.parametrize("node", CROOKED, ids=str)
def test_nodes_whose_columns_do_not_fit(node: object) -> None:
    with pytest.raises(Invalid):
        read_node(msgspec.msgpack.encode(node))


def test_a_tree_that_does_not_end_is_refused() -> None:
    """No digest can stand in its own node; a deep chain can."""
    nodes: dict[bytes, bytes] = {}
    root = build([entry("a")], nodes.__setitem__)
    for _ in range(20):
        data = msgspec.msgpack.encode(["nodes", ["a"], root, [1], [1]])
        root = name_of(data)
        nodes[root] = data
    with pytest.raises(Invalid):
        list(entries_of(root, nodes.__getitem__))


def test_a_small_tree_that_claims_to_be_a_large_one_is_refused_at_once() -> None:
    """A node that is named a thousand times on each of three levels would be a thousand million files."""
    nodes: dict[bytes, bytes] = {}
    read: list[bytes] = []

    def put(node: object) -> bytes:
        data = msgspec.msgpack.encode(node)
        nodes[name_of(data)] = data
        return name_of(data)

    def get(name: bytes) -> bytes:
        read.append(name)
        return nodes[name]

    for leaf in (["files", ["a"], [0], b"\0", b"x" * 32, {}], ["files", [], [], b"", b"", {}]):
        root = put(leaf)
        for _ in range(3):
            root = put(["nodes", ["a"] * 1000, root * 1000, [1] * 1000, [1] * 1000])
        with pytest.raises(Invalid, match="not in its place"):
            list(entries_of(root, get))
    assert len(read) < 20
    chunks = put(["chunks", [1] * 1000, b"x" * 32_000])
    with pytest.raises(Invalid, match="chunks"):
        list(chunks_of(Entry("a", 1500, False, b"x" * 32, (chunks,) * 1_000_000), get))
    empty = put(["chunks", [0] * 1000, b"x" * 32_000])
    with pytest.raises(Invalid, match="chunks"):
        list(chunks_of(Entry("a", 0, False, b"x" * 32, (empty,) * 1_000_000), get))
    assert len(read) < 30


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=20, unique=True), st.data())
def test_a_pack_tells_where_its_pieces_are_and_damage_is_found(pieces: list[bytes], data: st.DataObject) -> None:
    index = Index(digests=b"".join(map(name_of, pieces)), lengths=[len(piece) for piece in pieces])
    tail = index_tail(index)
    pack = HEAD + b"".join(pieces) + tail
    assert read_tail(tail, len(pack)) == index
    check_pieces(pack, index)
    for name, (_, offset, length) in index.places("b3:x"):
        assert name_of(pack[offset : offset + length]) == name
    at = data.draw(st.integers(0, len(pack) - len(tail) - 1))
    damaged = pack[:at] + bytes([pack[at] ^ 1]) + pack[at + 1 :]
    with pytest.raises(Invalid):
        check_pieces(damaged, index)
    with pytest.raises(Invalid):
        read_tail(tail, len(pack) + 1)


@given(st.binary(max_size=100), st.integers(0, 1000))
def test_bytes_that_are_no_index(tail: bytes, size: int) -> None:
    with pytest.raises(Invalid):
        read_tail(tail, size)
