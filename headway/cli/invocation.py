"""What all commands share: where to connect, how to print, how to complain."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from headway.client.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])


class Invocation:
    """One run of the command line. Without a `client` of its own it opens one when it is first needed. `alone` says
    that the process is there for this command and ends with it."""

    def __init__(self, client: Client | None = None, *, alone: bool = False) -> None:
        self._alone = alone
        self.home: str | None = None
        self.url: str | None = None
        self.as_json = False
        self._client = client

    @property
    def client(self) -> Client:
        """Raises `NotFound` where there is neither a server nor a home nor a project to make one for."""
        if self._client is None:
            from headway.cli.reach import reach  # noqa: PLC0415

            self._client = reach(self.url, self.home)
        return self._client

    @property
    def may_be_direct(self) -> bool:
        """Whether no server was named, and nothing is connected yet."""
        return self._client is None and self.url is None

    def imported(self) -> None:
        """What a brief command needs is imported and stays: it is not searched for garbage again, nor at the end."""
        if self._alone:
            gc.freeze()

    def complain(self, message: str, code: str, details: dict[str, Any]) -> None:
        """Say on stderr what went wrong, for a person or for a program."""
        if self.as_json:
            import json  # noqa: PLC0415

            said = {"error": {"code": code, "message": message, "details": details}}
            click.echo(json.dumps(said, default=str), err=True)
        else:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def shared_options(function: Function) -> Function:
    """The options of every command; they may stand before its name or after."""
    for option in (_JSON, _URL, _HOME):
        function = option(function)
    return function


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Invocation), name, value)

    return keep


_HOME = click.option(
    "--home", metavar="PATH", expose_value=False, callback=_keep("home"),
    help="The folder that holds everything.  [env: HEADWAY_HOME; default: .headway of the project]",
)  # fmt: skip
_URL = click.option(
    "--url", expose_value=False, callback=_keep("url"), help="The server to ask.  [env: HEADWAY_URL]"
)  # fmt: skip
_JSON = click.option(
    "--json", is_flag=True, expose_value=False, is_eager=True, callback=_keep("as_json"), help="Print JSON."
)  # fmt: skip
