"""Compute layouts and profiles from columns of values. Needs the extra [ml]; what it returns does not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.errors import Invalid
from headway.lifecycle.datasets.profile import (
    LARGEST,
    Layout,
    LevelLayout,
    LevelProfile,
    NumericLayout,
    NumericProfile,
    Profile,
)

Columns = Mapping[str, "NDArray[Any] | Sequence[Any]"]
"""Name -> one value per row: numbers, booleans, or texts; null is None or NaN."""

CELLS = 512
LEVELS = 500
_NUMERIC_KINDS = "iuf"
_NUMBERS = {int, float, np.int64, np.int32, np.float64, np.float32}
_LEVELS = _NUMBERS | {str, np.str_, bool, np.bool_, type(None)}


def learn_layout(columns: Columns, *, categorical: Collection[str] = ()) -> Layout:
    """Freeze the cut points and levels of a reference table.

    Columns of numbers get at most 512 cells: one for each distinct value if there are so few, else cells that hold
    equally many rows (quantiles, so heavy tails need no transform). Texts, booleans and the columns named in
    `categorical` get their 500 most frequent levels. Raises `Invalid` for columns of other types or other lengths.
    """
    if unknown := set(categorical) - set(columns):
        raise Invalid(f"no such column to count by level: {', '.join(sorted(unknown))}")
    layouts: dict[str, NumericLayout | LevelLayout] = {}
    for name, values in _arrays(columns).items():
        if name not in categorical and (numbers := _numbers(values)) is not None:
            layouts[name] = NumericLayout(cuts=_cuts(numbers[np.abs(numbers) <= LARGEST]))
        else:
            ranked = sorted(_level_counts(name, values).items(), key=lambda item: (-item[1], item[0]))
            layouts[name] = LevelLayout(levels=tuple(level for level, _ in ranked[:LEVELS]))
    return Layout(columns=layouts)


def profile(columns: Columns, layout: Layout) -> Profile:
    """Count `columns` over `layout`; raises `Invalid` unless they have the names and types of the layout."""
    if columns.keys() != layout.columns.keys():
        missing, extra = sorted(layout.columns.keys() - columns.keys()), sorted(columns.keys() - layout.columns.keys())
        raise Invalid(f"the columns are not those of the layout: missing {missing}, not in it {extra}")
    arrays = _arrays(columns)
    profiles = {name: _profiled(name, arrays[name], column) for name, column in layout.columns.items()}
    rows = len(next(iter(arrays.values()))) if arrays else 0
    return Profile(layout=layout.digest, rows=rows, columns=profiles)


def _arrays(columns: Columns) -> dict[str, NDArray[Any]]:
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    if len({array.shape for array in arrays.values()}) > 1 or any(array.ndim != 1 for array in arrays.values()):
        shapes = {name: array.shape for name, array in arrays.items()}
        raise Invalid(f"every column needs one value per row; the shapes are {shapes}")
    return arrays


def _numbers(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """`values` as float64 with NaN for null, or None if they are not numbers."""
    if values.dtype.kind in _NUMERIC_KINDS:
        return values.astype(np.float64, copy=False)
    if values.dtype.kind != "O":
        return None
    known = {type(value) for value in values.tolist()} - {type(None)}
    if known and known <= _NUMBERS:
        return values.astype(np.float64)  # None becomes NaN
    return None


def _cuts(finite: NDArray[np.float64]) -> tuple[float, ...]:
    if not finite.size:
        return ()
    ordered = np.sort(finite)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if distinct.size > CELLS:
        distinct = np.unique(ordered[np.arange(CELLS) * ordered.size // CELLS])
    above = np.nextafter(ordered[-1], np.inf)
    return (*distinct.tolist(), float(above))


def _profiled(name: str, values: NDArray[Any], layout: NumericLayout | LevelLayout) -> NumericProfile | LevelProfile:
    if isinstance(layout, LevelLayout):
        return _count_levels(_level_counts(name, values), len(values), layout)
    numbers = _numbers(values)
    if numbers is None:
        if any(value is not None for value in values.tolist()):
            raise Invalid(f"column {name!r} held numbers in the reference and holds {values.dtype} now")
        numbers = np.full(len(values), np.nan)
    return _count_cells(numbers, layout)


def _count_cells(numbers: NDArray[np.float64], layout: NumericLayout) -> NumericProfile:
    nulls = int(np.isnan(numbers).sum())
    finite = numbers[np.abs(numbers) <= LARGEST]  # NaN compares false
    cells = np.searchsorted(np.asarray(layout.cuts), finite, side="right")
    counts = tuple(np.bincount(cells, minlength=layout.cells).tolist())
    rest = len(numbers) - nulls - finite.size
    if not finite.size:
        return NumericProfile(n=0, nulls=nulls, non_finite=rest, counts=counts)
    mean = float(finite.mean())
    apart = finite - mean
    return NumericProfile(
        n=finite.size, nulls=nulls, non_finite=rest, counts=counts,
        mean=mean, m2=float(apart @ apart), low=float(finite.min()), high=float(finite.max()),
    )  # fmt: skip


def _level_counts(name: str, values: NDArray[Any]) -> Counter[str]:
    listed = values.tolist()
    if strange := {type(value) for value in listed} - _LEVELS:
        found = ", ".join(sorted(kind.__name__ for kind in strange))
        raise Invalid(f"column {name!r} holds {found}; give numbers, booleans or texts")
    counts: Counter[str] = Counter()
    for value, count in Counter(listed).items():
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            counts[_level(value)] += count
    return counts


def _level(value: object) -> str:
    """One text for one level: 3 and 3.0 are the same code, True is a word of its own."""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, (float, np.floating)) and value.is_integer():
        return str(int(value))
    return str(value)


def _count_levels(counts: Counter[str], rows: int, layout: LevelLayout) -> LevelProfile:
    n = counts.total()
    known = [counts.get(level, 0) for level in layout.levels]
    return LevelProfile(n=n, nulls=rows - n, counts=(*known, n - sum(known)))
