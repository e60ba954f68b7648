"""`docs/commands.md` has every command, argument, option and exit code, and no other."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from headway.cli.main import _EXIT_CODES, COMMANDS, INTERRUPTED, UNEXPECTED, main
from headway.cli.nouns import Noun
from tests.architecture.documents import codes, section, sections

PAGE = "docs/commands.md"
SHARED = {"--home", "--url", "--json"}


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield f"{name} {each}", found
            yield from walk(found, f"{name} {each}")


EVERY = dict(walk(main, "headway"))


def options(command: click.Command) -> set[tuple[str, ...]]:
    given = [tuple(each.opts) for each in command.params if isinstance(each, click.Option)]
    return {names for names in given if not SHARED & set(names)}


def test_every_command_has_its_heading() -> None:
    headings = [each.path[-1] for each in sections(PAGE) if each.path[-1].startswith("headway ")]
    assert headings == list(dict.fromkeys(headings))
    assert set(headings) == set(EVERY)
    assert {name.split()[1] for name in headings} == set(COMMANDS)


@pytest.mark.parametrize("name", EVERY)
def test_options_of_a_command(name: str) -> None:
    told = {tuple(codes(row[0])) for row in section(PAGE, name).rows}
    assert told == options(EVERY[name])


@pytest.mark.parametrize("name", [name for name, each in EVERY.items() if not isinstance(each, Noun)])
def test_arguments_of_a_command(name: str) -> None:
    arguments = [each for each in EVERY[name].params if isinstance(each, click.Argument)]
    shown = " ".join(_usage(each) for each in arguments)
    assert not shown or f"`{name} {shown}`" in section(PAGE, name).text


def _usage(argument: click.Argument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def test_options_of_all_commands() -> None:
    named = " ".join(codes(section(PAGE, "Commands").text)).split()
    assert {*SHARED, "--version", "--help"} <= set(named)


def test_exit_codes() -> None:
    told = {int(row[0]) for row in section(PAGE, "Exit codes").rows}
    assert told == {0, *_EXIT_CODES.values(), UNEXPECTED, INTERRUPTED}
