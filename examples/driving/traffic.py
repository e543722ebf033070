"""The other drivers: whom they follow (IDM), and when they change lanes (MOBIL). Tensors over all cars of a ring road.

Places are metres ahead of the learning car on a road that repeats itself every `RING` metres; the learning car is the last row.
IDM: Treiber, Hennecke & Helbing 2000, eqs. 3-4. MOBIL: Kesting, Treiber & Helbing 2007, eqs. 5-7.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving.conditions import Conditions

CARS, LANES, SUBSTEPS = 12, 3, 5
TICK = 1.0 / SUBSTEPS
"""Seconds of a sub-step."""
RING, LENGTH, WIDTH, LANE_WIDTH = 500.0, 5.0, 2.0, 3.5
"""Metres."""
STANDSTILL = 2.0
"""Metres that drivers keep when they stand."""
CHANGE_GAIN, CHANGE_BRAKING = 0.2, 3.0
"""What a change of lane must gain, and the braking that it may force on the driver behind, m/s²."""
EGO_DRIVER = (1 / 25.0, 1.4)
"""What others suppose of the learning car, as `Drivers` has it."""


class Drivers(NamedTuple):
    """Rows of drivers: the inverse of the speed that each would like (s/m), the time that each keeps to the car ahead (s)."""

    slowness: sc.Stream
    headway: sc.Stream


def idm(
    speed: sc.Stream, gap: sc.Stream, ahead: sc.Stream, who: Drivers, of: Conditions
) -> sc.Stream:
    """The acceleration of drivers with so much room to a car ahead, which drives at speed `ahead` (m/s²).

    wish = s0 + max(0, v T + v (v - ahead) / (2 sqrt(a b)));  a (1 - (v / v0)^4 - (wish / gap)^2), at least -grip
    """
    easing = 0.5 / sqrt(of.acceleration * of.comfortable)
    wish = STANDSTILL + sc.maximum(speed * (who.headway + easing * (speed - ahead)), 0.0)
    room = wish / sc.maximum(gap, 0.1)
    free = sc.square(sc.square(speed * who.slowness))
    return sc.maximum(of.acceleration * (1.0 - free - sc.square(room)), -of.grip)


def onward(here: sc.Stream, there: sc.Stream) -> sc.Stream:
    """Metres from `here` forward to `there` on the ring, in (0, RING]: to oneself it is once around."""
    off = there - here
    return sc.where(off <= 0.0, off + RING, off)


class Neighbours(NamedTuple):
    """In some lane, for each of the rows: who is ahead and behind (i32), and how far (m, RING where nobody is)."""

    ahead: sc.Stream
    ahead_m: sc.Stream
    behind: sc.Stream
    behind_m: sc.Stream


class Cars(NamedTuple):
    """All vehicles, the learning car last: metres ahead of it, speeds (m/s), lanes (i32, 0 is the left one), drivers."""

    place: sc.Stream
    speed: sc.Stream
    lane: sc.Stream
    who: Drivers


def neighbours(place: sc.Stream, lane: sc.Stream, cars: Cars) -> Neighbours:
    """Whom drivers at these places would have around them in these lanes: one look at each car, by all drivers at once."""

    def look(there: sc.Stream, its_lane: sc.Stream) -> Neighbours:
        row = sc.state(0)
        row.next = row + 1
        nobody, far = np.zeros(place.shape, np.int32), onward(place, there)
        ahead, ahead_m = sc.state(nobody), sc.state(np.full(place.shape, RING, np.float32))
        behind, behind_m = sc.state(nobody), sc.state(np.full(place.shape, RING, np.float32))
        shared = lane == its_lane
        closer, nearer = shared & (far < ahead_m), shared & (RING - far < behind_m) & (far < RING)
        ahead.next = sc.where(closer, row, ahead)
        ahead_m.next = sc.where(closer, far, ahead_m)
        behind.next = sc.where(nearer, row, behind)
        behind_m.next = sc.where(nearer, RING - far, behind_m)
        return Neighbours(ahead.next, ahead_m.next, behind.next, behind_m.next)

    looked = sc.over_time(look)(cars.place, cars.lane)
    return Neighbours(*(x[-1] for x in looked))


def chosen(cars: Cars, rows: sc.Stream) -> Cars:
    """These of the cars."""
    who = Drivers(*(sc.take(x, rows) for x in cars.who))
    return Cars(*(sc.take(x, rows) for x in cars[:3]), who)


def pull(who: Cars, metres: sc.Stream, ahead: sc.Stream, of: Conditions) -> sc.Stream:
    """The acceleration of drivers whose leader's front is so many metres away, at speed `ahead`."""
    return idm(who.speed, metres - LENGTH, ahead, who.who, of)


