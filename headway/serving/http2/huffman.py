"""The Huffman code of header strings (RFC 7541, 5.2 and appendix B), read half a byte at a time.

The code is canonical: codes of one length are consecutive, in the order of their symbols, so that the lengths alone
define it. No code is shorter than five bits, so that half a byte ends one symbol at most.
"""

from __future__ import annotations

from array import array
from functools import cache
from typing import NamedTuple

_END = 256
_SYMBOLS: dict[int, bytes | tuple[int, ...]] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: (92, 195, 208),
    20: (128, 130, 131, 162, 184, 194, 224, 226),
    21: (153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230),
    22: (129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196,
         198, 228, 232, 233),
    23: (1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180,
         182, 183, 188, 191, 197, 231, 239),
    24: (9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237),
    25: (199, 207, 234, 235),
    26: (192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255),
    27: (203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254),
    28: (*range(2, 9), 11, 12, *range(14, 22), *range(23, 32), 127, 220, 249),
    30: (10, 13, 22, _END),
}  # fmt: skip
"""By the length of their codes in bits."""
_NONE = -1
_LONGEST_PADDING = 7

Node = tuple[int, int]
"""A place in the tree: how many bits lead there, and which."""
_ROOT: Node = (0, 0)


class Table(NamedTuple):
    """What half a byte does in each state, by `state << 4 | half`, in few bytes."""

    states: bytes
    """The state after it."""
    symbols: array[int]
    """The symbol that it ends, or none, or that of the end."""
    ends: set[int]
    """The states in which a string may end: what was read since the last symbol is padding."""


def decode(data: bytes) -> bytes:
    """Raises ValueError when it is no string in this code."""
    states, symbols, ends = _table()
    state, found = 0, bytearray()
    for byte in data:
        for half in (byte >> 4, byte & 0xF):
            place = state << 4 | half
            state, symbol = states[place], symbols[place]
            if symbol == _NONE:
                continue
            if symbol == _END:
                raise ValueError("the end of a string stands inside of it")
            found.append(symbol)
    if state not in ends:
        raise ValueError("the padding of a string is wrong")
    return bytes(found)


@cache
def _table() -> Table:
    codes = _codes()
    inner = sorted({(length, code >> (bits - length)) for bits, code in codes for length in range(bits)})
    numbers = {node: number for number, node in enumerate(inner)}
    steps = [_step(codes, node, half) for node in inner for half in range(16)]
    ends = {numbers[length, (1 << length) - 1] for length in range(_LONGEST_PADDING + 1)}
    return Table(bytes(numbers[node] for node, _ in steps), array("h", (symbol for _, symbol in steps)), ends)


def _codes() -> dict[Node, int]:
    """The symbols, by their codes."""
    found: dict[Node, int] = {}
    code, before = 0, 0
    for bits, symbols in _SYMBOLS.items():
        code <<= bits - before
        for symbol in symbols:
            found[bits, code] = symbol
            code += 1
        before = bits
    return found


def _step(codes: dict[Node, int], node: Node, half: int) -> tuple[Node, int]:
    """Where half a byte leads to, and the symbol that it ends."""
    ended = _NONE
    for shift in (3, 2, 1, 0):
        node = node[0] + 1, node[1] << 1 | (half >> shift & 1)
        if node in codes:
            ended, node = codes[node], _ROOT
            if ended == _END:
                break
    return node, ended
