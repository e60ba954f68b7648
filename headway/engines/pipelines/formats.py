"""Values as bytes and back, by type, without pickle unless a step says so. `outputs.py` keeps what is made of several
such values."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from headway.engines.pipelines import arrays, boosters, frames, objects, tensors
from headway.errors import BadPipeline, HeadwayError
from headway.kernel.records import digest

PLAIN = "json"


def _never(value: Any) -> bool:
    """Takes none."""
    return False


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
    open: Callable[[Path], Any] | None = None
    """The value of a file, mapped into memory or decoded from there; its bytes are those that `encode` gave. The file
    must not be written to by what is done with the value."""
    option: str = ""
    """What a step asks for it by, `@step(format=...)`. One that has such a name is for those that ask."""
    unasked: Callable[[Any], bool] = _never
    """Values that it takes without being asked for all the same."""


_formats: dict[str, Format] = {}


def register_format(new: Format) -> None:
    """Make `new` known; one of the same name is replaced. Later ones are asked first."""
    if new.name in (PLAIN, "tree", "files", objects.PICKLE):
        raise BadPipeline(f"format {new.name!r} is built in; give yours another name")
    _formats.pop(new.name, None)
    _formats[new.name] = new


def record_format(cls: type) -> Format:
    """A format for instances of a dataclass or msgspec Struct, as JSON, to hand to `register_format`."""

    def encoded(value: Any) -> bytes:
        return objects.record_dumps(value, cls)

    def decoded(data: bytes) -> Any:
        return objects.record_loads(data, cls)

    return Format(objects.record_name(cls), lambda value: type(value) is cls, encoded, decoded)


def encode_value(value: Any, option: str = "", *, pickle: bool = False) -> tuple[str, bytes]:
    """Format and bytes of one value. `option` is the format that a step prefers, `pickle` whether it allows that for
    what no format takes. Raises `BadPipeline` when there is no way."""
    value = python_number(value)
    if is_plain(value):
        return PLAIN, plain_bytes(value)
    found = _taking(value, option)
    if found is None and pickle:
        return objects.PICKLE, objects.pickle_dumps(value)
    if found is None:
        raise BadPipeline(f"a {_kind(value)} cannot be stored; {_instead(value)}")
    try:
        return found.name, found.encode(value)
    except HeadwayError:
        if pickle:
            return objects.PICKLE, objects.pickle_dumps(value)
        raise
    except Exception as error:
        raise BadPipeline(f"a {_kind(value)} cannot be stored as {found.name}: {error}") from error


def _taking(value: Any, option: str) -> Format | None:
    """The newest format that takes `value`; one that is preferred comes first."""
    options = {known.option for known in _formats.values()}
    if option not in options:
        raise BadPipeline(f"there is no format {option!r} to ask for; there is {', '.join(sorted(options - {''}))}")
    taking = [
        known for known in reversed(_formats.values())
        if known.takes(value) and (known.option in ("", option) or known.unasked(value))
    ]  # fmt: skip
    if option:
        taking.sort(key=lambda known: known.option != option)
    if not taking and objects.is_record(value):
        return _format_of_record(type(value))
    return taking[0] if taking else None


def _format_of_record(cls: type) -> Format:
    try:
        same = objects.class_named(objects.record_name(cls)) is cls
    except BadPipeline:
        same = False
    if not same:
        raise BadPipeline(
            f"a {cls.__qualname__} cannot be stored, for nobody could find its class again; define the class at the "
            "top level of a module, call register_format(record_format(the class)), or return a dict"
        )
    return record_format(cls)


def decode_value(name: str, data: bytes, *, pickle: bool = False) -> Any:
    """The value of bytes in format `name`; raises `BadPipeline` for a format that is not known here, and for pickle
    unless that is allowed."""
    if name == PLAIN:
        return json.loads(data)
    if name == objects.PICKLE:
        if not pickle:
            raise BadPipeline(
                "what was stored is a pickle, which runs code when it is read; allow it by @step(pickle=True) on the "
                "step that gives it, or run that step again with --force"
            )
        return objects.pickle_loads(data)
    return _known(name).decode(data)


def opener_of(name: str) -> Callable[[Path], Any] | None:
    """How values of a format are taken from a file without being read, if they can be."""
    return _formats[name].open if name in _formats else None


def _known(name: str) -> Format:
    if name not in _formats and name.startswith(objects.RECORD):
        return record_format(objects.class_named(name))
    if name not in _formats:
        raise BadPipeline(f"format {name!r} is not known here; import the module that registers it")
    return _formats[name]


def package_of(name: str) -> str:
    """The module that makes the values of a format, or nothing."""
    return _formats[name].package if name in _formats else ""


def class_of_record(name: str) -> type | None:
    """The class of a record's format, if it is imported."""
    if not name.startswith(objects.RECORD):
        return None
    try:
        return objects.class_named(name)
    except BadPipeline:
        return None


