"""Where the files of a model server are: those of one deployment's own server, and those of one that several share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headway.lifecycle.rollouts.routing import RoutingTable, read_table


@dataclass(frozen=True)
class Place:
    """`folder` has the note of the process, its log, its spool, and the tables that it is told: one in `routing.json`,
    or those of a shared server in `tables/`, each under the name of its deployment."""

    folder: Path
    server: str = ""
    """The name of a server that is shared."""

    @property
    def told(self) -> Path:
        """What the server is started with, and what marks its process."""
        return self.folder / ("tables" if self.server else "routing.json")

    @property
    def note(self) -> Path:
        return self.folder / "process.json"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def table(self, deployment: str) -> Path:
        return self.told / f"{deployment}.json" if self.server else self.told

    def spool_of(self, deployment: str) -> Path:
        return self.spool / deployment if self.server else self.spool

    def holds(self, deployment: str) -> bool:
        return self.table(deployment).exists()

    def tables(self) -> list[RoutingTable]:
        """What its server is told now; a table that cannot be read is the server's to complain of."""
        found = []
        for file in sorted(self.told.glob("*.json")) if self.server else [self.told]:
            try:
                found.append(read_table(file.read_bytes()))
            except (FileNotFoundError, msgspec.MsgspecError):
                continue
        return found


class Places:
    """A folder for each deployment under `own`, and for each shared server under `shared`."""

    def __init__(self, own: Path, shared: Path) -> None:
        self._own, self._shared = own, shared

    def of(self, table: RoutingTable) -> Place:
        """Where the table belongs."""
        if table.server:
            return Place(self._shared / table.server, table.server)
        return Place(self._own / table.deployment)

    def all(self) -> Iterator[Place]:
        for folder in sorted(self._own.glob("*/")):
            yield Place(folder)
        for folder in sorted(self._shared.glob("*/")):
            yield Place(folder, folder.name)

    def around(self, deployment: str) -> Iterator[Place]:
        """Those that may have something of the deployment: its own, and all that are shared."""
        yield Place(self._own / deployment)
        yield from (place for place in self.all() if place.server)
