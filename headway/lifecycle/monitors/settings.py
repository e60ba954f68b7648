"""The settings of a monitor, by what it watches, with what they are unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headway.errors import BadSettings
from headway.kernel.naming import nearest
from headway.kernel.records import Value
from headway.lifecycle.monitors.quality import QualityRule
from headway.lifecycle.monitors.records import Watches
from headway.lifecycle.monitors.reference import DriftRule
from headway.lifecycle.monitors.skew import SkewRule

Days = Annotated[int, Meta(ge=0)]


class DriftSettings(DriftRule):
    label_lag_days: Days = 0
    """How many more days a closed day waits for rows that come late."""


class QualitySettings(QualityRule):
    label_lag_days: Days = 1
    """How many more days a closed day waits for its labels."""


class SkewSettings(SkewRule):
    label_lag_days: Days = 0
    """How many more days a closed day waits for rows that come late."""


class DataSettings(Value):
    datasets: tuple[str, ...] = ()
    """Whose new versions are looked at; all that the serving model came from, if there are none."""


Settings = DriftSettings | QualitySettings | SkewSettings | DataSettings
SETTINGS: Mapping[Watches, type[Settings]] = {
    Watches.DRIFT: DriftSettings,
    Watches.QUALITY: QualitySettings,
    Watches.CLASSES: DriftSettings,
    Watches.SKEW: SkewSettings,
    Watches.DATA: DataSettings,
}


def settings_of(name: str, watches: Watches, given: Mapping[str, Any]) -> Settings:
    """The settings of monitor `name`; raises `BadSettings` naming the nearest known key, or what a value must be."""
    kind = SETTINGS[watches]
    for key in given:
        if key not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            raise BadSettings(
                f"monitor {name!r} watches {watches} and has no setting {key!r}"
                f"{nearest(key, kind.__struct_fields__)}; it has {known}"
            )
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise BadSettings(f"monitor {name!r}: {error}") from error
