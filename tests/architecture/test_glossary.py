"""The glossary's prefixes are those of the code, each beside its word."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import headway.kernel
import headway.lifecycle
from headway.kernel.records import Record
from tests.architecture.documents import codes, section


def subclasses(kind: type[Record]) -> Iterator[type[Record]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def words_of_code() -> dict[str, str]:
    """Prefix -> the words of the record that has it."""
    for package in (headway.kernel, headway.lifecycle):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    own = [kind for kind in subclasses(Record) if kind.__module__.startswith("headway.") and "prefix" in vars(kind)]
    prefixes = [kind.prefix for kind in own]
    assert len(set(prefixes)) == len(prefixes), "two records share a prefix"
    return {kind.prefix: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower() for kind in own}


def test_prefixes_stand_beside_their_words() -> None:
    told: dict[str, str] = {}
    for words, _, prefixes in section("docs/glossary.md", "Glossary").rows:
        each, its = words.split(", "), prefixes.split(", ")
        if its == ["-"]:
            continue
        assert len(each) == len(its), f"{words}: a prefix, or a dash, for each word"
        told |= {codes(prefix)[0]: word for word, prefix in zip(each, its, strict=True) if prefix != "-"}
    assert told == words_of_code()
