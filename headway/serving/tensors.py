"""From the tensors of a request to what a model takes, checked against its signature and its contract."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from headway.errors import BadTensor, ContractBroken, Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, WhenSkewed, request_violations, rows_out
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.serving.dialects.protocol import NOT_SHARED, Tensor
from headway.serving.dialects.wire import Numbers, must_convert

Feed = dict[str, NDArray[Any]]
ByRow = dict[str, list[int]]
"""By feature, rows of a batch."""
"""By feature, the rows in which its default stands for what the request lacks."""


class Element(NamedTuple):
    """What one element of a datatype may be; no bounds where every value fits."""

    dtype: DTypeLike
    types: frozenset[type]
    low: float | None = None
    high: float | None = None


_FP32_MAX, _FP64_MAX = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)
ELEMENTS = {
    Datatype.BOOL: Element(np.bool_, frozenset({bool})),
    Datatype.INT32: Element(np.int32, frozenset({int}), -(2**31), 2**31 - 1),
    Datatype.INT64: Element(np.int64, frozenset({int}), -(2**63), 2**63 - 1),
    Datatype.FP32: Element(np.float32, frozenset({int, float}), -_FP32_MAX, _FP32_MAX),
    Datatype.FP64: Element(np.float64, frozenset({int, float}), -_FP64_MAX, _FP64_MAX),
    Datatype.BYTES: Element(np.object_, frozenset({str})),
}
FLOATS = (Datatype.FP32, Datatype.FP64)


class Batch(msgspec.Struct, gc=False):
    """The rows of one request: `feed` for the model; `cells` in the order of the features, a missing number as None: a
    list each, or, of a single row, its values, which take up so much less memory that thousands may wait to be
    written. Defaults are in both, and `filled` says where."""

    feed: Feed
    cells: tuple[Any, ...]
    rows: int
    filled: ByRow


class InputTensor:
    """One input of a signature; `defaults` are of its features. Raises `Invalid` for a shape other than [-1] and
    [-1, width]."""

    def __init__(self, spec: TensorSpec, defaults: Mapping[str, Any]) -> None:
        match spec.shape:
            case (-1,):
                self.width = 1
            case (-1, width) if width >= 1:
                self.width = width
            case _:
                raise Invalid(f"input {spec.name!r} has shape {list(spec.shape)}; it must be [-1] or [-1, width]")
        self.name, self.datatype, self.shape = spec.name, spec.datatype, spec.shape
        self.columns = spec.columns
        self.defaults = {at: defaults[name] for at, name in enumerate(self.columns) if name in defaults}

    @property
    def may_lack(self) -> bool:
        return len(self.defaults) == self.width

    def values(self, tensor: Tensor, rows: int, filled: ByRow) -> list[Any]:
        """The elements of `rows` rows in one list, defaults in the place of nulls; their types are not looked at."""
        shape, data, width = tensor.shape, tensor.data, self.width
        if data is None:
            shared = tensor.parameters and tensor.parameters.shared_memory_region is not None
            raise self.bad(NOT_SHARED if shared else "has no data")
        if not ((len(shape) == 2 and shape[1] == width) or len(shape) == width == 1) or shape[0] < 1:
            raise self.bad(f"has shape {shape}, but the model takes {list(self.shape)} with at least one row")
        if shape[0] != rows:
            raise self.bad(f"has {shape[0]} rows, but the first input has {rows}")
        if data and type(data[0]) is list:
            data = self._flat(shape, data)
        if len(data) != rows * width:
            raise self.bad(f"has {len(data)} elements, but its shape {shape} holds {math.prod(shape)}")
        if self.defaults and None in data:
            self._must_convert([value for value in data if value is not None], tensor.datatype)
            return self._filled(data, filled)
        self._must_convert(data, tensor.datatype)
        return data

    def _filled(self, data: list[Any], filled: ByRow) -> list[Any]:
        whole = list(data)
        for at, default in self.defaults.items():
            places = [place for place in range(at, len(data), self.width) if data[place] is None]
            if places:
                filled[self.columns[at]] = [place // self.width for place in places]
            for place in places:
                whole[place] = default
        return whole

    def joined(self, columns: Mapping[str, list[Any]]) -> list[Any]:
        """The elements of this tensor from the features in it; raises KeyError for one that is missing."""
        split = [columns[column] for column in self.columns]
        return split[0] if self.width == 1 else list(chain.from_iterable(zip(*split, strict=True)))

    def bad(self, what: str) -> BadTensor:
        return BadTensor(f"input {self.name!r} {what}", tensor=self.name)

    def _must_convert(self, data: list[Any], datatype: str) -> None:
        if datatype == self.datatype or not data:
            return
        try:
            must_convert(data, datatype, self.datatype)
        except ValueError as error:
            raise self.bad(str(error)) from None

    def _flat(self, shape: list[int], data: list[Any]) -> list[Any]:
        if len(shape) != 2 or any(type(row) is not list or len(row) != self.width for row in data):
            raise self.bad(f"has nested data that is not {shape}: send one list of {self.width} per row")
        return list(chain.from_iterable(data))


class Panel:
    """Inputs of one datatype and shape, which are checked and turned into arrays together: a model with a tensor per
    feature would else pay for each of them."""

    def __init__(self, tensors: Sequence[InputTensor]) -> None:
        self.tensors = tensors
        self._datatype, self._tail = tensors[0].datatype, tensors[0].shape[1:]
        self._element = ELEMENTS[self._datatype]

    def arrays(self, values: Sequence[list[Any]], rows: int) -> NDArray[Any]:
        """One array per tensor, stacked; None becomes NaN. Raises `BadTensor` for an element of another type."""
        elements = values[0] if len(values) == 1 else list(chain.from_iterable(values))
        if isinstance(elements, Numbers) and elements.array.dtype == self._element.dtype:
            return elements.array.reshape(1, rows, *self._tail)
        if strange := self._strange(elements):
            for tensor, own in zip(self.tensors, values, strict=True):
                strange = self._strange(own)
                if strange:
                    raise tensor.bad(strange)
        return np.array(elements, dtype=self._element.dtype).reshape(len(self.tensors), rows, *self._tail)

    def _strange(self, elements: list[Any]) -> str:
        """What is wrong with the elements, or nothing."""
        types, low, high = self._element.types, self._element.low, self._element.high
        strange = set(map(type, elements)) - types
        if strange == {type(None)} and self._datatype in FLOATS:
            elements = [element for element in elements if element is not None]
        elif strange:
            names = ", ".join(sorted("null" if kind is type(None) else kind.__name__ for kind in strange))
            return f"is {self._datatype}, but its data holds {names}"
        if low is not None and high is not None and elements and (min(elements) < low or max(elements) > high):
            return f"holds a number that is out of the range of {self._datatype}"
        return ""


class Rule:
    """A quick look at a column. What it lets pass keeps the contract's rule; what it doubts, the contract judges."""

    def __init__(self, rule: ColumnRule) -> None:
        self._nullable = rule.nulls > 0
        self.low = -math.inf if rule.low is None else rule.low
        self.high = math.inf if rule.high is None else rule.high
        self.levels = None if rule.levels is None else frozenset(rule.levels)

    def keeps(self, values: list[Any]) -> bool:
        if None in values:
            if not self._nullable:
                return False
            values = [value for value in values if value is not None]
            if not values:
                return True
        if isinstance(values[0], str):
            return self.levels is None or self.levels.issuperset(values)
        return bool(self.low <= min(values) and max(values) <= self.high)


