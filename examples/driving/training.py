"""Drivers trained and put to the test: the same C program drives, learns, and drives without learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np

import seiche as sc
from examples.driving.conditions import DRY, Conditions
from examples.driving.drivers import (
    LEARNERS,
    RECURRENT,
    SIDE_BY_SIDE,
    Driven,
    drive,
    named,
    school,
)
from examples.driving.world import LONGEST
from seiche.backends.program import Program

Weights = dict[str, np.ndarray[Any, Any]]
CHUNK = 20_000
"""Decisions between two reports."""
TRAINING, TRIAL = 1, 2
"""Which chance a seed means: that of its training, or that of its trial."""


@lru_cache(maxsize=32)
def program(driver: str, of: Conditions, seed: int, steps: int) -> Program:
    """The driver and its world in C; shared, so whoever uses it resets it first."""
    return sc.compile(drive, target="c", driver=driver, of=of, seed=seed, steps=steps)


@lru_cache(maxsize=8)
def schooling(of: Conditions, seed: int, steps: int) -> Program:
    """What the recurrent driver is trained by, in C; shared, as `program`."""
    return sc.compile(school, target="c", of=of, seed=seed, steps=steps)


def trainer(driver: str, of: Conditions, seed: int, steps: int) -> Program:
    """The program that a driver is trained by: the one that it drives by, but for the recurrent one."""
    if driver == RECURRENT:
        return schooling(of, seed, steps)
    return program(driver, of, seed, steps)


def chance(seed: int, use: int, ticks: int) -> np.ndarray[Any, Any]:
    """The key of a seed, at each of so many ticks."""
    return np.tile(sc.Key.of(seed).fold_in(use).words, (ticks, 1))


@dataclass(frozen=True)
class Pilot:
    """A driver as it left its training: its kind, its seed, what it learnt, and the course of that.

    `curve` has a row per CHUNK decisions: decisions so far, and the mean return of the episodes that ended meanwhile.
    Raises ValueError where there is no such kind.
    """

    driver: str
    seed: int = 0
    steps: int = 0
    weights: Weights = field(default_factory=dict, repr=False)
    curve: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((0, 2)), repr=False)

    def __post_init__(self) -> None:
        named(self.driver)

    def takes(self, program: Program) -> Program:
        """A program of this driver, from its first tick, with what was learnt; who only drives has no use for a critic.

        Raises ValueError, or SE902, where that was learnt by a driver of another kind.
        """
        program.reset()
        fresh = dict(program.state)
        lacks = [name for name in learnt(program) if name not in self.weights]
        if self.weights and lacks:
            raise ValueError(f"what was learnt is no {self.driver} driver's: it lacks {lacks[0]}")
        program.state.assign({name: self.weights.get(name, fresh[name]) for name in fresh})
        return program


LEARNT = ("stream_q", "ppo/acting")
"""In the names of states: what a driver takes along from its training."""


def learnt(program: Program) -> Weights:
    """What a program has learnt: the learner's states, without the world's."""
    kept = program.state.items()
    return {name: value for name, value in kept if any(part in name for part in LEARNT)}


def train(
    driver: str,
    seed: int = 0,
    steps: int = 1_000_000,
    of: Conditions = DRY,
    told: Callable[[int, float], None] = lambda decisions, gained: None,
) -> Pilot:
    """Trains a driver for so many decisions; `told` hears how many there were, and the mean return since it last heard.

    A driver that learns nothing is there at once. Raises ValueError for a driver that there is not, and for no decisions.
    """
    if steps < 1:
        raise ValueError(f"{steps} decisions are none to learn from")
    if driver not in LEARNERS:
        return Pilot(driver, seed)
    made = trainer(driver, of, seed, steps)
    made.reset()
    curve: list[tuple[int, float]] = []
    for done in range(0, steps, CHUNK):
        decisions = min(CHUNK, steps - done)
        curve.append((done + decisions, practised(driver, made, seed, decisions)))
        told(*curve[-1])
    return Pilot(driver, seed, steps, learnt(made), np.array(curve))


def practised(driver: str, made: Program, seed: int, decisions: int) -> float:
    """Goes on training for so many decisions; the mean return of the episodes that ended meanwhile."""
    if driver == RECURRENT:
        now = made.run(chance(seed, TRAINING, decisions // SIDE_BY_SIDE))
    else:
        now = made.run(np.ones(decisions, np.bool_), chance(seed, TRAINING, decisions))
    return float(now.reward.sum()) / max(1, int(now.ended.sum()))


@dataclass(frozen=True)
class Score:
    """What a driver does, by episode or by decision; see `COLUMNS`."""

    returns: float
    crashes: float
    over: float
    wrong: float
    pace: float
    overrides: float


COLUMNS = {
    "returns": ("return", "of an episode of 120 decisions at most"),
    "crashes": ("crashes", "per episode"),
    "over": ("over limit", "share of seconds, %"),
    "wrong": ("wrong turns", "per episode"),
    "pace": ("speed/limit", "mean over seconds"),
    "overrides": ("overrides", "share of decisions, %"),
}
"""The fields of a score: their heading, and what they are."""


def score(now: Driven) -> Score:
    """Of a run that begins with an episode; what comes after the last episode's end does not count."""
    ends = np.flatnonzero(now.ended)
    last = ends[-1] + 1
    driven = ~np.concatenate([[True], now.ended[: last - 1]])
    shares = (x[:last][driven] for x in (now.over, now.speed / now.limit, now.overridden))
    over, pace, overridden = (float(x.mean()) for x in shares)
    each = [float(x[:last].sum()) / len(ends) for x in (now.reward, now.crash, now.wrong)]
    return Score(each[0], each[1], 100 * over, each[2], pace, 100 * overridden)


def trial(pilot: Pilot, episodes: int = 500, of: Conditions = DRY, seed: int = 1000) -> Score:
    """How a driver does in so many episodes (at least one) that it has not seen; it learns nothing from them."""
    if episodes < 1:
        raise ValueError(f"{episodes} episodes are no trial")
    ticks = episodes * (LONGEST + 1)
    made = pilot.takes(program(pilot.driver, of, pilot.seed, pilot.steps))
    return score(made.run(np.zeros(ticks, np.bool_), chance(seed, TRIAL, ticks)))


STUDENT = (12.706, 4.303, 3.182, 2.776)
"""The 97.5 % point of Student's t for 2 to 5 seeds."""


def student(seeds: int) -> float:
    """The same for any number of seeds: for more, by the first terms of Fisher's and Cornish's expansion, to 0.2 %.

    >>> student(3), round(student(11), 3), round(student(10_000), 2)
    (4.303, 2.228, 1.96)
    """
    if seeds < 2 + len(STUDENT):
        return STUDENT[seeds - 2]
    z, free = 1.959964, seeds - 1
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / free + second / free**2 + third / free**3


def spread(values: list[float]) -> tuple[float, float]:
    """The mean over seeds, and half of its 95 % interval (0 for one seed: nothing is known).

    >>> spread([1.0, 3.0])
    (2.0, 12.706)
    """
    if len(values) < 2:
        return values[0], 0.0
    deviation = float(np.std(values, ddof=1))
    return float(np.mean(values)), student(len(values)) * deviation / sqrt(len(values))