def mobil(me: Cars, cars: Cars, side: sc.Stream, of: Conditions) -> sc.Stream:
    """Which of these drivers change to the lane on that side (-1 left, 1 right): it pays, and forces nobody to brake hard.

    gain + politeness (what the old and the new follower gain) > threshold, and the new follower brakes at most so much.
    """
    wanted = me.lane + side
    both = neighbours(sc.concatenate([me.place] * 2), sc.concatenate([me.lane, wanted]), cars)
    own, new = (Neighbours(*(sc.split(x, 2)[i] for x in both)) for i in range(2))
    own_speed, new_speed = sc.take(cars.speed, own.ahead), sc.take(cars.speed, new.ahead)
    gain = pull(me, new.ahead_m, new_speed, of) - pull(me, own.ahead_m, own_speed, of)
    follower, left = chosen(cars, new.behind), chosen(cars, own.behind)
    forced = pull(follower, new.behind_m, me.speed, of)
    theirs = forced - pull(follower, new.behind_m + new.ahead_m, new_speed, of)
    theirs += pull(left, own.behind_m + own.ahead_m, own_speed, of)
    theirs -= pull(left, own.behind_m, me.speed, of)
    pays = gain + of.politeness * theirs > CHANGE_GAIN
    room = sc.minimum(new.ahead_m, new.behind_m) > LENGTH + STANDSTILL
    exists = (wanted >= 0) & (wanted < LANES)
    return exists & room & pays & (forced > -CHANGE_BRAKING)


class Others(NamedTuple):
    """The other cars, `[CARS]` each: metres ahead of the learning car, speeds, lanes, drivers."""

    place: sc.Stream
    speed: sc.Stream
    lane: sc.Stream
    who: Drivers


class Second(NamedTuple):
    """What a second of traffic came to: places, speeds and lanes of the others, and whether one of them was hit."""

    place: sc.Stream
    speed: sc.Stream
    lane: sc.Stream
    hit: sc.Stream


class Course(NamedTuple):
    """The learning car's second, `[SUBSTEPS]`: metres moved, speeds before, how far a change of lanes has gone (to 1)."""

    moved: sc.Stream
    speed: sc.Stream
    changed: sc.Stream


def changes(cars: Cars, tick: sc.Stream, of: Conditions) -> sc.Stream:
    """What each of the others adds to its lane: a third of them looks each second, three seconds left, three right.

    So all who change at once change to the same side, and no gap is taken twice.
    """
    third = CARS // 3
    side = sc.where(tick // 3 % 2 == 0, -1, 1)
    me = chosen(cars, tick % 3 * third + np.arange(third, dtype=np.int32))
    moved = sc.where(mobil(me, cars, side, of), side, 0)
    return sc.update(sc.zeros((CARS // third, third), sc.i32), moved, tick % 3).reshape(CARS)


def second(
    cars: Cars, course: Course, lane_before: sc.Stream, tick: sc.Stream, of: Conditions
) -> Second:
    """Lane changes first, then sub-steps."""
    before = cars.lane[:CARS]
    lane = before + changes(cars, tick, of)
    changed = cars._replace(lane=sc.concatenate([lane, cars.lane[CARS:]]))
    leader = neighbours(cars.place[:CARS], lane, changed).ahead
    who = Drivers(*(x[:CARS] for x in cars.who))

    def across(start: sc.Stream, end: sc.Stream, changed: sc.Stream) -> sc.Stream:
        return (start.to(sc.f32) + (end - start).to(sc.f32) * changed) * LANE_WIDTH

    def substep(moved: sc.Stream, ego: sc.Stream, changed: sc.Stream) -> tuple[sc.Stream, ...]:
        place, speed = sc.state(cars.place[:CARS]), sc.state(cars.speed[:CARS])
        ahead = onward(place, sc.take(sc.concatenate([place, sc.zeros(1)]), leader))
        faster = sc.take(sc.concatenate([speed, ego.reshape(1)]), leader)
        pull = idm(speed, ahead - LENGTH, faster, who, of)
        speed.next = sc.maximum(speed + TICK * pull, 0.0)
        place.next = place + 0.5 * TICK * (speed + speed.next) - moved
        beside = across(before, lane, changed) - across(lane_before, cars.lane[CARS], changed)
        touches = (sc.absolute(place.next) < LENGTH) & (sc.absolute(beside) < WIDTH)
        return place.next, speed.next, touches.any()

    places, speeds, hits = sc.over_time(substep)(*course)
    place = places[-1]
    wrapped = sc.where(place >= RING / 2, place - RING, place)
    wrapped = sc.where(wrapped < -RING / 2, wrapped + RING, wrapped)
    return Second(wrapped, speeds[-1], lane, hits.any())
