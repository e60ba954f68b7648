"""A read ends when the patience of whoever asked does."""

from __future__ import annotations

import threading

import pytest

from headway.errors import Invalid, Unavailable
from headway.kernel.patience import PATIENCE, Patience
from tests.storage.conftest import Open

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_a_read_is_stopped_from_another_thread_and_its_connection_is_given_up(reopen: Open) -> None:
    engine, patience = reopen().engine, Patience()
    before = PATIENCE.set(patience)
    try:
        threading.Timer(0.1, patience.end, [Invalid("nobody waits")]).start()
        with pytest.raises(Invalid, match="nobody waits"), engine.reading() as connection:
            connection.exec_driver_sql(ENDLESS).scalar()
        with pytest.raises(Invalid, match="nobody waits"), engine.reading():
            pass
    finally:
        PATIENCE.reset(before)
    with engine.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_a_write_is_carried_out_whole(reopen: Open) -> None:
    engine, patience = reopen().engine, Patience()
    patience.end(Invalid("nobody waits"))
    before = PATIENCE.set(patience)
    try:
        with engine.transaction(), engine.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE kept (number INTEGER)")
            with engine.reading() as same:
                assert same.exec_driver_sql("SELECT count(*) FROM kept").scalar() == 0
    finally:
        PATIENCE.reset(before)


def test_without_patience_nothing_is_stopped_and_errors_are_those_of_the_database(reopen: Open) -> None:
    with pytest.raises(Unavailable, match="no such table"), reopen().engine.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM missing")


def test_patience_that_has_not_ended_leaves_errors_alone(reopen: Open) -> None:
    before = PATIENCE.set(Patience())
    try:
        with pytest.raises(Unavailable, match="no such table"), reopen().engine.reading() as connection:
            connection.exec_driver_sql("SELECT * FROM missing")
    finally:
        PATIENCE.reset(before)
