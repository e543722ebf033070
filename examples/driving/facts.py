"""What the car remembers: the limit of the last sign, and the arrow of the junction ahead; latched when they are sensed."""

from __future__ import annotations

from typing import NamedTuple

import seiche as sc
from examples.driving.health import within
from examples.driving.road import ARROW_SEEN, BRAKING_ROOM, FIRST_LIMIT, SIGN_SEEN, Road
from examples.driving.sensing import Sensors
from seiche import bool_, f32

SAME_SIGN = 20.0
"""Metres between two sightings of one sign, at most."""
FAR = 400.0
"""Metres to a junction of which nothing is known, as it is told to the learners."""


class Facts(NamedTuple):
    """`limit` (m/s) to be kept from now on, in force `room` metres ahead at the latest; whether the left lane must turn at
    the next junction, as far as is known, and how far that is (m, at most FAR)."""

    limit: f32
    room: f32
    left_only: bool_
    junction: f32


def facts(said: Sensors, moved: sc.Stream, opens: sc.Stream) -> Facts:
    """The facts, by dead reckoning of `moved` metres a second; a drive that `opens` knows nothing but the general limit.

    Signs that cannot be true are no events; a sign seen twice is one sign.
    """
    driven = sc.state(0.0)
    driven.next = sc.where(opens, 0.0, driven + moved)
    limit, room = _limit(said, driven.next, opens)
    read = within(said.arrow, 0.0, 1.0) & within(said.junction, 0.0, FAR)
    sighted = (said.arrow > 0.5, driven.next + said.junction)
    event = sc.when(_or_at_once(opens, sighted, (False, 0.0)), read | opens)
    left_only, at = sc.hold(event, (False, 0.0))
    ahead = at - driven.next
    known = left_only & (ahead > 0.0)
    return Facts(limit, room, known, sc.where(known, sc.minimum(ahead, FAR), FAR))


def _limit(said: Sensors, driven: sc.Stream, opens: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """The lower of two limits between which the car is, and the metres until it is in force."""
    read = within(said.sign, 5.0, 40.0) & within(said.sign_ahead, -60.0, 60.0)
    sighted = (said.sign, driven + said.sign_ahead)
    event = sc.when(_or_at_once(opens, sighted, (FIRST_LIMIT, -FAR)), read | opens)
    posted, at = sc.hold(event, (FIRST_LIMIT, -FAR))
    last = sc.fby(FIRST_LIMIT, posted), sc.fby(-FAR, at)
    another = sc.absolute(at - last[1]) > SAME_SIGN
    before = sc.state(FIRST_LIMIT)
    before.next = sc.where(opens, FIRST_LIMIT, sc.where(another, last[0], before))
    passed = driven >= at
    limit = sc.where(passed, posted, sc.minimum(posted, before.next))
    slower = posted < before.next
    return limit, sc.where(slower, sc.maximum(at + BRAKING_ROOM - driven, 0.0), 0.0)


def _or_at_once(
    opens: sc.Stream, sighted: tuple[sc.Stream, ...], first: tuple[object, ...]
) -> tuple[sc.Stream, ...]:
    """What is sighted, unless a drive opens."""
    return tuple(sc.where(opens, b, a) for a, b in zip(sighted, first))


def truth(road: Road) -> Facts:
    """The facts of one who knows the world, as far ahead as signs and arrows can be read."""
    near = road.sign_ahead <= SIGN_SEEN
    slower = near & (road.sign < road.posted)
    room = sc.where(slower, road.sign_ahead + BRAKING_ROOM, road.room)
    known = road.left_only & (road.junction_ahead <= ARROW_SEEN[1])
    return Facts(
        sc.where(slower, road.sign, road.posted),
        room,
        known,
        sc.where(known, road.junction_ahead, FAR),
    )
