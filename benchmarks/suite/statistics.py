"""Medians of ratios of the same round, and whether a change is more than noise."""

from dataclasses import asdict, dataclass

import numpy as np

FEWEST = 0.03  # by which two measurements of the same may differ, whatever their spread says
MORE_MEMORY = 0.1
FEWEST_ROUNDS = 3  # whose quartiles say something of the noise


@dataclass(frozen=True)
class Spread:
    """Numbers of all rounds in short: their median, the quartiles, and how many there are."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"

    def as_dict(self) -> dict:
        return asdict(self)


def spread(numbers) -> Spread:
    """Raises ValueError where there are none."""
    numbers = np.asarray(numbers, "float64")
    if not numbers.size:
        raise ValueError("there are no rounds to take the median of.")
    low, median, high = np.quantile(numbers, (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high), int(numbers.size))


def fastest(seconds, engines) -> float | None:
    """Seconds of the fastest of some engines in one round, None where none of them took part.

    Args:
        seconds: dict, engine -> seconds.
    """
    return min((seconds[name] for name in engines if name in seconds), default=None)


def ratios(rounds, engine, to) -> list[float]:
    """How many times as fast an engine was as the fastest of `to`, in each round that both took part in.

    Args:
        rounds: list of dicts, engine -> seconds.
        engine: name.
        to: names.
    """
    found = []
    for seconds in rounds:
        base = fastest(seconds, to)
        if base is not None and engine in seconds:
            found.append(base / seconds[engine])
    return found


def seconds_of(rounds, engine) -> list[float]:
    return [seconds[engine] for seconds in rounds if engine in seconds]


def changed(before, after) -> float:
    """By how much a speed changed beyond the noise: below 0 slower, 0 where quartiles and `FEWEST` explain it.

    Args:
        before, after: `Spread`s of speeds, more is faster.

    Returns:
        Relative change, such as -0.2 of what takes 1.25 times as long.
    """
    change = after.median / before.median - 1.0
    noise = sum(((each.high - each.low) / each.median) ** 2 for each in (before, after)) ** 0.5
    return change if abs(change) > max(noise, FEWEST) else 0.0
