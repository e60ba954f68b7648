"""The checks that every gate may demand, by name, with their settings and what they are unless said otherwise."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from headway.errors import BadSettings
from headway.kernel.naming import nearest
from headway.kernel.records import Value
from headway.lifecycle.environments.records import CheckSpec

CONTRACT = "contract"
LEAKAGE = "leakage"
BETTER_THAN_BASELINE = "better-than-baseline"
BETTER_THAN_CHAMPION = "better-than-champion"
SLICES = "slices"
PARITY = "parity"
LATENCY = "latency"
CALIBRATION = "calibration"
TAGS = "tags"

Alpha = Annotated[float, Meta(gt=0, lt=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Least = Annotated[int, Meta(ge=1)]
NotBelowZero = Annotated[float, Meta(ge=0)]


class ContractSettings(Value):
    """Training and held-out data have a contract, held-out data keep it, and the model takes features of it alone."""


class LeakageSettings(Value):
    """Nothing that the model is given tells it the answer."""

    max_auc: Annotated[float, Meta(gt=0.5, le=1)] = 0.98
    """How well one column alone may tell the labels apart."""
    max_correlation: Annotated[float, Meta(gt=0, le=1)] = 0.99
    """The same for a regression: the rank correlation with the label."""
    max_shared: Share | None = None
    """The share of held-out rows that may be in the training data; 0 with a key, 0.01 without, where rows may be equal
    by chance."""


class BaselineSettings(Value):
    """The mean loss is below that of every baseline by more than `margin`."""

    margin: NotBelowZero = 0.0
    margins: dict[str, float] = {}
    """In place of `margin` for single baselines. Below zero it is enough not to be worse by more than that: for a rival
    that is nearly as good and cannot be told apart on the held-out days."""
    alpha: Alpha = 0.05
    min_rows: Least = 100
    min_days: Least = 5


class ChampionSettings(Value):
    """The mean loss is not above that of the model that serves now by more than `margin`."""

    margin: NotBelowZero = 0.01
    alpha: Alpha = 0.05
    min_rows: Least = 100
    min_days: Least = 5


class SlicesSettings(Value):
    """In no slice `by` a column is the mean loss above that of the best baseline by more than `margin`."""

    by: Annotated[tuple[str, ...], Meta(min_length=1)]
    margin: NotBelowZero = 0.0
    alpha: Alpha = 0.05
    min_rows: Least = 100
    min_days: Least = 5
    max_unproven_share: Share = 0.2
    """The share of rows that may lie in slices of which nothing is shown."""


class ParitySettings(Value):
    """The served form answers as the trained one did, and with finite scores on every held-out row."""

    max_difference: NotBelowZero = 1e-4
    """What the gate tolerates, whatever the version was registered with."""
    min_rows: Least = 100


class LatencySettings(Value):
    """One row in a hundred at most takes longer than `budget_us` on this machine."""

    budget_us: Annotated[float, Meta(gt=0)] = 10_000.0
    rows: Annotated[int, Meta(ge=400)] = 500
    """From 381 rows on it can be shown at all."""
    alpha: Alpha = 0.05


class CalibrationSettings(Value):
    """What was predicted is what happened, by tenths of the scores: the expected calibration error is small."""

    max_ece: Share = 0.05
    alpha: Alpha = 0.05
    min_rows: Least = 500
    min_days: Least = 5


class TagsSettings(Value):
    """None of the data that the model came from, however far back, bears a tag that is banned here."""

    banned: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Tags, or the beginnings of some: `licence:` bans each licence that is named."""


CHECKS: Mapping[str, type[Value]] = {
    CONTRACT: ContractSettings,
    LEAKAGE: LeakageSettings,
    BETTER_THAN_BASELINE: BaselineSettings,
    BETTER_THAN_CHAMPION: ChampionSettings,
    SLICES: SlicesSettings,
    PARITY: ParitySettings,
    LATENCY: LatencySettings,
    CALIBRATION: CalibrationSettings,
    TAGS: TagsSettings,
}


def settings_of(spec: CheckSpec, own: Collection[str] = ()) -> Value | None:
    """The settings of a check as its record, or None for one of the project's `own` checks, which reads its own.

    Raises `BadSettings` for a check or a setting that does not exist, naming the nearest, and for a bad value.
    """
    if spec.check in own:
        return None
    if spec.check not in CHECKS:
        raise BadSettings(
            f"there is no check {spec.check!r}{nearest(spec.check, [*CHECKS, *own])}; there are {', '.join(CHECKS)}, "
            "and functions of the project marked with @hw.check"
        )
    kind = CHECKS[spec.check]
    known = kind.__struct_fields__
    for name in spec.settings:
        if name not in known:
            there = ", ".join(known) or "none"
            raise BadSettings(f"check {spec.check!r} has no setting {name!r}{nearest(name, known)}; it has {there}")
    try:
        return msgspec.convert(spec.settings, kind)
    except msgspec.ValidationError as error:
        raise BadSettings(f"check {spec.check!r}: {error}") from error
