"""`headway up`."""

from __future__ import annotations

from pathlib import Path

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_json
from headway.client.home import PROJECT_FILE, find_home, find_project
from headway.kernel.access import SYSTEM
from headway.lifecycle.changes.apply import apply
from headway.lifecycle.changes.project import read_project
from headway.lifecycle.webhooks.addresses import checked_listing
from headway.server.app import Application, compose
from headway.server.engine_room import with_engines
from headway.server.settings import Auth, Settings
from headway.server.up import serve


@click.command(cls=Verb)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=7070, show_default=True, help="0 takes any free one.")
@click.option(
    "--auth", type=click.Choice([auth.value for auth in Auth]), default=Auth.TOKEN.value, show_default=True,
    help="none makes everybody on this machine the owner.",
)  # fmt: skip
@click.option("--database", default="", envvar="HEADWAY_DATABASE", help="A PostgreSQL URL, instead of SQLite.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name that clients may call this server by.")
@click.option(
    "--webhook-host", multiple=True, metavar="HOST[:PORT]", help="Webhooks may lead here, though it is not public."
)
@click.option(
    "--arrivals", envvar="HEADWAY_ARRIVALS", metavar="FOLDER", type=click.Path(path_type=Path),
    help="Where files arrive that triggers listen to.",
)  # fmt: skip
@click.option(
    "--most-query-s", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
    help="How long the database may take for one question.",
)  # fmt: skip
@pass_invocation
def up(
    invocation: Invocation,
    host: str,
    port: int,
    auth: str,
    database: str,
    allow_host: tuple[str, ...],
    webhook_host: tuple[str, ...],
    arrivals: Path | None,
    most_query_s: float,
) -> None:
    """Start the server, for the project you are in: API, gates, rollouts, endpoints, monitors."""
    home, project = find_home(invocation.home), find_project(Path.cwd())
    settings = Settings.of(
        home, auth=auth, project=project, host=host, port=port, database=database, most_query_s=most_query_s,
        hosts=tuple(map(checked_listing, allow_host)), webhook_hosts=tuple(map(checked_listing, webhook_host)),
        arrivals=arrivals,
    )  # fmt: skip
    application = compose(settings)
    try:
        if project:
            _apply(application, project)
        serve(with_engines(application, project), ready=lambda url: _say(invocation, url, settings))
    finally:
        application.close()


def _apply(application: Application, project: Path) -> None:
    text = (project / PROJECT_FILE).read_text()
    apply(read_project(text), application.platform, clock=application.clock, ids=application.ids, by=SYSTEM)
    application.home.keep_project(text)


def _say(invocation: Invocation, url: str, settings: Settings) -> None:
    if invocation.as_json:
        print_json({"url": url, "home": str(settings.home), "project": str(settings.project or "")})
        return
    click.echo(f"Headway is up at {click.style(url, bold=True)}")
    click.echo(f"  home     {settings.home}")
    click.echo(f"  project  {settings.project or 'none: no headway.toml here or above; `headway init` writes one'}")
    click.echo(f"  API      {url}/schema")
    if settings.auth is Auth.TOKEN:
        click.echo(f"  token    {settings.home / 'tokens' / 'owner'}")
    click.echo("Ctrl-C stops it.")
