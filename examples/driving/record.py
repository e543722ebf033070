"""An episode of a trained driver, as arrays to be drawn."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import seiche as sc
from examples.driving.conditions import DRY, Conditions
from examples.driving.drivers import film
from examples.driving.faults import NONE, Fault
from examples.driving.traffic import CARS
from examples.driving.training import TRIAL, Pilot, chance
from examples.driving.world import LONGEST
from seiche.backends.program import Program

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=8)
def filming(driver: str, of: Conditions, seed: int, steps: int) -> Program:
    """The program of a film; shared, and reset before each use."""
    return sc.compile(film, target="c", driver=driver, of=of, seed=seed, steps=steps)


def record(
    pilot: Pilot | str, seed: int = 0, of: Conditions = DRY, fault: Fault | None = None
) -> dict[str, Array]:
    """One episode: arrays by name, `[ticks]` or `[ticks, ...]`; tick 0 is its opening, the last tick is its end.

    A driver that learns nothing may be given by its name ("rule", "brake", "random"); for learners see `training.train`.
    With a `fault`, sensors fail for a time, and the rest of the record says what comes of it.
    Values at a tick are those at its end; `action` is decided there, and carried out in the second that follows.

    - `place` (m since the opening), `speed` (m/s), `lane` (0 left, 1, 2), `pull` (m/s²): the learning car
    - `cars_place` (m ahead of the learning car, -250 to 250; the road repeats itself every 500 m, so a car may leave at one end
      and come in at the other), `cars_speed`, `cars_lane`: the others, `[ticks, 12]`
    - `limit` (m/s in force here), `sign` (m/s, the next one), `sign_place` (m since the opening, where it stands),
      `junction_place`, `left_only` (whether the left lane must turn there): the road
    - `sign_read`, `arrow_read` (bool): whether the sensors read one in this second; `gap_read` `[ticks, 6]`: which radar sectors
      gave a reading (ahead left, ahead, ahead right, behind left, behind, behind right), `gap` `[ticks, 6]` what they said (m, NaN)
    - `fact_limit` (m/s), `fact_left_only` (bool), `fact_junction` (m ahead, 400 where nothing is known): what is remembered
    - `faulty` (bool): where the `fault` befalls the sensors
    - `mode` (0 nominal, 1 degraded, 2 emergency, 3 recovery; `health.MODES`)
    - `chosen`, `action` (indices of `world.ACTIONS`): what the policy chose, what is done; `overridden` where they differ
    - `reward` (of the second before), `over`, `wrong`, `crash` (bool)

    >>> shown = record("brake", seed=3)
    >>> len(shown["speed"]), float(shown["speed"][0]), float(shown["speed"][-1]), shown["cars_place"].shape
    (121, 15.0, 0.0, (121, 12))
    >>> blind = record("brake", seed=3, fault=Fault(start=40, seconds=15))
    >>> int(blind["faulty"].sum()), bool(np.isnan(blind["gap"][40:55]).all())
    (15, True)
    """
    who = Pilot(pilot) if isinstance(pilot, str) else pilot
    made = filming(who.driver, of, who.seed, who.steps)
    ticks = LONGEST + 1
    befalls = fault.stream(ticks) if fault else np.full(ticks, NONE, np.int32)
    given = (np.zeros(ticks, np.bool_), chance(seed, TRIAL, ticks), befalls)
    scene, driven = who.takes(made).run(*given)
    road, said, cars = scene.road, scene.sensors, scene.cars
    shown = {
        "place": scene.place, "speed": scene.speed, "lane": scene.lane, "pull": said.pull,
        "cars_place": cars.place[:, :CARS], "cars_speed": cars.speed[:, :CARS], "cars_lane": cars.lane[:, :CARS],
        "limit": road.limit, "sign": road.sign, "sign_place": scene.place + road.sign_ahead,
        "junction_place": scene.place + road.junction_ahead, "left_only": road.left_only,
        "sign_read": np.isfinite(said.sign), "arrow_read": np.isfinite(said.arrow),
        "gap_read": np.isfinite(said.gap), "gap": said.gap, "faulty": befalls != NONE,
        "fact_limit": driven.facts.limit, "fact_left_only": driven.facts.left_only, "fact_junction": driven.facts.junction,
        "mode": driven.mode, "chosen": driven.chosen, "action": driven.action, "overridden": driven.overridden,
        "reward": driven.reward, "over": driven.over, "wrong": driven.wrong, "crash": driven.crash,
    }  # fmt: skip
    end = int(np.flatnonzero(driven.ended)[0]) + 1
    return {name: value[:end] for name, value in shown.items()}
