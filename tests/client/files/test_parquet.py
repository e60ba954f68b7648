"""A Parquet file is cut where its row groups end: written again with more of them, it shares those that it had."""

from __future__ import annotations

import random
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.client.files import contents
from headway.client.files.parquet import row_group_cuts
from headway.client.files.scanning import Found, found_of
from tests.client.files.conftest import Place

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def group(rows: int, seed: int) -> pa.Table:
    random_numbers = np.random.default_rng(seed)
    return pa.table(
        {
            "number": random_numbers.integers(0, 2**62, rows),
            "float": pa.array(random_numbers.random(rows), mask=random_numbers.random(rows) < 0.1),
            "text": [f"{value:x}" for value in random_numbers.integers(0, 9, rows)],
            "list": [[seed, at] for at in range(rows)],
            "flag": random_numbers.random(rows) < 0.5,
        }
    )


def written(groups: list[tuple[int, int]], **options: Any) -> bytes:
    """Parquet with a row group for each (rows, seed)."""
    file = BytesIO()
    with pq.ParquetWriter(file, group(1, 0).schema, **options) as writer:
        for rows, seed in groups:
            writer.write_table(group(rows, seed), row_group_size=max(rows, 1))
    return file.getvalue()


def cuts_of(path: Path, data: bytes) -> list[int]:
    path.write_bytes(data)
    with path.open("rb") as file:
        return row_group_cuts(file.fileno(), len(data))


def cut(path: Path, data: bytes) -> dict[bytes, bytes]:
    """The chunks of a file by their names; together they are the file."""
    path.write_bytes(data)
    chunks: dict[bytes, bytes] = {}

    def take(name: bytes, piece: bytes | memoryview) -> None:
        assert blake3(piece).digest() == name
        chunks[name] = bytes(piece)

    expected: Found = found_of(path.name, path.stat())
    _, digest, order = contents.chunked(str(path.parent), expected, take)
    assert b"".join(chunks[name] for name, _ in order) == data
    assert [len(chunks[name]) for name, _ in order] == [length for _, length in order]
    assert all(length <= contents.LARGEST_CHUNK for _, length in order)
    assert digest == blake3(data).digest()
    return chunks


def known_ends(data: bytes) -> list[int]:
    """As pyarrow reads them."""
    footer = pq.read_metadata(BytesIO(data))
    ends = []
    for at in range(footer.num_row_groups):
        columns = [footer.row_group(at).column(place) for place in range(footer.num_columns)]
        starts = [
            min(each.data_page_offset, each.dictionary_page_offset or each.data_page_offset) for each in columns
        ]  # fmt: skip
        ends.append(max(start + each.total_compressed_size for start, each in zip(starts, columns, strict=True)))
    return [*ends, len(data) - 8 - footer.serialized_size]


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zstd", "write_page_index": True}, {"use_dictionary": False, "version": "1.0"}]
)
def test_ends_are_those_of_the_footer(tmp_path: Path, options: dict[str, Any]) -> None:
    data = written([(500, 1), (1, 2), (3000, 3)], **options)
    known = known_ends(data)
    assert cuts_of(tmp_path / "file", data) == [4, *sorted(set(known))]
    assert len(known) == 4


def test_ends_of_what_polars_writes(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(5000), "b": [str(at) for at in range(5000)], "c": [[at] for at in range(5000)]})
    file = BytesIO()
    frame.write_parquet(file, row_group_size=1000)
    known = known_ends(file.getvalue())
    assert len(known) == 6
    assert cuts_of(tmp_path / "file", file.getvalue()) == [4, *sorted(set(known))]


@SETTINGS
@given(
    groups=st.lists(st.tuples(st.integers(1, 30_000), st.integers(0, 99)), min_size=1, max_size=6),
    more=st.tuples(st.integers(1, 30_000), st.integers(100, 199)),
    compression=st.sampled_from(["none", "snappy", "zstd"]),
)
def test_one_more_row_group_is_all_that_is_new(
    tmp_path: Path, groups: list[tuple[int, int]], more: tuple[int, int], compression: str
) -> None:
    before, after = written(groups, compression=compression), written([*groups, more], compression=compression)
    known, now = cut(tmp_path / "file", before), cut(tmp_path / "file", after)
    new = sum(len(piece) for name, piece in now.items() if name not in known)
    *_, last, footer = known_ends(after)
    first = known_ends(before)[-2]
    assert new <= (last - first) + (len(after) - footer) + (footer - last) + contents.SMALLEST_CHUNK


@SETTINGS
@given(data=st.data())
def test_a_footer_that_lies_changes_no_byte(tmp_path: Path, data: st.DataObject) -> None:
    file = bytearray(written([(20_000, 1), (100, 2), (20_000, 3)]))
    footer = int.from_bytes(file[-8:-4], "little") + 8
    for _ in range(data.draw(st.integers(1, 20))):
        file[-data.draw(st.integers(1, footer))] = data.draw(st.integers(0, 255))
    ends = cuts_of(tmp_path / "file", bytes(file))
    assert ends == sorted(set(ends))
    cut(tmp_path / "file", bytes(file))


@pytest.mark.parametrize(("number", "cuts"), [(b"\x02", [4, 24, 44]), (b"\xff" * 12 + b"\x01", [])])
def test_a_number_of_more_than_64_bits_is_none(tmp_path: Path, number: bytes, cuts: list[int]) -> None:
    """A footer may have megabytes, of which no number is to be made."""
    column = b"\x76\x28\x26\x08\x00"  # 20 bytes, from offset 4
    footer = b"\x49\x1c\x19\x1c\x3c" + column + b"\x00\x00\x16" + number + b"\x00"
    data = b"PAR1" + bytes(40) + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    assert cuts_of(tmp_path / "file", data) == cuts


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + b"\xff" * 30 + b"PAR1", bytes(range(100))])
def test_what_is_no_parquet_has_no_row_groups(tmp_path: Path, data: bytes) -> None:
    assert cuts_of(tmp_path / "file", data) == []


def test_versions_of_a_folder_of_parquet(place: Place, tmp_path: Path) -> None:
    """The first row groups gone, others in another order, one more behind: what was there already is not kept again."""
    folder = tmp_path / "data"
    folder.mkdir()
    groups = [(20_000, seed) for seed in range(8)]
    orders = [groups, groups[2:], random.Random(7).sample(groups, 8), [*groups, (20_000, 8)]]
    states = [written(order, compression="none") for order in orders]
    stored = []
    for state in states:
        (folder / "rows.parquet").write_bytes(state)
        stored.append(place.client.datasets.add_files(place.name, folder).stored)
    one = len(states[0]) // 8
    assert stored[1] < 100_000
    assert stored[2] < 100_000
    assert stored[3] < one + 100_000
    for number, state in enumerate(states, 1):
        place.client.datasets.checkout(f"{place.name}@{number}", tmp_path / "out")
        assert (tmp_path / "out" / "rows.parquet").read_bytes() == state
