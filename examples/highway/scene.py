"""highway-env's fast highway as its observation tells it: who is where, how fast, and what the car itself is about to do.

The simulator (Leurent 2018, github.com/Farama-Foundation/HighwayEnv) does not say which lane and speed the car is steering for; they
follow from what it was told before, by the rules of its own controller.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import seiche as sc
from seiche import f32, i32

ID = "highway-fast-v0"
ROWS, COLUMNS = 15, 5
"""The car itself and the fourteen that are nearest; presence, x, y, vx, vy."""
CONFIG: dict[str, Any] = {
    "observation": {"type": "Kinematics", "vehicles_count": ROWS, "see_behind": True}
}
"""What the environment is made with: by default one sees four others, and nobody behind."""
X_UNIT, Y_UNIT, V_UNIT = 200.0, 12.0, 80.0
"""Metres, metres, m/s of an observation of 1."""

LANES, LANE_WIDTH, LENGTH, WIDTH = 3, 4.0, 5.0, 2.0
ACTIONS = ("left", "idle", "right", "faster", "slower")
LEFT, IDLE, RIGHT, FASTER, SLOWER = range(5)
SIDES = (-1, 0, 1, 0, 0)
"""The change of lane that an action asks for."""
SLOWEST, STEP, FASTEST = 20.0, 5.0, 30.0
"""m/s that can be steered for: 20, 25, 30."""
SPEED_TAU, LANE_TAU = 0.6, 0.6
"""Seconds: how fast its controllers come to a speed, and to the middle of a lane."""
LEFT_OVER = (1.0 - 0.2 / SPEED_TAU) ** 5
"""The share of a difference of speeds that a decision leaves: five steps of 0.2 s."""


class Scene(NamedTuple):
    """The car's speed (m/s), its place across the road (m, 0 is the middle of the left lane), the lane (i32) and the speed that it
    steers for; of each other `[ROWS - 1]` whether it is there, how far ahead (m, between middles), its place across, its speeds."""

    speed: f32
    across: f32
    lane: i32
    aim: f32
    there: sc.bool_[ROWS - 1]
    ahead: f32[ROWS - 1]
    beside: f32[ROWS - 1]
    speeds: f32[ROWS - 1]
    sideways: f32[ROWS - 1]


def nearest_step(speed: sc.Stream) -> sc.Stream:
    """The speed that can be steered for that is nearest."""
    return sc.clip(sc.round((speed - SLOWEST) / STEP) * STEP + SLOWEST, SLOWEST, FASTEST)


def aims(speed: sc.Stream, aim: sc.Stream) -> sc.Stream:
    """`[ACTIONS]`: the speed that each action steers for; "faster" and "slower" start from the speed there is."""
    near = nearest_step(speed)
    up, down = sc.minimum(near + STEP, FASTEST), sc.maximum(near - STEP, SLOWEST)
    return sc.stack([aim, aim, aim, up, down])


def lanes(lane: sc.Stream) -> sc.Stream:
    """`[ACTIONS]`: the lane that each action steers for."""
    return sc.clip(lane + np.int32(SIDES), 0, LANES - 1)


def scene(observation: sc.Stream, done: sc.Stream, opens: sc.Stream) -> Scene:
    """Of an observation `[ROWS * COLUMNS]`, the action that was done before it, and whether an episode `opens` with it."""
    rows = observation.reshape(ROWS, COLUMNS)
    own, others = rows[0], rows[1:]
    across, forward, drift = own[2] * Y_UNIT, own[3] * V_UNIT, own[4] * V_UNIT
    speed = sc.sqrt(sc.square(forward) + sc.square(drift))
    lane, aim, before = sc.state(0), sc.state(SLOWEST), sc.state(SLOWEST)
    here = sc.clip(sc.round(across / LANE_WIDTH), 0, LANES - 1).to(sc.i32)
    lane.next = sc.where(opens, here, sc.take(lanes(lane), done))
    aim.next = sc.where(opens, nearest_step(speed), sc.take(aims(before, aim), done))
    before.next = speed
    return Scene(
        speed, across, lane.next, aim.next,
        others[:, 0] > 0.5, others[:, 1] * X_UNIT, others[:, 2] * Y_UNIT + across,
        others[:, 3] * V_UNIT + forward, others[:, 4] * V_UNIT + drift,
    )  # fmt: skip
