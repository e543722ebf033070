"""The world: bearings from new to their limit, in machines that change their speed, are knocked, and lose samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from examples.bearing.monitor import HEALTHY, LIMIT, RATE, RECORD, STRIKES, response

SPALL = 0.2
"""The size of strikes (g) of a fresh spall."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Life:
    """A bearing from new to its limit: what the sensor delivers `[ticks]`, and what nobody tells the monitor."""

    sample: Array
    valid: Array
    speed: Array
    onset: int
    """The record at which the spall begins."""
    end: int
    """The record at which the strikes reach the limit: the last one of a whole life."""

    @property
    def streams(self) -> tuple[Array, Array, Array]:
        return self.sample, self.valid, self.speed


def growth(rng: np.random.Generator) -> tuple[int, Array]:
    """When the spall begins, and the size of the strikes (g) at every record from then to the limit.

    Exponential growth (Gebraeel et al. 2005), with a rate of its own per bearing, that changes once and wanders.
    """
    onset = int(rng.integers(HEALTHY + 20, HEALTHY + 100))
    rate = 0.01 * np.exp(0.3 * rng.normal())
    later = rate * np.exp(0.15 * rng.normal())
    slopes = np.where(np.arange(3000) < 0.4 * np.log(LIMIT / SPALL) / rate, rate, later)
    index = np.log(SPALL) + np.cumsum(slopes + 0.035 * rng.normal(size=3000))
    over = np.flatnonzero(index >= np.log(LIMIT))
    return onset, np.exp(index[: over[0] + 1])


def life(
    seed: int, records: int | None = None, record: int = RECORD, healthy: bool = False
) -> Life:
    """The life of one bearing (or so many records of it), with all that can disturb: changes of speed, knocks, drop-outs."""
    rng = np.random.default_rng(seed)
    onset, grown = growth(rng)
    strikes = np.concatenate([np.zeros(onset), grown])
    count = len(strikes) if records is None else records
    strikes = np.zeros(count) if healthy else strikes[:count]
    # The machine changes its speed every few dozen records; the shaft never holds it to the digit.
    changes = np.cumsum(rng.random(count) < 0.03)
    speed = rng.choice([22.0, 25.0, 28.0, 30.0], size=count + 1)[changes] * (
        1 + 0.003 * rng.normal(size=count)
    )
    ticks = count * record
    each = np.repeat(speed, record)
    turns = np.cumsum(each) / RATE
    strength = np.sqrt(each / 27.0)
    sample = 0.1 * rng.normal(size=ticks)
    for k, size in ((1, 0.3), (2, 0.1), (3, 0.05)):
        sample += (
            size
            * (each / 27.0) ** 2
            * np.sin(2 * np.pi * (k * turns + rng.random()) + 0.5 * rng.normal())
        )
    knocked = struck(turns, np.repeat(strikes, record) * strength, rng)
    knocks = rng.integers(0, ticks, size=max(1, count // 60))
    knocked[knocks] += rng.uniform(5, 30, size=len(knocks))
    sample += np.convolve(knocked, response())[:ticks]
    return Life(
        sample.astype(np.float32),
        arrives(count, record, rng),
        each.astype(np.float32),
        onset,
        count - 1,
    )


def struck(turns: Array, size: Array, rng: np.random.Generator) -> Array:
    """The strikes as impulses `[ticks]`: balls slip by some percent of their distance, and no two strikes are alike."""
    balls = STRIKES * turns
    count = int(balls[-1])
    when = np.searchsorted(balls, np.arange(1, count + 1) + 0.01 * rng.normal(size=count))
    when = when[when < len(size)]
    out = np.zeros(len(size))
    out[when] = size[when] * (1 + 0.2 * rng.normal(size=len(when)))
    return out


def arrives(records: int, record: int, rng: np.random.Generator) -> Array:
    """Which samples arrive: in one record of twenty none, elsewhere all but a gap in one of ten."""
    valid = np.ones((records, record), bool)
    for r in range(records):
        chance, start = rng.random(), int(rng.integers(record))
        if chance < 0.05:
            valid[r] = False
        elif chance < 0.15:
            valid[r, start : start + record // 8] = False
    return valid.ravel()
