"""The remotes of a home: names for addresses, in a file that only whoever has the home can write.

No client of the API can name an address, or learn one: what is written to a remote, and from where, is the operator's
word alone.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import msgspec

from headway.errors import AlreadyExists, BadSettings, NotFound
from headway.kernel.naming import checked_name, nearest
from headway.kernel.records import Value
from headway.storage.remotes.addresses import checked_address

_HEAD = "# Where `headway dataset push` and `fetch` lead. Secrets stay with the provider's own variables.\n"


class NamedRemote(Value):
    name: str
    url: str


class Remotes:
    def __init__(self, home: Path) -> None:
        self._file = home / "remotes.toml"

    def all(self) -> list[NamedRemote]:
        try:
            found = tomllib.loads(self._file.read_text()).get("remotes", {})
            urls = {name: each["url"] for name, each in msgspec.convert(found, dict[str, dict[str, str]]).items()}
        except FileNotFoundError:
            return []
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, KeyError) as error:
            raise BadSettings(f"{self._file} cannot be read: {error}") from error
        return [NamedRemote(name=name, url=checked_address(url)) for name, url in sorted(urls.items())]

    def named(self, name: str | None) -> NamedRemote:
        """The remote of this name; without one, the only one that there is."""
        known = self.all()
        if name is None and len(known) == 1:
            return known[0]
        if name is None:
            said = f"there are several ({', '.join(each.name for each in known)}); say --remote" if known else ""
            raise NotFound(said or "there is no remote yet; `headway remote add NAME ADDRESS` names one")
        for each in known:
            if each.name == name:
                return each
        raise NotFound(f"there is no remote {name[:100]!r}{nearest(name, (each.name for each in known))}")

    def add(self, name: str, url: str) -> NamedRemote:
        made = NamedRemote(name=checked_name(name, "remote"), url=checked_address(url))
        known = self.all()
        if other := next((each for each in known if each.name == name and each != made), None):
            raise AlreadyExists(f"{name} is {other.url}; remove it first, or choose another name")
        self._write([*(each for each in known if each.name != name), made])
        return made

    def remove(self, name: str) -> NamedRemote:
        """Forget the name; what is there stays."""
        gone = self.named(name)
        self._write([each for each in self.all() if each.name != name])
        return gone

    def _write(self, known: list[NamedRemote]) -> None:
        lines = (f'\n[remotes."{each.name}"]\nurl = {msgspec.json.encode(each.url).decode()}\n' for each in known)
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        fresh.write_text(_HEAD + "".join(lines))
        fresh.chmod(0o600)
        fresh.replace(self._file)