class RowRules:
    """The rules for a single row, as few steps as can be: most requests have one."""

    def __init__(self, rules: Mapping[str, Rule], texts: Set[str], columns: Sequence[str]) -> None:
        placed = [(columns.index(name), name, rule) for name, rule in rules.items()]
        self._bounds = [(at, rule.low, rule.high) for at, name, rule in placed if name not in texts]
        self._levels = [(at, rule.levels) for at, name, rule in placed if name in texts and rule.levels is not None]

    def keeps(self, cells: Sequence[Any]) -> bool:
        """False for what breaks a rule, and for what only `Rule` can judge."""
        try:
            for at, low, high in self._bounds:
                if not low <= cells[at] <= high:
                    return False
        except TypeError:  # a missing number
            return False
        return all(cells[at] in levels for at, levels in self._levels)


class Inputs:
    """The inputs of one model version: reads and checks what a request brings."""

    def __init__(self, signature: Signature, contract: Contract | None) -> None:
        self._contract = contract
        self._features = {rule.name: rule for rule in contract.columns if rule.use is Use.FEATURE} if contract else {}
        self.defaults = {rule.name: rule.default for rule in self._features.values() if rule.default is not None}
        self.tensors = {spec.name: InputTensor(spec, self.defaults) for spec in signature.inputs}
        self._panels = _panels(self.tensors.values())
        self.columns = columns = feature_names(signature.inputs)
        if not columns or len(set(columns)) < len(columns) or any(name.startswith("_") for name in columns):
            raise Invalid(f"features must differ, and not begin with an underscore as captured columns do: {columns}")
        self._rules = {name: Rule(self._features[name]) for name in columns if name in self._features}
        texts = {
            name for tensor in self.tensors.values() if tensor.datatype is Datatype.BYTES for name in tensor.columns
        }
        self._row_rules = RowRules(self._rules, texts, columns)
        self._lenient = self._rules.keys() - contract.columns_to(WhenSkewed.REFUSE) if contract else set[str]()
        self._unruled = [(at, name) for at, name in enumerate(columns) if name not in self._features]

    def read(self, tensors: Sequence[Tensor]) -> Batch:
        """The rows in `tensors`; raises `BadTensor` naming the tensor that does not fit the signature."""
        known = self.tensors
        brought = {tensor.name: tensor for tensor in tensors}
        if brought.keys() != known.keys() or len(tensors) != len(known):
            self._complete(tensors, brought)
        rows, filled = tensors[0].shape[0] if tensors[0].shape else 0, ByRow()
        values = {name: tensor.values(brought[name], rows, filled) for name, tensor in known.items()}
        cells = tuple(chain.from_iterable(values.values())) if rows == 1 else self._columns(values)
        for at, name in self._unruled:
            if cells[at] is None or (rows > 1 and None in cells[at]):
                raise BadTensor(f"feature {name!r} is null, which no contract allows", tensor=name)
        return Batch(self._feed(values, rows), cells, rows, filled)

    def _complete(self, tensors: Sequence[Tensor], brought: dict[str, Tensor]) -> None:
        """Bring nulls for the tensors that a request may lack."""
        lacking = [tensor for name, tensor in self.tensors.items() if name not in brought]
        if not tensors or len(tensors) + len(lacking) != len(self.tensors) or not all(t.may_lack for t in lacking):
            raise self._wrong_names([tensor.name for tensor in tensors])
        rows = tensors[0].shape[0] if tensors[0].shape else 0
        if not 0 < rows <= len(tensors[0].data or ()):
            raise BadTensor(f"input {tensors[0].name[:200]!r} does not hold the {rows} rows of its shape")
        for tensor in lacking:
            brought[tensor.name] = Tensor(
                tensor.name, [rows, tensor.width], tensor.datatype, [None] * (rows * tensor.width)
            )

    def may_lack(self, column: str) -> bool:
        """Whether a request may have a null there: a default stands for it, or it is a number that may be missing."""
        if column in self.defaults:
            return True
        floats = any(tensor.datatype in FLOATS for tensor in self.tensors.values() if column in tensor.columns)
        rule = self._features.get(column)
        return floats and rule is not None and (rule.nulls > 0 or column in self._lenient)

    def bounds(self, column: str) -> tuple[float, float]:
        """What the contract lets a number be, without looking at it again."""
        rule = self._rules.get(column)
        return (rule.low, rule.high) if rule else (-math.inf, math.inf)

    def by_column(self, batch: Batch) -> dict[str, list[Any]]:
        """The rows of a batch as feature -> one value per row."""
        columns = [[cell] for cell in batch.cells] if batch.rows == 1 else batch.cells
        return dict(zip(self.columns, columns, strict=True))

    def first(self, batch: Batch, column: str) -> Any:
        """The value of a feature in the first row, as the model takes it: NaN for a missing number."""
        tensor = next(tensor for tensor in self.tensors.values() if column in tensor.columns)
        place = tensor.columns.index(column)
        return batch.feed[tensor.name][:1].reshape(-1)[place : place + 1].tolist()[0]

    def check(self, batch: Batch) -> ByRow:
        """By feature, the rows whose value breaks a rule that the contract lets pass; raises `ContractBroken` for one
        that it does not."""
        if self._contract is None or (batch.rows == 1 and self._row_rules.keeps(batch.cells)):
            return {}
        columns = self.by_column(batch)
        doubted = {name: columns[name] for name, rule in self._rules.items() if not rule.keeps(columns[name])}
        refused = {name: values for name, values in doubted.items() if name not in self._lenient}
        if refused and (found := request_violations(self._contract, refused)):
            raise ContractBroken("; ".join(map(str, found)), violations=found)
        skewed = {
            name: list(rows_out(self._features[name], doubted[name])) for name in doubted if name in self._lenient
        }
        return {name: rows for name, rows in skewed.items() if rows}

    def feed(self, columns: dict[str, list[Any]]) -> Feed:
        """What the model takes, from columns that were read before; raises KeyError for one that is missing."""
        values = {name: tensor.joined(columns) for name, tensor in self.tensors.items()}
        first = next(iter(self.tensors.values()))
        return self._feed(values, len(columns[first.columns[0]]))

    def split(self, rows: NDArray[Any]) -> Feed:
        """What the model takes, if it takes floats only, from rows of all its features in their order."""
        feed, at = Feed(), 0
        for name, tensor in self.tensors.items():
            own = rows[:, at : at + tensor.width].astype(ELEMENTS[tensor.datatype].dtype, order="C", copy=False)
            feed[name] = own.reshape(len(rows), *tensor.shape[1:])
            at += tensor.width
        return feed

    def example(self) -> Feed:
        """One row that keeps the contract, to warm a model with."""
        columns = {}
        for tensor in self.tensors.values():
            for name in tensor.columns:
                columns[name] = [_example(self._features.get(name), tensor.datatype)]
        return self.feed(columns)

    def _feed(self, values: dict[str, list[Any]], rows: int) -> Feed:
        feed: Feed = {}
        for panel in self._panels:
            arrays = panel.arrays([values[tensor.name] for tensor in panel.tensors], rows)
            for tensor, array in zip(panel.tensors, arrays, strict=True):
                feed[tensor.name] = array
        return feed

    def _columns(self, values: dict[str, list[Any]]) -> tuple[list[Any], ...]:
        widths = [(self.tensors[name].width, elements) for name, elements in values.items()]
        return tuple(
            elements[at::width] if width > 1 else elements for width, elements in widths for at in range(width)
        )

    def _wrong_names(self, names: list[str]) -> BadTensor:
        missing = sorted(name for name, t in self.tensors.items() if name not in names and not t.may_lack)[:10]
        strange = sorted(name for name, times in Counter(names).items() if name not in self.tensors or times > 1)[:10]
        return BadTensor(
            f"the inputs do not fit the model: missing {missing}, unknown or repeated {strange}",
            missing=missing,
            unknown=strange,
        )


def _panels(tensors: Iterable[InputTensor]) -> list[Panel]:
    groups: dict[tuple[Datatype, tuple[int, ...]], list[InputTensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.datatype, tensor.shape), []).append(tensor)
    return [Panel(group) for group in groups.values()]


def feature_names(inputs: Iterable[TensorSpec]) -> tuple[str, ...]:
    """The features of all inputs, in their order."""
    return tuple(name for spec in inputs for name in spec.columns)


def _example(rule: ColumnRule | None, datatype: Datatype) -> Any:
    if datatype is Datatype.BYTES:
        return rule.levels[0] if rule and rule.levels else ""
    value = 0.0
    if rule and rule.low is not None:
        value = max(value, rule.low)
    if rule and rule.high is not None:
        value = min(value, rule.high)
    return value if datatype in FLOATS else int(value)