def content_digest(value: Any) -> list[str]:
    """Format and digest of a value's bytes: what tells it apart in a key. Frames count as Parquet, which says nothing
    of how they lie in memory."""
    name, data = encode_value(value, "parquet")
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
    if is_a(value, "polars", "Series") or is_a(value, "pandas", "Series"):
        return "return series.to_frame()"
    if isinstance(value, set | frozenset):
        return "return sorted(values)"
    if is_a(value, "torch", "Module"):
        return "return model.state_dict(), and load it into a model that the next step makes"
    return (
        "return a frame of polars, pandas, Arrow or DuckDB, a numpy array, a tensor, a Path, bytes, text, numbers, a "
        "dataclass, a scikit-learn estimator, a booster, or a tuple, list or dict of these; register_format adds a "
        "type of your own, and @step(pickle=True) allows pickle"
    )


def _encode_estimator(estimator: Any) -> bytes:
    from headway.engines.pipelines import estimators  # noqa: PLC0415

    return estimators.dumps(estimator)


def _decode_estimator(data: bytes) -> Any:
    from headway.engines.pipelines import estimators  # noqa: PLC0415

    return estimators.loads(data)


def _is_sparse(value: Any) -> bool:
    return any(cls.__module__.startswith("scipy.sparse") for cls in type(value).__mro__)


def _is_estimator(value: Any) -> bool:
    return is_a(value, "sklearn", "BaseEstimator")


_is_tensor = _exactly("torch", "Tensor")


def _is_tensors(value: Any) -> bool:
    """A tensor, or a state dict."""
    if type(value) is not OrderedDict:
        return _is_tensor(value)
    return bool(value) and all(type(name) is str and _is_tensor(each) for name, each in value.items())


def _encode_onnx(model: Any) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


def _decode_onnx(data: bytes) -> Any:
    from onnx import load_model_from_string  # noqa: PLC0415

    return load_model_from_string(data)


def _always(value: Any) -> bool:
    return True


_is_polars = _exactly("polars", "DataFrame")
for _each in (
    Format("bytes", lambda value: type(value) is bytes, bytes, bytes),
    Format(
        "parquet", _is_polars, frames.polars_to_parquet, frames.polars_from_parquet, "polars",
        frames.polars_from_parquet_file, "parquet", _always,
    ),
    Format(
        "polars-arrow", _is_polars, frames.polars_to_arrow, frames.polars_from_arrow, "polars",
        frames.polars_from_arrow_file, "arrow", frames.is_worth_mapping,
    ),
    Format(
        "pandas", _exactly("pandas", "DataFrame"), frames.pandas_to_parquet, frames.pandas_from_parquet, "pandas",
        frames.pandas_from_parquet_file,
    ),
    Format("polars-lazy", _exactly("polars", "LazyFrame"), frames.lazy_to_parquet, frames.lazy_from_parquet, "polars"),
    Format(
        "arrow", _exactly("pyarrow", "Table"), frames.table_to_arrow, frames.table_from_arrow, "pyarrow",
        frames.table_from_arrow_file,
    ),
    Format(
        "duckdb", _exactly("duckdb", "DuckDBPyRelation"), frames.duckdb_to_arrow, frames.duckdb_from_arrow, "duckdb",
        frames.duckdb_from_arrow_file,
    ),
    Format("npy", _exactly("numpy", "ndarray"), arrays.dumps, arrays.loads, "numpy", arrays.mapped),
    Format("sparse", _is_sparse, arrays.sparse_dumps, arrays.sparse_loads, "scipy"),
    Format("skops", _is_estimator, _encode_estimator, _decode_estimator, "sklearn"),
    Format("onnx", _exactly("onnx", "ModelProto"), _encode_onnx, _decode_onnx, "onnx"),
    Format("safetensors", _is_tensors, tensors.dumps, tensors.loads, "torch", tensors.mapped),
    Format(
        "lightgbm", _exactly("lightgbm", "Booster"), boosters.lightgbm_dumps, boosters.lightgbm_loads, "lightgbm"
    ),
    Format("xgboost", _exactly("xgboost", "Booster"), boosters.xgboost_dumps, boosters.xgboost_loads, "xgboost"),
    *(
        Format(
            f"catboost:{cls}", _exactly("catboost", cls), boosters.catboost_dumps,
            partial(boosters.catboost_loads, cls=cls), "catboost",
        )
        for cls in ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker")
    ),
):  # fmt: skip
    register_format(_each)
