"""Values against annotations, as far as that is cheap: the class of a value, not what a long list of it holds."""

from __future__ import annotations

import inspect
import types
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

_WIDER: dict[Any, tuple[type, ...]] = {float: (int,), complex: (float, int)}
"""What may stand for what, as type checkers have it."""
_NUMBERS = (bool, int, float, complex)
_EMPTY = inspect.Parameter.empty
_BY_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def taken_fault(parameter: inspect.Parameter, value: Any) -> str:
    """What is wrong with `value` as the argument of `parameter`, or nothing."""
    if parameter.annotation is _EMPTY or parameter.kind in _BY_MANY or value is parameter.default:
        return ""
    if fits(value, parameter.annotation):
        return ""
    return f"it was given {_kind(value)}, and its annotation says {_written(parameter.annotation)}"


def given_fault(signature: inspect.Signature, value: Any) -> str:
    """What is wrong with `value` as what a function of `signature` gives, or nothing."""
    said = signature.return_annotation
    if said is inspect.Signature.empty or fits(value, said):
        return ""
    return f"gives {_kind(value)}, and its annotation says {_written(said)}"


def fits(value: Any, said: Any) -> bool:
    """Whether `value` may be what the annotation `said` says. True whenever that cannot be told."""
    try:
        return _fits(value, said)
    except TypeError:  # a protocol, a typed dict: only a type checker can tell
        return True


def _fits(value: Any, said: Any) -> bool:
    if said is None:
        return value is None
    origin = get_origin(said)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in get_args(said))
    if origin is Annotated:
        return fits(value, get_args(said)[0])
    if origin is Literal:
        return value in get_args(said)
    if origin is tuple and isinstance(value, tuple):
        return _fits_tuple(value, get_args(said))
    kind = origin or getattr(said, "__supertype__", said)
    if not isinstance(kind, type) or isinstance(said, TypeVar):
        return True
    if kind in _NUMBERS and getattr(value, "ndim", None) == 0:  # a number of numpy's
        return True
    return isinstance(value, (kind, *_WIDER.get(kind, ()))) or any(
        _same_name(each, kind) for each in type(value).__mro__
    )


def _same_name(one: type, other: type) -> bool:
    """A class that was defined anew, as when the cell of a notebook is run again, is as good as the one before."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _fits_tuple(value: tuple[Any, ...], parts: tuple[Any, ...]) -> bool:
    if not parts or parts[-1] is Ellipsis:
        return True
    return len(value) == len(parts) and all(map(fits, value, parts))


def _kind(value: Any) -> str:
    if type(value) is tuple:
        return f"({', '.join(type(item).__name__ for item in value[:8])})"
    return "None" if value is None else f"a {type(value).__qualname__}"


def _written(said: Any) -> str:
    return said.__qualname__ if isinstance(said, type) and get_origin(said) is None else str(said)
