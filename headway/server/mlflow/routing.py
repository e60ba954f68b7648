"""Which call answers which path of MLflow's protocol, and how a call is read and answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs

import msgspec

from headway.errors import Invalid
from headway.lifecycle.runs.curve import Curve
from headway.server.body import decoded
from headway.server.mlflow.wire import Answer, Ask, Desk

_PREFIX = re.compile(r"/(?:ajax-)?api/[23]\.0/?mlflow/")
_JSON = "application/json"


@dataclass(frozen=True)
class Endpoint:
    """One call. `path` is what follows the prefix; its parts in braces are fields of the ask."""

    method: str
    path: str
    ask: type[Ask]
    answer: Callable[[Any, Desk], Answer]
    points: Callable[[Any], Mapping[str, Curve] | None] | None = None
    """For a call that may add points to the run `ask.run` and do nothing else: these points, or None when it does
    more. They share an act with those of other calls."""
    brief: bool = False
    """For a call that only makes an act or two of a few rows: it shares a commit with those of other calls."""


class Table:
    """Every endpoint by method and path."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._plain: dict[tuple[str, str], Endpoint] = {}
        self._patterns: list[tuple[re.Pattern[str], Endpoint]] = []
        for endpoint in endpoints:
            if "{" in endpoint.path:
                pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", endpoint.path)
                self._patterns.append((re.compile(pattern), endpoint))
            else:
                self._plain[endpoint.method, endpoint.path] = endpoint

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint for a path, and the fields that stand in the path."""
        prefix = _PREFIX.match(path)
        if prefix is None:
            return None
        rest = path[prefix.end() :]
        plain = self._plain.get((method, rest))
        if plain is not None:
            return plain, {}
        for pattern, endpoint in self._patterns:
            match = pattern.fullmatch(rest) if endpoint.method == method else None
            if match is not None:
                return endpoint, match.groupdict()
        return None


def asked(kind: type[Ask], query: bytes, body: bytes, content_type: str, in_path: dict[str, str]) -> Ask:
    """What a request asks for; raises `Invalid` naming the field that is wrong."""
    if body:
        if content_type.partition(";")[0].strip().lower() != _JSON:
            raise Invalid(f"this call takes {_JSON}, not {content_type[:100]!r}")
        fields = decoded(body, Any)
        if not isinstance(fields, dict):
            raise Invalid("this call takes a JSON object")
        fields = {name: value for name, value in fields.items() if value is not None}
    else:
        fields = _from_query(kind, query)
    try:
        return msgspec.convert(fields | in_path, kind, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Invalid(str(error)) from error
    except RecursionError as error:
        raise Invalid("the JSON is nested too deeply") from error


def _from_query(kind: type[Ask], query: bytes) -> dict[str, Any]:
    """The fields in a query: one that the ask has many of may stand there many times."""
    try:
        given = parse_qs(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2000)
    except ValueError as error:
        raise Invalid(f"the query cannot be read: {error}") from error
    hints = get_type_hints(kind)
    many = {name for name, hint in hints.items() if list in (get_origin(hint), *map(get_origin, get_args(hint)))}
    return {name: values if name in many else values[-1] for name, values in given.items()}
