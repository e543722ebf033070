"""The road: signs that set a limit, junctions whose left lane may be for turning only. Drawn as the learning car passes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import seiche as sc
from examples.driving.conditions import Conditions, Range

LIMITS = (12.0, 17.0, 22.0, 28.0)
FIRST_LIMIT = 17.0
"""m/s; in force before the first sign, as everybody knows."""
BRAKING_ROOM = 100.0
"""Metres behind a sign over which the higher of the old and the new limit is in force."""
FIRST_SIGN: Range = (50.0, 300.0)
SIGN_SEEN = 30.0
ARROW_SEEN: Range = (200.0, 300.0)
"""Metres before it from which a sign, and over which an arrow, can be read."""
DRAWS = 4
"""Random numbers of a second."""


class Road(NamedTuple):
    """What is true of the road here, whether or not anybody sees it (m, m/s)."""

    limit: sc.Stream
    """In force."""
    posted: sc.Stream
    """Said by the last sign."""
    sign: sc.Stream
    """Said by the next one, which is `sign_ahead` away."""
    sign_ahead: sc.Stream
    room: sc.Stream
    """Metres until the last sign's limit is in force, where that is the lower one; else 0."""
    junction_ahead: sc.Stream
    left_only: sc.Stream
    """Whether the left lane must turn at the next junction."""
    wrong: sc.Stream
    """Whether a junction was passed in this second in a lane that must turn."""


def road(
    place: sc.Stream, lane: sc.Stream, opens: sc.Stream, draws: sc.Stream, of: Conditions
) -> Road:
    """The road around a car that has driven so many metres since the episode opened; `draws` are uniform, `[DRAWS]`."""

    def drawn(bounds: Range, which: int) -> sc.Stream:
        return bounds[0] + (bounds[1] - bounds[0]) * draws[which]

    sign_at, sign = sc.state(0.0), sc.state(FIRST_LIMIT)
    posted, before, posted_at = sc.state(FIRST_LIMIT), sc.state(FIRST_LIMIT), sc.state(0.0)
    junction_at, left_only = sc.state(0.0), sc.state(False)

    passed = (place >= sign_at) & ~opens
    said = sc.take(np.float32(LIMITS), (draws[1] * len(LIMITS)).to(sc.i32))
    sign_at.next = sc.where(
        opens, drawn(FIRST_SIGN, 0), sc.where(passed, sign_at + drawn(of.sign_spacing, 0), sign_at)
    )
    sign.next = sc.where(opens | passed, said, sign)
    posted.next = sc.where(opens, FIRST_LIMIT, sc.where(passed, sign, posted))
    before.next = sc.where(opens, FIRST_LIMIT, sc.where(passed, posted, before))
    posted_at.next = sc.where(opens, 0.0, sc.where(passed, sign_at, posted_at))

    crossed = (place >= junction_at) & ~opens
    junction_at.next = sc.where(
        opens | crossed,
        sc.where(opens, 0.0, junction_at) + drawn(of.junction_spacing, 2),
        junction_at,
    )
    left_only.next = sc.where(opens | crossed, draws[3] < 0.5, left_only)

    left = sc.maximum(posted_at.next + BRAKING_ROOM - place, 0.0)
    room = sc.where(posted.next < before.next, left, 0.0)
    limit = sc.where(room > 0.0, before.next, posted.next)
    return Road(
        limit,
        posted.next,
        sign.next,
        sign_at.next - place,
        room,
        junction_at.next - place,
        left_only.next,
        crossed & left_only & (lane == 0),
    )
