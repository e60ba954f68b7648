from __future__ import annotations

from typing import Any

import pytest

from headway.errors import BadSettings
from headway.lifecycle.monitors.records import Watches
from headway.lifecycle.monitors.settings import DriftSettings, QualitySettings, settings_of


def test_what_is_left_out_has_its_default() -> None:
    assert settings_of("m", Watches.DRIFT, {}) == DriftSettings()
    assert settings_of("m", Watches.QUALITY, {"min_labels": 50}) == QualitySettings(min_labels=50)
    assert settings_of("m", Watches.QUALITY, {}).label_lag_days == 1


@pytest.mark.parametrize(
    ("watches", "given", "told"),
    [
        (Watches.QUALITY, {"label_lag_dayz": 1}, "did you mean 'label_lag_days'"),
        (Watches.DRIFT, {"min_labels": 5}, "watches drift and has no setting 'min_labels'"),
        (Watches.QUALITY, {"min_labels": "many"}, "Expected `int`, got `str`"),
        (Watches.DRIFT, {"alpha": 1.0}, "alpha"),
        (Watches.DRIFT, {"arl": 0.5}, "arl"),
        (Watches.QUALITY, {"label_lag_days": -1}, "label_lag_days"),
    ],
)
def test_a_bad_setting_is_told(watches: Watches, given: dict[str, Any], told: str) -> None:
    with pytest.raises(BadSettings, match="monitor 'm'") as refused:
        settings_of("m", watches, given)
    assert told in str(refused.value)
