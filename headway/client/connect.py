"""Finding the server: a named one, the one that runs on the home, or one in this process."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2

from headway.client.client import Client
from headway.client.home import SPOOLS, HomeFolder, find_home, is_here, owner_token, running_server
from headway.client.http import Connection
from headway.errors import Unreachable
from headway.lifecycle.runs.records import Code
from headway.lifecycle.runs.session import Session

LocalSession = Callable[[str, str, str, Code], Session]
"""By token, run, pipeline and code: a run's line to a platform in this process."""
LocalServer = Callable[[Path], httpx2.BaseTransport]
"""Opens the control plane on a home in this process, without a socket."""


def connect(
    url: str | None = None,
    home: str | Path | None = None,
    token: str | None = None,
    *,
    local: LocalServer | None = None,
    env: Mapping[str, str] = os.environ,
) -> Client:
    """A client of the server at `url`, else at `HEADWAY_URL`, else of the one that runs on the home, else of one that
    `local` opens in this process.

    The token is `token`, else `HEADWAY_TOKEN`, else that of the home's owner, which is sent to no other machine. No
    request is sent yet. Raises `Unreachable` when there is no server and none may be opened.
    """
    folder = find_home(home, env=env)
    address = url or env.get("HEADWAY_URL") or running_server(folder)
    transport = None
    if address is None:
        if local is None:
            raise Unreachable(f"no server runs on {folder}; start one with `headway up`, or name one by HEADWAY_URL")
        transport = local(folder)
    secret = token or env.get("HEADWAY_TOKEN") or ("" if address and not is_here(address) else owner_token(folder))
    place = HomeFolder(folder, shared=not (url or env.get("HEADWAY_URL")))
    connection = Connection(address or "http://localhost", secret, transport=transport, place=place)
    here: LocalSession | None = getattr(transport, "session", None)
    line = functools.partial(here, secret) if here is not None else None
    return Client(connection, spools=folder / SPOOLS, line=line)
