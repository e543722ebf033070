"""The cart-pole, a world that `gae` and `lqr` share: a pole hinged on a cart that is pushed along a track.

Barto, Sutton & Anderson 1983, without friction; the pole is a uniform rod of 1 m.
"""

from __future__ import annotations

import seiche as sc

GRAVITY, CART, POLE, HALF = 9.8, 1.0, 0.1, 0.5
"""m/s², kg, kg, and m: half of the pole's length."""
TICK = 0.02
"""Seconds."""


def step(now: sc.Stream, force: sc.Stream, tick: float = TICK) -> sc.Stream:
    """The next `(place, speed, angle, turn)` (m, m/s, rad from upright, rad/s) under a force (N): semi-implicit Euler."""
    place, speed, angle, turn = (now[i] for i in range(4))
    sin, cos = sc.sin(angle), sc.cos(angle)
    whole = CART + POLE
    push = (force + POLE * HALF * sc.square(turn) * sin) / whole
    turning = (GRAVITY * sin - cos * push) / (HALF * (4 / 3 - POLE * sc.square(cos) / whole))
    speeding = push - POLE * HALF * turning * cos / whole
    speed, turn = speed + tick * speeding, turn + tick * turning
    return sc.stack([place + tick * speed, speed, angle + tick * turn, turn])
