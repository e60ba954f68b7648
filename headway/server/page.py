"""The OpenAPI document as a page: drawn on the server, whole in one file, readable without a script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib import resources
from itertools import groupby
from typing import Any

Schema = dict[str, Any]


def page(document: Schema) -> str:
    """The whole page for an OpenAPI document as `openapi.document` draws it."""
    operations = sorted(_operations(document), key=lambda each: each[2]["tags"])
    nouns = [(noun, list(group)) for noun, group in groupby(operations, key=lambda each: each[2]["tags"][0])]
    records = document["components"]["schemas"]
    links = "".join(f'<a href="#{noun}">{noun}</a>' for noun, _ in nouns)
    return _PAGE.format(
        style=_STYLE,
        title=escape(document["info"]["title"]),
        version=escape(document["info"]["version"]),
        links=f'{links}<a href="#records">records</a>',
        nouns="".join(_noun(noun, group) for noun, group in nouns),
        records="".join(_record(name, schema) for name, schema in records.items()),
    )


def _operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _noun(noun: str, operations: list[tuple[str, str, Schema]]) -> str:
    return f'<section id="{noun}"><h2>{noun}</h2>{"".join(_operation(*each) for each in operations)}</section>'


def _operation(method: str, path: str, operation: Schema) -> str:
    public = '<span class="tag">no token</span>' if operation.get("security") == [] else ""
    parameters = "".join(_field(each["name"], each["schema"], each["required"]) for each in operation["parameters"])
    rows = f"<table>{parameters}</table>" if parameters else ""
    return (
        f'<details id="{operation["operationId"]}"><summary><b class="{method}">{method.upper()}</b>'
        f"<code>{escape(path)}</code><span>{escape(operation['summary'])}</span>{public}</summary>"
        f"<div>{rows}{_body(operation)}{_answers(operation)}</div></details>"
    )


def _body(operation: Schema) -> str:
    kinds = _kinds(operation.get("requestBody", {}))
    return f"<p>Body: {kinds}</p>" if kinds else ""


def _answers(operation: Schema) -> str:
    own = {status: answer for status, answer in operation["responses"].items() if "$ref" not in answer}
    lines = "".join(f"<p>Answer {status}: {_kinds(answer) or 'empty'}</p>" for status, answer in own.items())
    refused = " ".join(status for status in operation["responses"] if status not in own)
    return f'{lines}<p class="quiet">Errors: {refused}, each an <a href="#ErrorAnswer">ErrorAnswer</a></p>'


def _kinds(carrier: Schema) -> str:
    content = carrier.get("content", {}).items()
    return ", ".join(f"{_type(each['schema'])} <small>{escape(kind)}</small>" for kind, each in content)


def _record(name: str, schema: Schema) -> str:
    about = f"<p>{escape(schema['description'])}</p>" if "description" in schema else ""
    required = set(schema.get("required", ()))
    fields = "".join(_field(key, each, key in required) for key, each in schema.get("properties", {}).items())
    values = ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", ()))
    return f'<article id="{escape(name)}"><h3>{escape(name)}</h3>{about}{values}<table>{fields}</table></article>'


def _field(name: str, schema: Schema, required: bool) -> str:
    if required:
        rest = '<span class="tag">required</span>'
    else:
        rest = f"<small>{escape(repr(schema['default']))}</small>" if schema.get("default") not in (None, "") else ""
    return f"<tr><td><code>{escape(name)}</code></td><td>{_type(schema)}</td><td>{rest}</td></tr>"


def _type(schema: Schema) -> str:
    """A schema in one line, with a link to the record it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(str(schema.get("format") or schema.get("type") or "anything"))


_STYLE = (resources.files("headway.server") / "page.css").read_text()
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title><style>{style}</style></head>
<body>
<nav><strong>{title}</strong><small>{version}</small>{links}</nav>
<main>
<h1>{title} API</h1>
<p>JSON over HTTP. Send your token as <code>Authorization: Bearer hw_...</code>. Lists come newest first, in pages: ask
for the next one with <code>before</code>. The same as a program reads it: <a href="/schema/openapi.json">OpenAPI
3.1</a>.</p>
{nouns}
<section id="records"><h2>records</h2>{records}</section>
</main>
</body>
</html>
"""
