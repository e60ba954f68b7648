"""A missing package is said, with what to install; a fault of our own is not taken for one."""

from __future__ import annotations

import pytest

from headway.errors import ExtraMissing
from headway.server.extras import needs_ml


@pytest.mark.parametrize(("name", "kind"), [("polars", ExtraMissing), ("headway.engines.frames", ModuleNotFoundError)])
def test_only_other_peoples_packages_are_extras(name: str, kind: type[Exception]) -> None:
    @needs_ml
    def work() -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    with pytest.raises(kind) as found:
        work()
    assert ("pip install 'headway[ml]'" in str(found.value)) == (kind is ExtraMissing)
