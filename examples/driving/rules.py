"""Drivers that learn nothing: chance, braking, and a rule of thumb with facts."""

from __future__ import annotations

import numpy as np

import seiche as sc
from examples.driving.conditions import Conditions
from examples.driving.facts import Facts
from examples.driving.health import Readings
from examples.driving.traffic import LANES, Drivers, idm
from examples.driving.world import ACTIONS, BRAKE, FASTER, KEEP, LEFT, RIGHT, SLOWER

HEADWAY = 1.6
"""Seconds that the rule keeps."""
LEAVE_FROM = 250.0
"""Metres before a junction from which a lane that turns is left."""
PAYS = 15.0
"""Metres that another lane must have more."""


def by_chance(key: sc.Stream) -> sc.Stream:
    """Any action."""
    return sc.random.randint(key, len(ACTIONS))


def rule(seen: Readings, known: Facts, of: Conditions) -> sc.Stream:
    """IDM at the remembered limit, in the freest lane; out of lanes that turn."""
    wished = sc.maximum(known.limit, 1.0)
    who = Drivers(1.0 / wished, sc.constant(HEADWAY))
    # The room behind a sign is used: a lower limit is braked for, not jumped at.
    pull = idm(seen.speed, seen.gap[1], seen.speed + seen.closing[1], who, of)
    late = seen.speed > known.limit + 0.3
    pull = sc.where(late, sc.minimum(pull, -2.0), pull)
    pull = sc.where(late & (known.room < 60.0), sc.minimum(pull, -4.5), pull)
    follow = sc.where(
        (pull > 0.7) & (seen.speed + 1.5 <= known.limit + 0.3), FASTER,
        sc.where(pull > -1.0, KEEP, sc.where(pull > -3.5, SLOWER, BRAKE)),
    )  # fmt: skip

    def free(sector: int, lane: int) -> sc.Stream:
        rear = seen.speed + seen.closing[sector + LANES]
        there = (seen.lane + lane >= 0) & (seen.lane + lane < LANES)
        front = seen.speed - sc.minimum(seen.closing[sector], 0.0) * 2.0
        return (
            there & (seen.gap[sector] > front + 8.0) & (seen.gap[sector + LANES] > 1.2 * rear + 8.0)
        )

    must = known.left_only & (known.junction < LEAVE_FROM)
    crowded = seen.gap[1] < 2.5 * seen.speed + 10.0
    better = crowded & (pull < 0.7)
    left = free(0, -1) & better & (seen.gap[0] > seen.gap[1] + PAYS) & ~(must & (seen.lane == 1))
    right = free(2, 1) & (better & (seen.gap[2] > seen.gap[1] + PAYS) | must & (seen.lane == 0))
    slow = (
        must
        & (seen.lane == 0)
        & (sc.square(seen.speed) > 4.0 * sc.maximum(known.junction - 10.0, 0.0))
    )
    follow = sc.where(slow, BRAKE, follow)
    return sc.where(right, RIGHT, sc.where(left, LEFT, follow))


BRAKING = np.int32(BRAKE)
"""The driver that always brakes."""
