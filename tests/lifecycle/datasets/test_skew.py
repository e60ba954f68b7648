"""Skew of values is refused or warned of, skew of the schema always stops; tags; a contract as a page."""

from __future__ import annotations

from typing import Any

import pytest

from headway.errors import ContractBroken, Invalid
from headway.kernel.access import SYSTEM
from headway.kernel.records import encode
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, WhenSkewed, checked_contract
from headway.lifecycle.datasets.describing import described
from headway.lifecycle.datasets.records import AddVersion, DatasetVersion
from headway.lifecycle.datasets.schema import ColumnSummary, Kind, Summary
from headway.testing.memory_platform import open_platform

STRICT = Contract(columns=(ColumnRule(name="km", kind=Kind.FLOAT, low=0, high=100),), min_rows=2)
WARNING = STRICT.but(when_skewed=WhenSkewed.WARN)
CHANGING = STRICT.but(when_skewed=WhenSkewed.CHANGE)


def added(contract: Contract, rows: int = 5, **column: Any) -> DatasetVersion:
    platform = open_platform().platform
    summary = ColumnSummary(**{"name": "km", "kind": Kind.FLOAT, "nulls": 0, "low": 1.0, "high": 9.0, **column})
    blob = platform.blobs.put(encode(Summary(rows=rows, columns=(summary,))))
    version = platform.datasets.add(AddVersion(dataset="trips", blob=blob, contract=contract), by=SYSTEM)
    if contract.when_skewed is not WhenSkewed.REFUSE and version.skew:
        with pytest.raises(ContractBroken):
            platform.datasets.check(blob, contract)
    return version


@pytest.mark.parametrize(
    ("column", "rule"), [({"high": 101.0}, "high"), ({"low": -1.0}, "low"), ({"nulls": 1}, "nulls")]
)
def test_values_are_warned_of_where_the_contract_says_so(column: dict[str, Any], rule: str) -> None:
    with pytest.raises(ContractBroken, match=rule):
        added(STRICT, **column)
    for contract in (WARNING, CHANGING):
        assert [each.rule for each in added(contract, **column).skew] == [rule]
        assert added(contract).skew == ()


def test_a_column_may_say_otherwise() -> None:
    [km] = STRICT.columns
    with pytest.raises(ContractBroken, match="high"):
        added(WARNING.but(columns=(km.but(when_skewed=WhenSkewed.REFUSE),)), high=101.0)
    assert added(STRICT.but(columns=(km.but(when_skewed=WhenSkewed.CHANGE),)), high=101.0).skew
    both = WARNING.but(columns=(km, km.but(name="h", when_skewed=WhenSkewed.CHANGE), km.but(name="t")))
    assert both.columns_to(WhenSkewed.CHANGE) == {"h"}
    assert both.columns_to(WhenSkewed.WARN) == {"km", "t"}
    assert len({contract.digest for contract in (STRICT, WARNING, CHANGING, CHANGING.but(tolerated=0.2), both)}) == 5


@pytest.mark.parametrize(
    ("changes", "rule"), [({"kind": Kind.STR}, "kind"), ({"name": "miles"}, "required"), ({"rows": 1}, "min_rows")]
)
def test_a_schema_that_is_another_always_stops(changes: dict[str, Any], rule: str) -> None:
    for contract in (STRICT, WARNING, CHANGING):
        with pytest.raises(ContractBroken, match=rule):
            added(contract, **changes)


@pytest.mark.parametrize("tag", ["pii", "licence:cc-by-nc", "team/a.b_c", "licence:CC-BY-4.0+"])
def test_tags_that_may_be(tag: str) -> None:
    assert checked_contract(STRICT.but(tags=(tag,))).tags == (tag,)


@pytest.mark.parametrize("tag", ["", "PII", "a b", "licence:", "a" * 101, "a\nb", ":x"])
def test_tags_that_may_not(tag: str) -> None:
    with pytest.raises(Invalid, match="is no tag"):
        checked_contract(STRICT.but(tags=(tag,)))
    with pytest.raises(Invalid, match="is no tag"):
        checked_contract(STRICT.but(columns=(STRICT.columns[0].but(tags=("pii", tag)),)))


def test_a_contract_as_a_page() -> None:
    contract = Contract(
        columns=(
            ColumnRule(name="km", kind=Kind.FLOAT, low=0, high=100, unit="km", default=5.0, tags=("pii",)),
            ColumnRule(name="a|b\n# <x>", kind=Kind.STR, levels=("x", "y|z"), nulls=0.5, required=False),
            ColumnRule(name="late", kind=Kind.INT, use=Use.LABEL, median=(0, 1)),
        ),
        min_rows=1000, closed=False, tags=("licence:mit",),
    )  # fmt: skip
    page = described(contract, "trips@3")
    assert page.splitlines() == [
        "# trips@3",
        "",
        f"Contract `{contract.digest}`.",
        "",
        "- At least 1,000 rows.",
        "- Other columns may be there.",
        "- Values outside of these rules are refused.",
        "- Tags: licence:mit.",
        "",
        "| column | kind | use | values | nulls | unit | default | tags |",
        "|---|---|---|---|---|---|---|---|",
        "| km | float | feature | 0 to 100 | none | km | 5.0 | pii |",
        "| a\\|b # &lt;x&gt; (may be absent) | str | feature | one of x, y\\|z | at most 50.0% |  |  |  |",
        "| late | int | label | median 0 to 1 | none |  |  |  |",
    ]
    km, *others = contract.columns
    other = contract.but(when_skewed=WhenSkewed.WARN, columns=(km.but(when_skewed=WhenSkewed.CHANGE), *others))
    assert described(other, "trips@3").splitlines()[6:9] == [
        "- Values outside of these rules are warned of.",
        "- Those of km are warned of, and open a change.",
        "- An endpoint tolerates them in 1.00% of its rows.",
    ]
