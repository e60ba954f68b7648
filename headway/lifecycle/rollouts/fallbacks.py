"""What answers in the place of a release that fails: another release, and after it a constant."""

from __future__ import annotations

from typing import Any

from headway.errors import Invalid
from headway.kernel.records import Value
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec

CONSTANT = "constant"
"""The name of a constant among those that answer."""
_TYPES: dict[Datatype, tuple[type, ...]] = {
    Datatype.BOOL: (bool,), Datatype.INT32: (int,), Datatype.INT64: (int,), Datatype.BYTES: (str,),
    Datatype.FP32: (int, float), Datatype.FP64: (int, float),
}  # fmt: skip


class Fallback(Value):
    """A chain: `release`, if there is one, then `constant`, if there is one. Neither is asked for what the caller did
    wrong."""

    release: str = ""
    constant: dict[str, Any] = {}
    """By output, its value for every row: one, or a list of as many as it is wide."""
    after_ms: int = 0
    """How long a model in a worker may take before the chain answers; 0 for as long as its worker may."""


def must_stand_in(signature: Signature, other: Signature) -> None:
    """Raises `Invalid` unless a model of the signature `other` can answer for one of `signature`."""
    given = {spec.name: spec for spec in other.outputs}
    for spec in signature.outputs:
        found = given.get(spec.name)
        if found is None or (found.datatype, found.shape[1:]) != (spec.datatype, spec.shape[1:]):
            raise Invalid(f"it gives {_told(found) if found else 'no ' + spec.name}, where {_told(spec)} is expected")
    if signature.classes != other.classes:
        raise Invalid(f"it tells the classes {list(other.classes)[:20]} apart, not {list(signature.classes)[:20]}")
    known = {name for spec in signature.inputs for name in spec.columns}
    if more := [name for spec in other.inputs for name in spec.columns if name not in known]:
        raise Invalid(f"it takes {', '.join(more[:10])}, which requests do not bring")


def must_be_answer(constant: dict[str, Any], signature: Signature) -> None:
    """Raises `Invalid` unless `constant` has a value for every output."""
    names = [spec.name for spec in signature.outputs]
    if set(constant) != set(names):
        raise Invalid(f"a constant has a value for each of the outputs {', '.join(names)}, and for no other")
    for spec in signature.outputs:
        value = constant[spec.name]
        values = value if isinstance(value, list) else [value]
        width = spec.shape[1] if len(spec.shape) > 1 else 1
        if len(values) != width or len(spec.shape) > 2 or not all(_is(each, spec.datatype) for each in values):
            raise Invalid(
                f"the constant of output {spec.name!r} must be {width} of {spec.datatype}, not {value!r:.100}"
            )


def _is(value: Any, datatype: Datatype) -> bool:
    return isinstance(value, _TYPES[datatype]) and (datatype is Datatype.BOOL or not isinstance(value, bool))


def _told(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.datatype} {list(spec.shape)}"
