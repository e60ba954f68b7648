"""A missing package is said, with what to install, and nothing is loaded to find out."""

from __future__ import annotations

import sys

import pytest

from headway.engines.tables.readers import Readers
from headway.errors import ExtraMissing
from headway.server.extras import Tables, need


@pytest.mark.parametrize("name", ["polars", "numpy"])
def test_without_its_packages_a_table_is_not_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need.cache_clear()
    monkeypatch.setitem(sys.modules, name, None)
    readers = Readers()
    tables = Tables(readers)
    for _ in range(2):
        with pytest.raises(ExtraMissing, match=rf"tables need {name}, which is not installed: .*headway\[ml\]"):
            tables.summarise(b"")
    assert readers.pids == ()
