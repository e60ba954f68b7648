"""The description of the API is whole, valid, and true of what the server answers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from headway.kernel.access import Role
from headway.server.api import routed
from headway.server.openapi import function_of, routes_of
from tests.server.world import World


@pytest.fixture(scope="module")
def document(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.client(None).get("/schema/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def schemas(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from document["components"]["schemas"].values()
    for _, _, operation in operations(document):
        yield from (each["schema"] for each in operation["parameters"])
        carriers = [operation.get("requestBody", {}), *operation["responses"].values()]
        yield from (content["schema"] for carrier in carriers for content in carrier.get("content", {}).values())


def test_it_covers_every_route_and_no_other(world: World, document: dict[str, Any]) -> None:
    routes = {
        (path, method.lower())
        for path, handler in routes_of(routed(world.application))
        for method in handler.http_methods
    }
    assert {(path, method) for path, method, _ in operations(document)} == routes
    assert len(routes) > 70


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    for schema in schemas(document):
        jsonschema_rs.meta.validate(schema)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in document["components"]["schemas"])


def test_each_operation_is_whole(document: dict[str, Any]) -> None:
    seen = set()
    for path, method, operation in operations(document):
        seen.add(operation["operationId"])
        assert operation["summary"].endswith("."), path
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path)), path
        assert "500" in operation["responses"]
        assert ("401" in operation["responses"]) == ("security" not in operation), path
        assert all("description" in answer or "$ref" in answer for answer in operation["responses"].values())
        if method in ("put", "post") and "409" in operation["responses"]:
            assert "413" in operation["responses"]
    assert len(seen) == len(list(operations(document)))


def test_every_handler_only_translates(world: World) -> None:
    for path, handler in routes_of(routed(world.application)):
        body = inspect.getsource(function_of(handler)).partition('"""')[2].partition('"""')[2]
        assert len(body.strip().splitlines()) <= 10, path


def test_answers_and_errors_are_as_described(delivered: tuple[World, dict[str, str]], document: dict[str, Any]) -> None:
    world, ids = delivered
    reader = world.client(Role.READER)
    asked = {
        "/v1/status": "/v1/status",
        "/v1/runs/{identifier}": f"/v1/runs/{ids['run']}",
        "/v1/models/versions": "/v1/models/versions",
        "/v1/releases/{identifier}": f"/v1/releases/{ids['release']}",
        "/v1/changes": "/v1/changes",
        "/v1/changes/dora": "/v1/changes/dora",
        "/v1/segments": "/v1/segments",
        "/v1/ledger": "/v1/ledger",
    }
    for template, path in asked.items():
        answer = document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        schema = {**answer, "components": document["components"]}
        jsonschema_rs.validate(schema, reader.get(path).json())
    error = {"$ref": "#/components/schemas/ErrorAnswer", "components": document["components"]}
    jsonschema_rs.validate(error, reader.get("/v1/runs/none").json())
    assert not jsonschema_rs.is_valid(error, {"error": {"code": "x"}})


def test_the_page_shows_all_of_it_and_needs_nothing_else(world: World, document: dict[str, Any]) -> None:
    answer = world.client(None).get("/schema")
    assert answer.headers["content-type"].startswith("text/html")
    page = answer.text
    for _, _, operation in operations(document):
        assert f'<details id="{operation["operationId"]}">' in page
    for name in document["components"]["schemas"]:
        assert f'<article id="{name}">' in page
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert "<script" not in page
    assert re.findall(r'(?:href|src)="(?!#)([^"]*)"', page) == ["/schema/openapi.json"]
    assert "@import" not in page
    assert "url(" not in page
