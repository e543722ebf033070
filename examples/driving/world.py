"""The world: three lanes, twelve other cars, signs to be remembered. Written down, with its reward, before anything was trained in it.

A decision a second, carried out over five sub-steps of 0.2 s; 120 decisions are an episode. The road repeats its twelve cars
every 500 m; they drive by IDM and change lanes by MOBIL, at speeds that have nothing to do with the limit. Signs (12, 17, 22 or
28 m/s, 300 to 900 m apart) can be read over the last 30 m before them; for 100 m behind them the higher of both limits is in
force. Every 600 to 1200 m there is a junction; at half of them the left lane is for turning left only, which an arrow says that can
be read from 300 to 200 m before it. Sensors are noisy, and lose 5 % of their readings.

The reward of a decision:

    + 1.0    min(1, metres driven / metres at the limit)
    - 1.0    where the speed is more than 0.5 m/s over the limit
    - 15.0   where a junction is passed in a lane that turns elsewhere
    - 0.005  (change of acceleration, m/s³)²
    - 25.0   for a crash, which ends the episode
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving import road as roads
from examples.driving import sensing
from examples.driving.conditions import DRY, Conditions, Range
from examples.driving.road import FIRST_LIMIT, Road, road
from examples.driving.sensing import Motion, Radar, Sensors, radar, sense
from examples.driving.traffic import (
    CARS,
    EGO_DRIVER,
    LANES,
    RING,
    SUBSTEPS,
    TICK,
    Cars,
    Course,
    Drivers,
    Others,
    second,
)
from examples.worlds.episode import episode
from seiche import i32, node, u32

LONGEST = 120
"""Decisions of an episode."""
PROGRESS, OVER, WRONG, JERK, CRASH = 1.0, 1.0, 15.0, 0.005, 25.0
"""The weights of the reward."""
TOLERANCE = 0.5
"""m/s over the limit that are not counted."""
SPEED_FIRST, SPEED_MAX = 15.0, 35.0

ACTIONS = ("keep", "faster", "slower", "brake", "left", "right")
PULLS = (0.0, 1.5, -2.0, -6.0, 0.0, 0.0)
"""m/s², as far as the road's grip allows."""
SIDES = (0, 0, 0, 0, -1, 1)
"""The change of lane, which takes the second."""
KEEP, FASTER, SLOWER, BRAKE, LEFT, RIGHT = range(6)


class Scene(NamedTuple):
    """A second of the world: what is sensed and what is true; the reward of the decision before, and how the episode ends."""

    sensors: Sensors
    road: Road
    speed: sc.Stream
    lane: sc.Stream
    place: sc.Stream
    """Of the learning car: m/s, 0 (left) to 2, metres since the episode opened."""
    cars: Cars
    """All cars, the learning car last; places are metres ahead of it."""
    clear: Radar
    """What the radar would read without noise."""
    reward: sc.Stream
    over: sc.Stream
    terminated: sc.Stream
    truncated: sc.Stream
    """`terminated` is a crash."""

    @property
    def ended(self) -> sc.Stream:
        """Whether this is the last second of an episode."""
        return self.terminated | self.truncated


