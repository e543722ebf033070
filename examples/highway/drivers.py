"""Who drives on the highway: learners, and what learns nothing, each with the shield or without; one node, one C program."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import seiche as sc
from examples.highway.scene import (
    ACTIONS,
    COLUMNS,
    FASTER,
    IDLE,
    LANE_WIDTH,
    LANES,
    LEFT,
    LENGTH,
    RIGHT,
    ROWS,
    SLOWER,
    STEP,
    Scene,
    scene,
)
from examples.highway.shield import Verdict, judge, occupied, shielded
from seiche import bool_, f32, i32, learn, node
from seiche.learn import rl

LEARNERS = ("stream_q", "dqn")
BASELINES = ("random", "idle", "faster", "rule")
DISCOUNT = 0.9
OVERRIDE = 0.1
"""What the learner pays for each decision that the shield overrides: not a part of the environment's reward."""
REACH, CLOSING = 80.0, 10.0
"""Metres beyond which nobody is seen, and m/s, of a feature of 1."""
SECTORS = 2 * LANES
FEATURES = 3 + LANES + 2 * SECTORS + len(ACTIONS)


class Driven(NamedTuple):
    """A decision: what is done, what was chosen, whether the shield changed it, and whether anything was safe."""

    action: i32
    chosen: i32
    overridden: bool_
    safe: bool_


class Sectors(NamedTuple):
    """Ahead of and behind the car, in the lane to its left, its own and the one to its right, `[LANES]` each: metres of room (0 where
    there is no lane), and how much faster who is there drives (m/s)."""

    ahead: sc.Stream
    ahead_faster: sc.Stream
    behind: sc.Stream
    behind_faster: sc.Stream


def sectors(now: Scene) -> Sectors:
    """Of a scene."""
    lane = now.lane + np.arange(-1, LANES - 1, dtype=np.int32)
    exists = (lane >= 0) & (lane < LANES)
    there = sc.take(occupied(now, 0.5), sc.clip(lane, 0, LANES - 1)) & exists[:, None]
    faster = now.speeds - now.speed
    said: list[sc.Stream] = []
    for sign in (1.0, -1.0):
        gap = sc.where(there & (sign * now.ahead >= 0.0), sign * now.ahead - LENGTH, REACH)
        room = sc.clip(sc.min(gap, 1), 0.0, REACH)
        said += [sc.where(exists, room, 0.0)]
        said += [sc.where(room < REACH, sc.take(faster, sc.argmin(gap, 1)), 0.0)]
    return Sectors(*said)


def features(now: Scene, safe: sc.Stream) -> sc.Stream:
    """`[FEATURES]`: what the learners see, of about unit size."""
    own = sc.stack([
        (now.speed - 25.0) / STEP, (now.aim - 25.0) / STEP,
        now.across / LANE_WIDTH - now.lane.to(f32),
    ])  # fmt: skip
    around = sectors(now)
    said = [own, sc.one_hot(now.lane, LANES), around.ahead / REACH, around.behind / REACH]
    said += [around.ahead_faster / CLOSING, around.behind_faster / CLOSING, safe.to(f32)]
    return sc.concatenate(said)


def rule(now: Scene) -> sc.Stream:
    """A rule of thumb: as fast as two seconds of room allow, in the freest lane that has room behind."""
    around = sectors(now)
    room = around.ahead[1]
    pays = (around.ahead > room + 15.0) & (around.behind > 10.0)
    crowded = room < 2.0 * now.speed
    slow = sc.where(room < 1.2 * now.speed, SLOWER, IDLE)
    keep = sc.where(room > 2.5 * now.speed, FASTER, slow)
    return sc.where(crowded & pays[2], RIGHT, sc.where(crowded & pays[0], LEFT, keep))


def unlearnt(driver: str, now: Scene, seed: int) -> sc.Stream:
    """What a driver does that learns nothing."""
    if driver == "rule":
        return rule(now)
    if driver == "random":
        tick = sc.state(0)
        tick.next = tick + 1
        return sc.random.randint(sc.random.fold_in(sc.random.key(seed), tick), len(ACTIONS))
    return sc.constant(np.int32(ACTIONS.index(driver)))


def agent(driver: str, seed: int, steps: int, learns: bool) -> Any:
    """The learner; where it does not learn, it is greedy."""
    explore = learn.Linear(1.0, 0.02, steps=steps // 5)
    if driver == "stream_q":
        kappa = learn.Linear(2.0, 20.0, steps=steps)
        return rl.StreamQ(
            FEATURES, len(ACTIONS), hidden=32, discount=DISCOUNT, explore=explore, kappa=kappa, seed=seed
        )  # fmt: skip
    return rl.DQN(
        FEATURES, len(ACTIONS), hidden=64, capacity=20_000, batch=32, starts=500 if learns else 2**30,
        train_every=2, target_every=200, discount=DISCOUNT,
        explore=explore if learns else 0.0, optimiser=learn.Adam(5e-4), seed=seed,
    )  # fmt: skip


@node
def drive(
    observation: f32[ROWS * COLUMNS],
    reward: f32,
    terminated: bool_,
    truncated: bool_,
    driver: str = "dqn",
    shield: bool = True,
    learns: bool = True,
    seed: int = 0,
    steps: int = 20_000,
) -> Driven:
    """A decision of a driver, one of `LEARNERS` and `BASELINES`, which learns from the reward of the one before.

    Behind the `shield` it learns what comes of its choices with the shield in the loop, and pays for overrides. `steps` is the number of decisions
    over which it explores less and less.
    """
    ended = terminated | truncated
    opens = sc.fby(True, ended)
    done, overridden = sc.var(i32), sc.var(bool_)
    now = scene(observation, sc.fby(IDLE, done), opens)
    safe, refuge = judge(now)
    paid = reward - sc.where(sc.fby(False, overridden), OVERRIDE, 0.0)
    if driver in LEARNERS:
        learner = agent(driver, seed, steps, learns)
        told = {"learns": learns} if driver == "stream_q" else {}
        chosen = learner(features(now, safe), paid, terminated, truncated, **told).action
    else:
        chosen = unlearnt(driver, now, seed)
    verdict = shielded(chosen, safe, refuge) if shield else Verdict(chosen, sc.constant(False))
    done.define(verdict.action)
    overridden.define(verdict.overridden & ~ended)
    return Driven(verdict.action, chosen, overridden, sc.any(safe))
