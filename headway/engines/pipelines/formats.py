"""Values as bytes and back, by type, without pickle. `outputs.py` keeps what is made of several such values."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from headway.engines.pipelines import arrays
from headway.errors import BadPipeline, HeadwayError
from headway.kernel.records import digest, encode

PLAIN = "json"


@dataclass(frozen=True)
class Format:
    """How values of one type are kept. `encode` should give the same bytes for the same value: they are what later
    steps are found again by. `decode` gives a new value each time."""

    name: str
    takes: Callable[[Any], bool]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    package: str = ""
    """The module that makes the values, whose installed version counts in the keys of steps that take them."""


_formats: dict[str, Format] = {}


def register_format(new: Format) -> None:
    """Make `new` known; one of the same name is replaced. Later ones are asked first."""
    if new.name in (PLAIN, "tree"):
        raise BadPipeline(f"format {new.name!r} is built in; give yours another name")
    _formats.pop(new.name, None)
    _formats[new.name] = new


def record_format(cls: type) -> Format:
    """A format for instances of a dataclass or msgspec Struct, as JSON, to hand to `register_format`."""

    def encoded(value: Any) -> bytes:
        data = encode(value)
        try:
            same = msgspec.json.decode(data, type=cls) == value
        except msgspec.MsgspecError:
            same = False
        if not same:
            raise BadPipeline(f"this {cls.__qualname__} is not the same after JSON; does it hold NaN, or an open type?")
        return data

    def decoded(data: bytes) -> Any:
        return msgspec.json.decode(data, type=cls)

    name = f"record:{cls.__module__}.{cls.__qualname__}"
    return Format(name, lambda value: type(value) is cls, encoded, decoded)


def encode_value(value: Any) -> tuple[str, bytes]:
    """Format and bytes of one value; raises `BadPipeline` when no format takes it."""
    value = python_number(value)
    if is_plain(value):
        return PLAIN, plain_bytes(value)
    for known in reversed(_formats.values()):
        if known.takes(value):
            try:
                return known.name, known.encode(value)
            except HeadwayError:
                raise
            except Exception as error:
                raise BadPipeline(f"a {_kind(value)} cannot be stored as {known.name}: {error}") from error
    raise BadPipeline(f"a {_kind(value)} cannot be stored; {_instead(value)}")


def decode_value(name: str, data: bytes) -> Any:
    """The value of bytes in format `name`; raises `BadPipeline` for a format that is not known here."""
    if name == PLAIN:
        return json.loads(data)
    if name not in _formats:
        raise BadPipeline(f"format {name!r} is not known here; import the module that registers it")
    return _formats[name].decode(data)


def package_of(name: str) -> str:
    """The module that makes the values of a format, or nothing."""
    return _formats[name].package if name in _formats else ""


def content_digest(value: Any) -> list[str]:
    """Format and digest of a value's bytes: what tells it apart in a key."""
    name, data = encode_value(value)
    return [name, digest(data)]


def is_plain(value: Any) -> bool:
    """Whether JSON gives back just this: no tuples, no keys but texts, no subclasses. NaN and infinity are kept."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return True
    if kind is list:
        return all(is_plain(item) for item in value)
    return kind is dict and all(type(key) is str and is_plain(item) for key, item in value.items())


def plain_bytes(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except ValueError as error:  # an integer of thousands of digits
        raise BadPipeline(f"the value cannot be stored as JSON: {error}") from None


def python_number(value: Any) -> Any:
    """A numpy scalar as Python's own number, which says the same; anything else as it is."""
    return value.item() if is_a(value, "numpy", "generic") else value


def is_a(value: Any, package: str, name: str) -> bool:
    """Whether `value` is of a class of `package`, which need not be imported to tell."""
    return any(cls.__name__ == name and cls.__module__.split(".")[0] == package for cls in type(value).__mro__)


def _exactly(package: str, name: str) -> Callable[[Any], bool]:
    def takes(value: Any) -> bool:
        cls = type(value)
        return cls.__name__ == name and cls.__module__.split(".")[0] == package

    return takes


def _kind(value: Any) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__.split('.')[0]} {cls.__qualname__}"


def _instead(value: Any) -> str:
    """What to return in its place."""
    if is_a(value, "polars", "LazyFrame"):
        return "return frame.collect()"
    if is_a(value, "polars", "Series"):
        return "return series.to_frame()"
    if is_a(value, "pandas", "DataFrame"):
        return "return polars.from_pandas(frame)"
    if isinstance(value, set | frozenset):
        return "return sorted(values)"
    if isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value):
        return "call register_format(record_format(the class)) beside its definition, or return a dict"
    return (
        "return a polars DataFrame, a numpy array, bytes, text, numbers, a scikit-learn estimator, or a tuple, list or "
        "dict of these; register_format adds a type of your own"
    )


def _encode_frame(frame: Any) -> bytes:
    import polars  # noqa: PLC0415

    objects = [name for name, kind in frame.schema.items() if kind == polars.Object]
    if objects:
        raise BadPipeline(f"column {objects[0]!r} holds Python objects; cast it to a type of its own")
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, row_group_size=250_000)  # fixed: the default depends on the machine
    return buffer.getvalue()


def _decode_frame(data: bytes) -> Any:
    import polars  # noqa: PLC0415

    return polars.read_parquet(io.BytesIO(data))


def _encode_estimator(estimator: Any) -> bytes:
    from headway.engines.pipelines import estimators  # noqa: PLC0415

    return estimators.dumps(estimator)


def _decode_estimator(data: bytes) -> Any:
    from headway.engines.pipelines import estimators  # noqa: PLC0415

    return estimators.loads(data)


register_format(Format("bytes", lambda value: type(value) is bytes, bytes, bytes))
register_format(Format("parquet", _exactly("polars", "DataFrame"), _encode_frame, _decode_frame, "polars"))
register_format(Format("npy", _exactly("numpy", "ndarray"), arrays.dumps, arrays.loads, "numpy"))
register_format(
    Format(
        "skops", lambda value: is_a(value, "sklearn", "BaseEstimator"), _encode_estimator, _decode_estimator, "sklearn"
    )
)
