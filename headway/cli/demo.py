"""`headway demo`: plays a project's `demo.py` on a fresh home, against a server of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import click

from headway.cli.nouns import Verb
from headway.cli.stage import Stage
from headway.cli.story import tell
from headway.client.connect import connect
from headway.errors import Conflict, NotFound, Unavailable

_MARK = "made-by-headway-demo"
_STARTING_S = 30.0
_EXAMPLES = Path(__file__).parents[2] / "examples"


@click.command(cls=Verb)
@click.option("--quick", is_flag=True, help="A smaller play of the same story.")
@click.option("--project", type=click.Path(path_type=Path), help="A folder with a demo.py.  [default: the example]")
@click.option(
    "--into", type=click.Path(path_type=Path), help="The home to play on.  [default: .headway of the project]"
)
def demo(quick: bool, project: Path | None, into: Path | None) -> None:
    """Play the whole story on real data: train, judge, release, watch, retrain, roll back."""
    project = _with_demo(project)
    home = _fresh((into or project / ".headway").resolve())
    began = time.monotonic()
    with _server(project, home) as url:
        sys.path.insert(0, str(project))
        with connect(url, home=home) as owner:
            stage = Stage(owner)
            import_module("demo").play(stage, quick)
            stage.title("The story")
            tell(owner)
    click.echo(f"\nPlayed in {time.monotonic() - began:.0f} s. Everything is kept in {home}; look at it with")
    click.echo(f"    headway up --home {home}")


def _with_demo(project: Path | None) -> Path:
    """The project to play: the named one, or the first example of the source that this runs from."""
    candidates = [project.resolve()] if project else sorted(_EXAMPLES.glob("*/"))
    found = next((folder for folder in candidates if (folder / "demo.py").is_file()), None)
    if found is None:
        where = project or "this installation"
        raise NotFound(f"{where} has no demo.py; the examples are in a checkout of the source: name one with --project")
    return found


def _fresh(home: Path) -> Path:
    """An empty home; one that a play before has left is removed, any other is left alone."""
    if home.exists() and any(home.iterdir()):
        if not (home / _MARK).exists():
            raise Conflict(f"{home} holds something else than an earlier play; choose another place with --into")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / _MARK).touch()
    return home


@contextmanager
def _server(project: Path, home: Path) -> Iterator[str]:
    """A server of the project on a free port, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "headway.cli", "up", "--home", str(home), "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=project, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(server, home, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=_STARTING_S)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait(server: subprocess.Popen[bytes], home: Path, port: int) -> None:
    deadline = time.monotonic() + _STARTING_S
    while time.monotonic() < deadline and server.poll() is None:
        if (home / "server.json").exists():
            return
        time.sleep(0.02)
    raise Unavailable(f"the server on port {port} did not start; its log is {home / 'server.log'}")
