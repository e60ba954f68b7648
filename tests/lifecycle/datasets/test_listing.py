from __future__ import annotations

import re
from contextlib import suppress

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import Invalid
from headway.lifecycle.datasets.globs import matcher
from headway.lifecycle.datasets.listing import Entry, checked_paths, clashes, folders_of, listing_digest

BAD = [
    "", "/", "/etc/passwd", "..", "../a", "a/..", "a/../b", "a/./b", ".", "a//b", "a/", "a\nb", "a\0b", "a\\b", "\x7f",
    "\ud800", "x" * 256, "/".join(["x" * 200] * 30), "a/" + "ä" * 128,
]  # fmt: skip
GOOD = ["a", "...", "..a", "a..", ".hidden", "a b", "a/b.c", "ä/ö", "~", "$HOME", "-rf", "con", "x" * 255, "a:b", "*"]


@pytest.mark.parametrize("path", BAD)
def test_paths_that_lead_elsewhere_or_cannot_be_written(path: str) -> None:
    for around in ([path], sorted(["a0", path, "zz"])):
        with pytest.raises(Invalid):
            checked_paths(around)


@pytest.mark.parametrize("path", GOOD)
def test_paths_that_are_only_odd(path: str) -> None:
    checked_paths([path])
    checked_paths(sorted({"a0", path, "zz/a"}))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_what_is_let_through_stays_inside(paths: list[str]) -> None:
    """Against a plain rule, part by part."""
    try:
        checked_paths(paths)
    except Invalid:
        return
    assert paths == sorted(set(paths))
    for path in paths:
        parts = path.split("/")
        assert all(part not in ("", ".", "..") and not re.search(r"[\x00-\x1f\x7f\\]", part) for part in parts)
        path.encode()


@pytest.mark.parametrize("paths", [["b", "a"], ["a", "a"], ["a", "a-b", "a/b"]])
def test_a_listing_is_in_order_and_each_is_one_thing(paths: list[str]) -> None:
    with pytest.raises(Invalid):
        checked_paths(paths)


def test_names_that_are_one_where_capitals_are_not_told_apart() -> None:
    assert clashes(["A/x", "a/y", "b"]) == [("A", "a")]
    assert clashes(["e\u0301", "\xe9"]) == [("e\u0301", "\xe9")]
    assert clashes(["a", "b/a"]) == []
    assert folders_of(["a/b/c", "d"]) == {"a", "a/b"}


def test_the_digest_is_that_of_lines_anybody_can_write() -> None:
    name = blake3(b"hi").digest()
    lines = f"{name.hex()} - 2 a\n{name.hex()} x 2 b c\n"
    assert listing_digest([Entry("a", 2, False, name), Entry("b c", 2, True, name)]) == (
        "b3:" + blake3(lines.encode()).hexdigest()
    )


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.png", ["a.png", "d/e/b.png", ".png"], ["a.pngx", "png"]),
        ("train/*", ["train/a", "train/d/b"], ["test/a", "x/train/a", "train"]),
        ("train/**", ["train/a", "train/d/b"], ["trainer/a"]),
        ("**/x", ["x", "a/x", "a/b/x", "a/x/y"], ["ax"]),
        ("train", ["train", "train/a", "d/train/b"], ["trainer"]),
        ("a/[0-9]?.txt", ["a/1x.txt"], ["a/x1.txt", "a/1/.txt", "a/1.txt"]),
        ("[!a]", ["b"], ["a", "bb"]),
        ("a/*/c", ["a/b/c"], ["a/c", "a/b/b/c"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], others: list[str]) -> None:
    matches = matcher([pattern])
    assert [path for path in matching if not matches(path)] == []
    assert [path for path in others if matches(path)] == []


def test_no_pattern_matches_nothing_and_one_that_leads_out_is_refused() -> None:
    assert not matcher([])("a")
    for pattern in ("", "/", "../a", "a/../b", "[z-a]"):
        with pytest.raises(Invalid):
            matcher([pattern])


@given(st.text(min_size=1, max_size=12))
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    with suppress(Invalid):
        matcher([pattern])("a/b")
