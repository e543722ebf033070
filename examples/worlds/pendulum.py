"""The pendulum of Gymnasium (Pendulum-v1): swing it up and hold it there, with a motor too weak to lift it at once."""

from __future__ import annotations

from math import pi

import numpy as np

import seiche as sc
from examples.worlds.episode import episode
from seiche import f32, node, u32
from seiche.learn.rl import Experience

OBSERVATIONS, ACTIONS = 3, 1
LONGEST = 200
"""Actions of an episode."""
GRAVITY, MASS, LENGTH, TICK = 10.0, 1.0, 1.0, 0.05
"""m/s², kg, m, s."""
TORQUE_MAX, TURN_MAX = 2.0, 8.0
"""N m, rad/s."""


@node
def pendulum(action: f32[1], key: u32[2]) -> Experience:
    """Observes cos, sin and speed of the angle from upright; the action is a torque (N m); costs angle, speed and torque."""
    ended = sc.var(sc.bool_)
    age, opens, chance = episode(ended, key)
    now = sc.state(np.zeros(2, np.float32))
    torque = sc.clip(action[0], -TORQUE_MAX, TORQUE_MAX)
    moved, cost = swung(now[0], now[1], torque)
    fresh = sc.random.uniform(chance, (2,), -1.0, 1.0) * np.float32([pi, 1.0])
    now.next = sc.where(opens, fresh, moved)
    late = age == LONGEST
    ended.define(late)
    angle, turn = now.next[0], now.next[1]
    seen = sc.stack([sc.cos(angle), sc.sin(angle), turn])
    return Experience(seen, sc.where(opens, 0.0, -cost), sc.constant(False), late)


def swung(angle: sc.Stream, turn: sc.Stream, torque: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """`((angle, turn) a tick later, the cost of this one)`: semi-implicit Euler, a uniform rod."""
    off = angle - 2 * pi * sc.floor((angle + pi) / (2 * pi))
    cost = sc.square(off) + 0.1 * sc.square(turn) + 0.001 * sc.square(torque)
    turning = 1.5 * GRAVITY / LENGTH * sc.sin(angle) + 3.0 / (MASS * LENGTH**2) * torque
    faster = sc.clip(turn + TICK * turning, -TURN_MAX, TURN_MAX)
    return sc.stack([angle + TICK * faster, faster]), cost