def drawn(bounds: Range, draws: sc.Stream) -> sc.Stream:
    """Uniform draws between bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * draws


LANES_FIRST = np.arange(CARS, dtype=np.int32) % LANES
NOTHING = np.ones(CARS, np.float32)
NOBODY = Others(NOTHING, NOTHING, LANES_FIRST, Drivers(NOTHING, NOTHING))
"""Before the first episode."""


def opening(chance: sc.Stream, of: Conditions) -> Others:
    """The other cars as an episode opens: four to a lane, spread out, none near the middle."""
    draws = sc.random.uniform(chance, (3, CARS))
    every = RING * LANES / CARS
    slots = np.arange(CARS) // LANES * every - RING / 2 + every / 2
    places = np.float32(slots) + (draws[0] - 0.5) * (0.4 * every)
    desired = drawn(of.desired, draws[1])
    who = Drivers(1.0 / desired, drawn(of.headway, draws[2]))
    return Others(places, 0.8 * desired, sc.constant(LANES_FIRST), who)


def motion(action: sc.Stream, speed: sc.Stream, lane: sc.Stream, of: Conditions) -> Motion:
    """What a decision makes of the car's own second."""
    pull = sc.maximum(sc.take(np.float32(PULLS), action), -of.grip)
    towards = sc.clip(lane + sc.take(np.int32(SIDES), action), 0, LANES - 1)
    speeds = sc.clip(speed + pull * np.float32(np.arange(SUBSTEPS + 1) * TICK), 0.0, SPEED_MAX)
    steps = 0.5 * TICK * (speeds[1:] + speeds[:-1])
    changed = np.float32(np.arange(1, SUBSTEPS + 1) * TICK)
    travelled = sc.cumsum(steps)
    course = Course(steps, speeds[:-1], sc.constant(changed))
    return Motion(speeds[-1], towards, pull, travelled[-1], travelled, course)


def everybody(others: Others, speed: sc.Stream, lane: sc.Stream) -> Cars:
    """The others and the learning car, last."""
    who = (sc.concatenate([x, np.float32([y])]) for x, y in zip(others.who, EGO_DRIVER))
    return Cars(
        sc.concatenate([others.place, sc.zeros(1)]),
        sc.concatenate([others.speed, speed.reshape(1)]),
        sc.concatenate([others.lane, lane.reshape(1)]),
        Drivers(*who),
    )


@node
def world(action: i32, key: u32[2], of: Conditions = DRY) -> Scene:
    """A second: carries out the decision, moves everybody, and says what is sensed."""
    ended = sc.var(sc.bool_)
    age, opens, chance = episode(ended, key)
    draws = sc.random.uniform(chance, (roads.DRAWS + sensing.DRAWS,))

    speed, lane, place, pull = sc.state(SPEED_FIRST), sc.state(1), sc.state(0.0), sc.state(0.0)
    mine = motion(action, speed, lane, of)
    speed.next = sc.where(opens, SPEED_FIRST, mine.speed)
    lane.next = sc.where(opens, 1, mine.lane)
    place.next = sc.where(opens, 0.0, place + mine.moved)
    pull.next = sc.where(opens, 0.0, mine.pull)

    others: Others = sc.state(NOBODY)
    cars = everybody(others, speed, mine.lane)
    moved = second(cars, mine.course, lane, age, of)
    with sc.every(opens):
        fresh = opening(sc.random.fold_in(chance, 0), of)
    others.next = sc.merge(opens, fresh, sc.when(Others(*moved[:3], others.who), opens, False))

    before = sc.state({"sign": FIRST_LIMIT, "away": 0.0})
    here = road(place.next, lane.next, opens, draws[: roads.DRAWS], of)
    before.next = {"sign": here.sign, "away": here.sign_ahead}
    now = everybody(others.next, speed.next, lane.next)
    clear = radar(now)
    mine = mine._replace(speed=speed.next, lane=lane.next, pull=pull.next)
    sensors = sense(mine, clear, here, before, opens, draws[roads.DRAWS :], of)

    hit, late = moved.hit & ~opens, age == LONGEST
    ended.define(hit | late)
    over = (speed.next > here.limit + TOLERANCE) & ~opens
    reward = judged(mine.moved / here.limit, over, here.wrong, mine.pull - pull, hit)
    return Scene(
        sensors, here, speed.next, lane.next, place.next, now, clear,
        sc.where(opens, 0.0, reward), over, hit, late & ~hit,
    )  # fmt: skip


def judged(
    progress: sc.Stream, over: sc.Stream, wrong: sc.Stream, jerk: sc.Stream, crash: sc.Stream
) -> sc.Stream:
    """The reward of a decision."""
    gained = PROGRESS * sc.minimum(progress, 1.0) - JERK * sc.square(jerk)
    faults = ((over, OVER), (wrong, WRONG), (crash, CRASH))
    return gained - sum(sc.where(fault, weight, 0.0) for fault, weight in faults)
