"""The cart-pole, a world that `gae` and `lqr` share: a pole hinged on a cart that is pushed along a track.

Barto, Sutton & Anderson 1983, without friction; the pole is a uniform rod of 1 m.
"""

from __future__ import annotations

import seiche as sc

GRAVITY, CART, POLE, HALF = 9.8, 1.0, 0.1, 0.5
"""m/s², kg, kg, and m: half of the pole's length."""
TICK = 0.02
"""Seconds."""


def accelerations(now: sc.Stream, force: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """Of the cart (m/s²) and of the pole's angle (rad/s²), at `(place, speed, angle, turn)` under a force (N)."""
    sin, cos = sc.sin(now[2]), sc.cos(now[2])
    whole = CART + POLE
    push = (force + POLE * HALF * sc.square(now[3]) * sin) / whole
    turning = (GRAVITY * sin - cos * push) / (HALF * (4 / 3 - POLE * sc.square(cos) / whole))
    return push - POLE * HALF * turning * cos / whole, turning


def step(now: sc.Stream, force: sc.Stream, tick: float = TICK) -> sc.Stream:
    """The next `(place, speed, angle, turn)` (m, m/s, rad from upright, rad/s) under a force (N): semi-implicit Euler."""
    place, speed, angle, turn = (now[i] for i in range(4))
    speeding, turning = accelerations(now, force)
    speed, turn = speed + tick * speeding, turn + tick * turning
    return sc.stack([place + tick * speed, speed, angle + tick * turn, turn])


def explicit_step(now: sc.Stream, force: sc.Stream, tick: float = TICK) -> sc.Stream:
    """The same by explicit Euler, which is what Gymnasium's CartPole does."""
    speeding, turning = accelerations(now, force)
    return now + tick * sc.stack([now[1], speeding, now[3], turning])
