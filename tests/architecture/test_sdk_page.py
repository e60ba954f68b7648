"""`docs/sdk.md` has every exported name, with its signature, and every method of the client."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any

import headway
from headway.client.client import Client
from headway.client.http import Connection
from headway.client.run import Run
from tests.architecture.documents import codes, section

PAGE = "docs/sdk.md"


def told(heading: str) -> list[str]:
    return [codes(row[0])[0] for row in section(PAGE, heading).rows]


def written(function: Any, name: str) -> str:
    """The call as the page has it: without annotations and without self."""
    signature = inspect.signature(function)
    parameters = [
        each.replace(
            annotation=inspect.Parameter.empty,
            default=each.default.value if isinstance(each.default, Enum) else each.default,
        )
        for each in signature.parameters.values()
        if each.name != "self"
    ]
    return name + str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def public(kind: type) -> dict[str, Any]:
    return {name: each for name, each in vars(kind).items() if not name.startswith("_") and callable(each)}


def test_every_name_that_is_exported() -> None:
    names = [re.split(r"\W", each)[0] for heading in ("Functions", "Records", "Errors") for each in told(heading)]
    assert sorted(names) == sorted(headway.__all__)


def test_functions_with_their_signatures() -> None:
    functions = {name: each for name in headway.__all__ if inspect.isfunction(each := getattr(headway, name))}
    assert set(told("Functions")) == {written(each, name) for name, each in functions.items()}


def test_methods_of_a_run_with_their_signatures() -> None:
    assert told("Run") == [written(each, name) for name, each in public(Run).items()]


def test_nouns_and_verbs_of_the_client() -> None:
    client = Client(Connection("http://localhost"))
    nouns = {name: each for name, each in vars(client).items() if not name.startswith("_")}
    told_verbs = {codes(row[0])[0]: codes(row[1]) for row in section(PAGE, "Client").rows}
    client.close()
    assert told_verbs == {name: sorted(public(type(each))) for name, each in nouns.items()}


def test_what_the_client_itself_does() -> None:
    text = section(PAGE, "Client").text
    assert [name for name in (*public(Client), "url") if f"`client.{name}" not in text] == []
