"""The cart-pole of Gymnasium (CartPole-v1): push a cart left or right so that the pole on it stays upright."""

from __future__ import annotations

from math import pi

import numpy as np

import seiche as sc
from examples.cart_pole import explicit_step
from examples.worlds.episode import episode
from seiche import i32, node, u32
from seiche.learn.rl import Experience

OBSERVATIONS, ACTIONS = 4, 2
LONGEST = 500
"""Actions of an episode, at most."""
PUSH, PLACE_MAX, ANGLE_MAX = 10.0, 2.4, 12 * 2 * pi / 360
"""N, m, rad."""


@node
def cart_pole(action: i32, key: u32[2]) -> Experience:
    """Observes place, speed, angle and turn; action 1 pushes to the right, 0 to the left; 1 for each action.

    Ends where the pole or the cart leaves its bounds, and after 500 actions. Starts within 0.05 of upright and at rest.
    """
    ended = sc.var(sc.bool_)
    age, opens, chance = episode(ended, key)
    now = sc.state(np.zeros(4, np.float32))
    pushed = explicit_step(now, sc.where(action == 1, PUSH, -PUSH))
    now.next = sc.where(opens, sc.random.uniform(chance, (4,), -0.05, 0.05), pushed)
    place, angle = sc.absolute(now.next[0]), sc.absolute(now.next[2])
    fell = (place > PLACE_MAX) | (angle > ANGLE_MAX)
    late = age == LONGEST
    ended.define(fell | late)
    return Experience(now.next, sc.where(opens, 0.0, 1.0), fell, late)
