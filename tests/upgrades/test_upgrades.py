"""The database of every release opens in this version, with all that was in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from headway.kernel.ledger import verify
from headway.lifecycle.runs.search import RUNS, RunSearch, parsed_filter
from headway.storage.sql.schema import VERSION
from headway.storage.sql.stores import open_stores
from headway.testing.contracts.records import all_of
from headway.testing.memory import FrozenClock, counted_ids
from headway.testing.samples import samples
from tests.upgrades.make_database import make

RELEASES = sorted(path.parent for path in Path(__file__).parent.glob("*/headway.db"))


def test_there_is_a_database_to_open() -> None:
    assert RELEASES


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_an_old_database_is_read_whole(release: Path, tmp_path: Path) -> None:
    home = shutil.copytree(release, tmp_path / "home")
    _check(home)
    _check(home)


def test_the_database_of_this_version_is_read_whole(tmp_path: Path) -> None:
    make(tmp_path / "home")
    _check(tmp_path / "home")


def _check(home: Path) -> None:
    """Open the home and compare it with what its maker wrote down."""
    engine, _, stores = open_stores(home / "headway.db", FrozenClock(), home / "ledger.head")
    written = msgspec.json.decode((home / "records.json").read_bytes(), type=dict[str, msgspec.Raw])
    kinds = {name: type(record) for name, record in samples(counted_ids(), FrozenClock()).items()}
    try:
        assert verify(stores.ledger) == len(written)
        for name, body in written.items():
            record = msgspec.json.decode(body, type=kinds[name])
            assert all_of(stores, name, record) == [record]
            assert [edge.parent for edge in stores.lineage.parents(record.id)] == ["dv_1"]
        assert {event.facts["store"] for event in stores.events.after(0)} == written.keys()
        assert stores.events.heard("conductor") == 3
        assert stores.leases.held("conductor", 1)
        assert [repr(value) for value in stores.metrics.curve("rn_1", "loss", limit=9).values] == ["0.5", "nan"]
        assert stores.metrics.latest(["rn_1"]) == {"rn_1": {"loss": 0.5}}
        assert stores.metrics.summaries("rn_1")["loss"].highest == 0.5
        assert [step.step for step in stores.runs.steps("rn_1")] == ["load"]
        where = parsed_filter("params.depth = '3' AND start_time > 0", RUNS)
        assert len(stores.runs.search(RunSearch(experiments=("late",), where=where)).items) == 1
        assert stores.predictions.find(["pr_1"])["pr_1"].score == 0.5
        assert stores.predictions.labels(["pr_1"])["pr_1"].value == 1.0
        assert [sums.n for sums in stores.predictions.quality("late")] == [1]
        assert stores.predictions.last_event_at("late") is not None
        with engine.reading() as connection:
            assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == VERSION
    finally:
        engine.close()
