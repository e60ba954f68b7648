"""The version of a database, and bringing an old one up to date."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from headway.errors import Unavailable
from headway.storage.sql import migrations
from headway.storage.sql.engine import SqlEngine

VERSION = "0013"
"""The newest file in `migrations/versions`."""


def migrate(engine: SqlEngine) -> None:
    """Bring the database up to date; raises `Unavailable` when a newer Headway has written it."""
    version = _version(engine)
    if version == VERSION:
        return
    if version is not None and version > VERSION:
        raise Unavailable(
            f"this database has version {version}, newer than the {VERSION} that this Headway knows; upgrade Headway",
            found=version,
            known=VERSION,
        )
    _upgrade(engine)


def _version(engine: SqlEngine) -> str | None:
    try:
        with engine.reading() as connection:
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return None if found is None else str(found)
    except (DatabaseError, Unavailable):
        return None


def _upgrade(engine: SqlEngine) -> None:
    command, config = import_module("alembic.command"), import_module("alembic.config")
    settings = config.Config()
    settings.set_main_option("script_location", str(Path(migrations.__path__[0])))
    with engine.transaction() as transaction:  # where a second process waits, and then finds nothing left to do
        settings.attributes["connection"] = transaction.connection
        command.upgrade(settings, VERSION)
