"""What the tests of the driving example share: its programs, made once, and reckless driving through its world."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import seiche as sc
from examples.driving.conditions import DRY, Conditions
from examples.driving.world import Scene, world

OFTEN = (0.5, 0.28, 0.08, 0.04, 0.05, 0.05)
"""How often a reckless driver takes each action."""


def actions(ticks: int, seed: int = 0, often: tuple[float, ...] = OFTEN) -> np.ndarray[Any, Any]:
    """By chance."""
    return np.random.default_rng(seed).choice(6, ticks, p=often).astype(np.int32)


def keys(ticks: int, seed: int = 3) -> np.ndarray[Any, Any]:
    """The same at each tick."""
    return np.tile(sc.random.key(seed), (ticks, 1))


@lru_cache(maxsize=4)
def world_in_c(of: Conditions = DRY) -> Any:
    """The world's program."""
    return sc.compile(world, target="c", of=of)


@lru_cache(maxsize=4)
def wild(of: Conditions = DRY, ticks: int = 20_000) -> Scene:
    """Reckless driving."""
    program = world_in_c(of)
    program.reset()
    return program.run(actions(ticks), keys(ticks))


def opens(now: Any) -> np.ndarray[Any, Any]:
    """Where episodes begin."""
    ended = now.ended if not isinstance(now, Scene) else now.terminated | now.truncated
    return np.concatenate([[True], ended[:-1]])
