"""What the learners see: vectors of about unit size, of the sensors alone or of what is believed and remembered too."""

from __future__ import annotations

import numpy as np

import seiche as sc
from examples.driving.facts import FAR, Facts
from examples.driving.health import Readings
from examples.driving.road import ARROW_SEEN, SIGN_SEEN
from examples.driving.rss import longitudinal
from examples.driving.sensing import SECTORS, Sensors
from examples.driving.traffic import LANES

SPEED, CLOSING, PULL = 30.0, 15.0, 6.0
SPARE, BRAKING = 40.0, 6.0
"""Units: m/s, m/s, m/s²."""
SENSED = 3 + 2 * SECTORS + 4
REMEMBERED = SENSED + 5
"""Lengths of the vectors."""
LOST = -1.0
"""What stands for a reading of the radar that did not come."""


def sensed(said: Sensors) -> sc.Stream:
    """`[SENSED]`: the readings of this second; finite, whatever they are."""
    came = sc.isfinite(said.gap) & sc.isfinite(said.closing)
    spare = sc.where(came, headroom(said.speed, said.gap, said.closing), LOST)
    closing = sc.where(came, said.closing / CLOSING, 0.0)
    own = _own(said.speed, said.lane, said.pull)
    return sc.concatenate([own, spare, closing, _signs(said)])


def headroom(speed: sc.Stream, gap: sc.Stream, closing: sc.Stream) -> sc.Stream:
    """`[SECTORS]`: what there is beyond the distance that RSS asks for at these speeds, from -1 to 1."""
    other = sc.maximum(speed + closing, 0.0)
    ahead = np.arange(SECTORS) < LANES
    rear, front = sc.where(ahead, speed, other), sc.where(ahead, other, speed)
    needed = longitudinal(rear, front, 0.0, BRAKING, BRAKING)
    return sc.clip((gap - needed) / SPARE, -1.0, 1.0)


def _own(speed: sc.Stream, lane: sc.Stream, pull: sc.Stream) -> sc.Stream:
    return sc.stack([speed / SPEED, lane.to(sc.f32) - (LANES - 1) / 2, pull / PULL])


def _signs(said: Sensors) -> sc.Stream:
    """0 where there is nothing to read."""
    sign, arrow = sc.isfinite(said.sign), sc.isfinite(said.arrow)
    return sc.stack([
        sc.where(sign, said.sign / SPEED, 0.0),
        sc.where(sign, said.sign_ahead / SIGN_SEEN, 0.0),
        sc.where(arrow, said.arrow, 0.0),
        sc.where(arrow, said.junction / ARROW_SEEN[1], 0.0),
    ])  # fmt: skip


def remembered(said: Sensors, believed: Readings, known: Facts) -> sc.Stream:
    """`[REMEMBERED]`: as `sensed`, with what is believed where a reading did not come, and the facts."""
    own = _own(believed.speed, believed.lane, believed.pull)
    left_lane = known.left_only & (believed.lane == 0)
    told = [
        known.limit / SPEED,
        (known.limit - believed.speed) / CLOSING,
        known.room / 100.0,
        sc.where(known.left_only, 1.0 - known.junction / FAR, 0.0),
        sc.where(left_lane, 1.0, 0.0),
    ]
    return sc.concatenate(
        [
            own,
            headroom(believed.speed, believed.gap, believed.closing),
            believed.closing / CLOSING,
            _signs(said),
            sc.stack(told),
        ]
    )
