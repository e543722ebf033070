"""What the car's sensors read: noisy, sometimes not at all, and of signs and arrows only from where they can be read."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving.conditions import Conditions
from examples.driving.road import ARROW_SEEN, SIGN_SEEN, Road
from examples.driving.traffic import CARS, LANES, LENGTH, SUBSTEPS, Cars, Course
from seiche import f32, i32

SECTORS, AHEAD = 6, 1
"""Of the radar: ahead in the lane to the left, the own (AHEAD), the one to the right; then behind in these three."""
REACH = 150.0
"""Metres of the radar; a sector without a car reads as a car that far away, at one's own speed."""
NOTHING = np.float32(np.nan)
"""A reading that did not come, and a sign that is not there."""
DRAWS = 3 * SECTORS + SUBSTEPS + 1
"""Random numbers of a second."""


class Sensors(NamedTuple):
    """The readings of a second. NaN is no reading. `speed` (m/s), `lane`, `moved` (m) and `pull` (m/s²) are the car's own, exact.

    `gap` (m, bumper to bumper) and `closing` (m/s, the other's speed less one's own) are `[SECTORS]`. `sign` is a limit (m/s)
    that is `sign_ahead` (m) away; `arrow` is 1 where the left lane must turn at the junction `junction` (m) ahead, else 0.
    """

    speed: f32
    lane: i32
    moved: f32
    pull: f32
    gap: f32[SECTORS]
    closing: f32[SECTORS]
    sign: f32
    sign_ahead: f32
    arrow: f32
    junction: f32


class Radar(NamedTuple):
    """Gaps (m, bumper to bumper) and closing speeds (m/s, theirs less one's own) of the nearest cars, `[SECTORS]` each."""

    gap: sc.Stream
    closing: sc.Stream


def radar(cars: Cars) -> Radar:
    """The nearest car in each sector, without noise; one beside is both ahead and behind, at a negative gap."""
    lanes = np.arange(SECTORS, dtype=np.int32) % LANES - 1 + cars.lane[CARS]
    forward = np.float32([1.0] * LANES + [-1.0] * LANES)

    def look(place: sc.Stream, speed: sc.Stream, lane: sc.Stream) -> Radar:
        gap = sc.state(np.full(SECTORS, REACH, np.float32))
        closing = sc.state(np.zeros(SECTORS, np.float32))
        beside = sc.absolute(place) < LENGTH
        far = sc.where(beside, sc.absolute(place), forward * place)
        nearer = (lanes == lane) & (far >= 0.0) & (far - LENGTH < gap)
        gap.next = sc.where(nearer, far - LENGTH, gap)
        closing.next = sc.where(nearer, speed - cars.speed[CARS], closing)
        return Radar(gap.next, closing.next)

    looked = sc.over_time(look)(*(x[:CARS] for x in cars[:3]))
    return Radar(looked.gap[-1], looked.closing[-1])


class Motion(NamedTuple):
    """The car's own second: speed, lane and acceleration at its end, metres; the metres by each sub-step
    `[SUBSTEPS]`, and its course among the others."""

    speed: sc.Stream
    lane: sc.Stream
    pull: sc.Stream
    moved: sc.Stream
    travelled: sc.Stream
    course: Course


def sense(
    motion: Motion,
    clear: Radar,
    road: Road,
    before: dict[str, sc.Stream],
    opens: sc.Stream,
    draws: sc.Stream,
    of: Conditions,
) -> Sensors:
    """The readings; `draws` are uniform, `[DRAWS]`.

    Radar and arrow camera read once a second; the sign camera at each sub-step, of which one that succeeds is enough.
    `before` is the sign that was ahead, and how far away, as the second began: it may lie behind by now.
    """
    noise = (2.0 * draws[: 2 * SECTORS] - 1.0) * sqrt(3.0)
    lost = draws[2 * SECTORS : 3 * SECTORS] < of.dropout
    gap = sc.where(lost, NOTHING, clear.gap + of.noise_gap * noise[:SECTORS])
    closing = sc.where(lost, NOTHING, clear.closing + of.noise_speed * noise[SECTORS:])
    away = before["away"] - motion.travelled
    came = draws[3 * SECTORS : 3 * SECTORS + SUBSTEPS] >= of.dropout
    sign = ((away >= 0.0) & (away <= SIGN_SEEN) & came).any() & ~opens
    left = road.junction_ahead
    arrow = (left >= ARROW_SEEN[0]) & (left <= ARROW_SEEN[1]) & (draws[DRAWS - 1] >= of.dropout)
    return Sensors(
        motion.speed, motion.lane, sc.where(opens, 0.0, motion.moved), motion.pull, gap, closing,
        sc.where(sign, before["sign"], NOTHING), sc.where(sign, away[-1], NOTHING),
        sc.where(arrow, sc.where(road.left_only, 1.0, 0.0), NOTHING), sc.where(arrow, left, NOTHING),
    )  # fmt: skip
