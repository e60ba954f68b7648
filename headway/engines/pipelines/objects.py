"""Python objects as bytes and back: dataclasses and msgspec Structs as JSON, and by pickle what a step allows."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import msgspec

from headway.errors import BadPipeline
from headway.kernel.records import encode

MAIN = "__headway_main__"
"""What the module of a script is called in a worker of its steps: it is no program there."""
RECORD = "record:"
PICKLE = "pickle"


def is_record(value: Any) -> bool:
    return not isinstance(value, type) and (isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value))


def record_name(cls: type) -> str:
    module = "__main__" if cls.__module__ == MAIN else cls.__module__
    return f"{RECORD}{module}.{cls.__qualname__}"


def record_dumps(value: Any, cls: type) -> bytes:
    """As JSON; raises `BadPipeline` for a value that would not come back as it is."""
    try:
        data = encode(value)
    except (TypeError, msgspec.MsgspecError) as error:
        raise BadPipeline(
            f"this {cls.__qualname__} holds what JSON cannot say ({error}); return its parts as a dict, or tell "
            "register_format how to keep it"
        ) from None
    try:
        same = msgspec.json.decode(data, type=cls) == value
    except (msgspec.MsgspecError, TypeError):
        same = False
    if not same:
        raise BadPipeline(f"this {cls.__qualname__} is not the same after JSON; does it hold NaN, or an open type?")
    return data


def record_loads(data: bytes, cls: type) -> Any:
    return msgspec.json.decode(data, type=cls)


def class_named(name: str) -> type:
    """The class of a record's format. Only among what is imported: what is stored names no module to run.

    Raises `BadPipeline` when it is not there, or is no dataclass or Struct.
    """
    path = name.removeprefix(RECORD).split(".")
    for length in range(len(path) - 1, 0, -1):
        module = ".".join(path[:length])
        found: Any = sys.modules.get(MAIN if module == "__main__" and MAIN in sys.modules else module)
        for part in path[length:]:
            found = getattr(found, part, None)
        is_one = isinstance(found, type) and (issubclass(found, msgspec.Struct) or dataclasses.is_dataclass(found))
        if is_one and record_name(found) == name:
            return found  # type: ignore[no-any-return]
    raise BadPipeline(f"format {name!r} is not known here; import the module that defines the class at its top level")


def pickle_dumps(value: Any) -> bytes:
    import pickle  # noqa: PLC0415  # for those who ask

    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise BadPipeline(f"a {type(value).__qualname__} cannot be pickled: {error}") from error


def pickle_loads(data: bytes) -> Any:
    """Runs whatever the bytes say: only for what a step has made that says `pickle=True`, where steps run."""
    import pickle  # noqa: PLC0415  # for those who ask

    return pickle.loads(data)
