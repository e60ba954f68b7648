"""Predicted classes: are today's shares of them those of the held-out days that the gate saw?

What a model says seldom comes as often as what happens, so it is held against what it said itself, not against labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway.lifecycle.datasets.profile import Layout, LevelLayout, LevelProfile, Profile, merge_all
from headway.lifecycle.datasets.reference import Reference
from headway.lifecycle.models.records import ClassName

LABEL = "_label"
"""The captured column of what was predicted."""


def class_layout(classes: Sequence[ClassName]) -> Layout:
    """One cell for each class, in their order, and one for all others."""
    return Layout(columns={LABEL: LevelLayout(levels=tuple(str(name) for name in classes))})


def class_reference(classes: Sequence[ClassName], by_day: Mapping[str, Sequence[int]]) -> Reference:
    """From how often each class was predicted on each held-out day, in the order of `classes`."""
    layout = class_layout(classes)
    days = {day: _profile(layout, counts) for day, counts in sorted(by_day.items())}
    whole = merge_all(days.values()) if days else _profile(layout, [0] * len(classes))
    return Reference(layout=layout, whole=whole, days=days)


def _profile(layout: Layout, counts: Sequence[int]) -> Profile:
    n = sum(counts)
    column = LevelProfile(n=n, nulls=0, counts=(*counts, 0))
    return Profile(layout=layout.digest, rows=n, columns={LABEL: column})
