"""A made-up table of orders: what the journeys learn from, and what they ask about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, ORDERS_A_DAY = 40, 80
COURIERS = ("bike", "truck", "van")


def orders(first_day: int = 0, days: int = DAYS, *, a_day: int = ORDERS_A_DAY, drifted: bool = False) -> pl.DataFrame:
    """Orders of `days` days from the `first_day`-th on; the same for the same arguments."""
    chance = np.random.default_rng([first_day, days, a_day, drifted])
    count = days * a_day
    day = np.repeat(np.arange(first_day, first_day + days), a_day)
    distance = chance.uniform(60, 120, count) if drifted else chance.uniform(0, 60, count)
    weight = chance.uniform(0, 20, count) + (15 if drifted else 0)
    courier = chance.choice(COURIERS, count, p=(0.05, 0.9, 0.05) if drifted else (0.4, 0.3, 0.3))
    odds = -3 + 0.09 * distance + 0.05 * weight - 0.8 * (courier == "bike")
    late = (chance.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    minutes = day * 1440 + chance.uniform(0, 1439, count)
    times = [FIRST_DAY + timedelta(minutes=minute) for minute in minutes.tolist()]
    return pl.DataFrame(
        {
            "order": [f"{d}-{n}" + ("-drifted" if drifted else "") for n, d in enumerate(day.tolist())],
            "ordered_at": times,
            "distance_km": distance,
            "weight_kg": weight,
            "courier": courier,
            "delay_minutes": late * 40.0 + chance.normal(0, 10, count),
            "late": late,
        }
    ).sort("ordered_at")
