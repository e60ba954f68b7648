"""The tree of a folder: its entries in leaves, which stand in branches, up to one root; each is named by its digest.

Where one node ends and the next begins is decided by the paths alone, so that the same files make the same nodes
whatever was there before, and a file that changes touches one node a level (a prolly tree). A large file's chunks are
named in lists that end at chunks, by the same rule. Nothing says where a piece is kept: that is for the packs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
from blake3 import blake3

from headway.errors import Invalid
from headway.kernel.records import UNREADABLE
from headway.lifecycle.datasets.listing import Entry, entries_from
from headway.lifecycle.datasets.pack import DIGEST_BYTES

MOST_FILES = 50_000_000
MOST_CHUNKS = 16_000_000
"""Of one file: three tebibytes, usually."""
_DEEPEST = 16
_LEAF_MASK, _BRANCH_MASK, _LIST_MASK = 127, 63, 127
_MOST_IN_NODE = 1024


class Leaf(msgspec.Struct, array_like=True, tag="files", frozen=True, forbid_unknown_fields=True):
    """`modes` has a byte an entry, 1 for an executable file; `lists` has the place of a file that is cut into chunks,
    and the digests of its lists, one behind the other."""

    paths: list[str]
    sizes: list[int]
    modes: bytes
    digests: bytes
    lists: dict[int, bytes]


class Branch(msgspec.Struct, array_like=True, tag="nodes", frozen=True, forbid_unknown_fields=True):
    """`files` and `sizes` are of all below each node."""

    firsts: list[str]
    digests: bytes
    files: list[int]
    sizes: list[int]


class Chunks(msgspec.Struct, array_like=True, tag="chunks", frozen=True, forbid_unknown_fields=True):
    lengths: list[int]
    digests: bytes


Put = Callable[[bytes, bytes], None]
"""Keeps a node: its digest, its bytes."""
Get = Callable[[bytes], bytes]
"""The bytes of a node by its digest, verified."""

_decoder: msgspec.msgpack.Decoder[Leaf | Branch | Chunks] = msgspec.msgpack.Decoder(Leaf | Branch | Chunks)
_encode = msgspec.msgpack.Encoder().encode


class _Node(NamedTuple):
    first: str
    digest: bytes
    files: int
    size: int


def split_digests(joined: bytes) -> list[bytes]:
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]


def build(entries: Sequence[Entry], put: Put) -> bytes:
    """Keep the tree of `entries`, which are in order of their paths; returns the digest of its root."""
    nodes = [_leaf(group, put) for group in _leaves(entries)]
    level = 0
    while len(nodes) > 1:
        level += 1
        nodes = [_branch(group, put) for group in _branches(nodes, level)]
    return nodes[0].digest


def put_chunks(chunks: Sequence[tuple[bytes, int]], put: Put) -> tuple[bytes, ...]:
    """Keep the lists of a file's chunks, which are digest and length; returns the lists' digests."""
    found, start = [], 0
    for at, (name, _) in enumerate(chunks, 1):
        full = at - start >= _MOST_IN_NODE or (name[0] & _LIST_MASK == 0 and at - start > 1)
        if full or at == len(chunks):
            group = chunks[start:at]
            lengths, names = [length for _, length in group], b"".join(name for name, _ in group)
            found.append(_kept(Chunks(lengths=lengths, digests=names), put))
            start = at
    return tuple(found)


def entries_of(root: bytes, get: Get) -> Iterator[Entry]:
    """Every file of a tree, in order; raises `Invalid` for what is no tree."""
    for node in leaves_of(root, get):
        yield from leaf_entries(node)


def leaf_entries(leaf: Leaf) -> list[Entry]:
    lists = {at: tuple(split_digests(joined)) for at, joined in leaf.lists.items()}
    return entries_from(leaf.paths, leaf.sizes, map(bool, leaf.modes), split_digests(leaf.digests), lists)


def leaves_of(root: bytes, get: Get, wanted: Callable[[bytes], bool] = lambda digest: True) -> Iterator[Leaf]:
    """The leaves whose digests are `wanted`, and those below branches that are."""
    stack, seen, last = [(root, 0)], 0, ""
    while stack:
        name, depth = stack.pop()
        if not wanted(name):
            continue
        node = read_node(get(name))
        if isinstance(node, Leaf):
            # Here rather than later: a small tree that names one node again and again would fill the memory.
            if not node.paths or node.paths[0] <= last:
                raise Invalid("a tree has a leaf that is empty, or not in its place")
            seen, last = seen + len(node.paths), node.paths[-1]
            if seen > MOST_FILES:
                raise Invalid(f"a version has at most {MOST_FILES} files; split the folder")
            yield node
        elif isinstance(node, Branch) and depth < _DEEPEST and node.digests:
            stack += [(each, depth + 1) for each in reversed(split_digests(node.digests))]
        else:
            raise Invalid("a tree of files has a node that is none of a tree")


def chunks_of(entry: Entry, get: Get) -> Iterator[tuple[bytes, int]]:
    """Digest and length of each piece of a file, in order; raises `Invalid` when they do not make up its size."""
    if not entry.lists:
        if entry.size:
            yield entry.digest, entry.size
        return
    total = count = 0
    for name in entry.lists:
        node = read_node(get(name))
        if not isinstance(node, Chunks):
            raise Invalid(f"{entry.path!r:.300} has a list of chunks that is none")
        total, count = total + sum(node.lengths), count + len(node.lengths)
        if total > entry.size or count > MOST_CHUNKS or not all(node.lengths):
            total = -1
            break
        yield from zip(split_digests(node.digests), node.lengths, strict=True)
    if total != entry.size or count > MOST_CHUNKS:
        raise Invalid(f"{entry.path!r:.300} has chunks of {total} bytes and a size of {entry.size}")


def read_node(data: bytes) -> Leaf | Branch | Chunks:
    """Raises `Invalid` for bytes that are no node, or one whose columns are of different lengths."""
    try:
        node = _decoder.decode(data)
    except UNREADABLE as error:
        raise Invalid(f"a node of a tree cannot be read: {error}") from error
    if isinstance(node, Leaf):
        even = len(node.paths) == len(node.sizes) == len(node.modes) and node.modes.strip(b"\0\1") == b""
        even = even and all(0 <= at < len(node.paths) and joined for at, joined in node.lists.items())
        even = even and all(len(joined) % DIGEST_BYTES == 0 for joined in node.lists.values())
        numbers, count = node.sizes, len(node.paths)
    elif isinstance(node, Branch):
        even = len(node.firsts) == len(node.files) == len(node.sizes)
        numbers, count = node.sizes + node.files, len(node.firsts)
    else:
        even, numbers, count = True, node.lengths, len(node.lengths)
    if not even or len(node.digests) != DIGEST_BYTES * count or min(numbers, default=0) < 0:
        raise Invalid("a node of a tree has columns that do not fit together")
    return node


def _leaves(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    start = 0
    for at, entry in enumerate(entries, 1):
        if crc32(entry.path.encode()) & _LEAF_MASK == 0 or at - start >= _MOST_IN_NODE:
            yield entries[start:at]
            start = at
    if start < len(entries):
        yield entries[start:]


def _branches(nodes: Sequence[_Node], level: int) -> Iterator[Sequence[_Node]]:
    """Two at least in each but the last: every level is at most half as wide as the one below, and one more."""
    start = 0
    for at, node in enumerate(nodes, 1):
        inside = at - start
        if inside >= _MOST_IN_NODE or (inside > 1 and crc32(node.first.encode(), level) & _BRANCH_MASK == 0):
            yield nodes[start:at]
            start = at
    if start < len(nodes):
        yield nodes[start:]


def _leaf(group: Sequence[Entry], put: Put) -> _Node:
    leaf = Leaf(
        paths=[each.path for each in group],
        sizes=[each.size for each in group],
        modes=bytes([each.executable for each in group]),
        digests=b"".join([each.digest for each in group]),
        lists={at: b"".join(each.lists) for at, each in enumerate(group) if each.lists},
    )
    return _Node(group[0].path, _kept(leaf, put), len(group), sum(leaf.sizes))


def _branch(group: Sequence[_Node], put: Put) -> _Node:
    branch = Branch(
        firsts=[each.first for each in group],
        digests=b"".join([each.digest for each in group]),
        files=[each.files for each in group],
        sizes=[each.size for each in group],
    )
    return _Node(group[0].first, _kept(branch, put), sum(branch.files), sum(branch.sizes))


def _kept(node: Any, put: Put) -> bytes:
    data = _encode(node)
    name = blake3(data).digest()
    put(name, data)
    return name
