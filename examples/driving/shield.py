"""The shield: the action that was chosen if it is safe, else the safe one nearest to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving import health
from examples.driving.conditions import DRY, Conditions
from examples.driving.facts import Facts
from examples.driving.health import SPEED_MOST, Readings
from examples.driving.override import nearest
from examples.driving.rss import lateral, longitudinal
from examples.driving.traffic import LANE_WIDTH, LANES, WIDTH
from examples.driving.world import ACTIONS, BRAKE, FASTER, LEFT, PULLS, RIGHT, SIDES
from seiche import bool_, i32, node

MARGIN = 4.0
"""Standard deviations of the radar's gaps that are kept beyond RSS: what its noise may hide."""
EASY = 3.0
"""m/s²: how hard a lower limit, or a lane that turns, is braked for."""
UNDER = 0.2
"""m/s over the limit that the shield lets pass, for rounding."""
TURN_FROM = 250.0
"""Metres before a junction from which a lane that turns is not entered."""
STOPS_SHORT = 10.0
"""Metres before it where a car that could not leave such a lane comes to stand."""
OTHER_LANE, LEAVE = 3.0, 20.0
"""How far a change of lanes is from keeping to it, in m/s²; how much nearer leaving a lane that turns is."""


class Verdict(NamedTuple):
    """What is done, whether it is another thing than what was chosen, and which actions were safe `[ACTIONS]`."""

    action: i32
    overridden: bool_
    safe: bool_[len(ACTIONS)]


def keeps_distance(seen: Readings, of: Conditions) -> sc.Stream:
    """`[ACTIONS]`: which actions keep RSS distances, ahead and, where lanes are changed, to the sides and behind.

    Lanes are changed on readings of this very second only: who was not there a second ago may be beside by now.
    """
    margin = MARGIN * of.noise_gap
    left, ahead, right = (seen.gap[sector] - margin for sector in range(LANES))
    pulls = np.maximum(np.float32(PULLS), -of.grip)

    def needs(sector: int) -> sc.Stream:
        front = sc.maximum(seen.speed + seen.closing[sector], 0.0)
        return longitudinal(seen.speed, front, pulls, of.grip, of.grip)

    def behind(sector: int) -> sc.Stream:
        rear = sc.maximum(seen.speed + seen.closing[sector], 0.0)
        needed = longitudinal(rear, seen.speed, of.acceleration, of.grip, of.grip)
        return seen.gap[sector] - margin >= needed

    fresh = seen.age == 0
    to_left = fresh[0] & fresh[LANES] & (left >= needs(0)) & behind(LANES)
    to_right = fresh[2] & fresh[LANES + 2] & (right >= needs(2)) & behind(LANES + 2)
    sides = np.int32(SIDES)
    beyond = sc.where(sides < 0, to_left, sc.where(sides > 0, to_right, True))
    near = lateral(np.abs(sides) * LANE_WIDTH, 0.0) > LANE_WIDTH - WIDTH
    return (ahead >= needs(1)) & (beyond | ~near)


def keeps_law(seen: Readings, known: Facts, of: Conditions) -> sc.Stream:
    """`[ACTIONS]`: which keep to the limit, in time for the lower one ahead, and out of lanes that turn."""
    pulls, sides = np.maximum(np.float32(PULLS), -of.grip), np.int32(SIDES)
    speed = sc.maximum(seen.speed + pulls, 0.0)
    moved = 0.5 * (seen.speed + speed)
    room = sc.maximum(known.room - moved, 0.0)
    slow = sc.square(speed) <= sc.square(known.limit + UNDER) + 2.0 * EASY * room
    lane = seen.lane + sides
    exists = (lane >= 0) & (lane < LANES)
    turns = known.left_only & (known.junction < TURN_FROM) & (lane == 0)
    left = known.junction - moved - STOPS_SHORT
    stays = (sides == 0) & (sc.square(speed) <= 2.0 * EASY * sc.maximum(left, 0.0))
    return exists & slow & (~turns | stays)


def allowed(mode: sc.Stream) -> sc.Stream:
    """`[ACTIONS]`: what a mode lets a policy do: all, no more speed nor other lanes, braking alone, no other lanes."""
    by_mode = np.ones((len(health.MODES), len(ACTIONS)), np.bool_)
    by_mode[health.DEGRADED, [FASTER, LEFT, RIGHT]] = False
    by_mode[health.EMERGENCY] = False
    by_mode[health.RECOVERY, [LEFT, RIGHT]] = False
    return sc.take(by_mode, mode)


def distances() -> np.ndarray:
    """How far each action is from each other: the difference of their accelerations, and of their lanes."""
    pulls, sides = np.float32(PULLS), np.int32(SIDES)
    lanes = OTHER_LANE * np.abs(sides[:, None] - sides[None, :])
    return np.abs(pulls[:, None] - pulls[None, :]) + lanes.astype(np.float32)


@node
def shielded(chosen: i32, seen: Readings, known: Facts, mode: i32, of: Conditions = DRY) -> Verdict:
    """The chosen action if it is safe; else the nearest that is; where none is, braking."""
    sc.assume((seen.speed >= 0) & (seen.speed <= SPEED_MOST), "the speed can be true")
    chosen = sc.clip(chosen, 0, len(ACTIONS) - 1)
    safe = keeps_distance(seen, of) & keeps_law(seen, known, of) & allowed(mode)
    leaving = known.left_only & (seen.lane == 0) & (known.junction < TURN_FROM)
    away = sc.take(distances(), chosen) - sc.where(leaving, LEAVE, 0.0) * np.float32(SIDES).clip(0)
    done = nearest(chosen, safe, away, refuge=BRAKE)
    sc.guarantee((done >= 0) & (done < len(ACTIONS)), "an action is done")
    sc.guarantee(sc.take(safe, done) | (done == BRAKE), "it is safe, or the car brakes")
    sc.guarantee((mode != health.EMERGENCY) | (done == BRAKE), "in an emergency the car brakes")
    return Verdict(done, done != chosen, safe)
