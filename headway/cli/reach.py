"""The way from the command line to a server."""

from __future__ import annotations

import os
from pathlib import Path

from headway import sdk
from headway.client.client import Client
from headway.client.home import find_home, find_project, running_server
from headway.errors import NotFound


def reach(url: str | None, home: str | None) -> Client:
    """A client; raises `NotFound` rather than make a home in a folder where nobody asked for one."""
    folder = find_home(home)
    if url or os.environ.get("HEADWAY_URL") or running_server(folder) or folder.is_dir():
        return sdk.open_client(url=url, home=folder)
    if folder.parent == find_project(Path.cwd()):
        return sdk.open_client(home=folder)
    raise NotFound(
        f"there is no home at {folder}; `headway init` writes a project here, `headway up` starts a server here, "
        "and --url or --home lead elsewhere"
    )
