"""Two plants, and their controllers as nodes: what is seen at a tick goes in, a push comes out, and the plan is a state."""

from __future__ import annotations

from typing import Any

import numpy as np

import seiche as sc
from examples import cart_pole
from examples.ilqr import Bounds, Problem, moved_on
from seiche import bool_, f32, node, state

Array = np.ndarray[Any, Any]

# ------------------------------------------------------------------------------------------------ the cart-pole

SWING_TICK, SWING_STEPS = 0.04, 50
"""Seconds of a step, and steps of a plan."""
PUSH_MAX = 8.0
"""N; the pole weighs 1 N, the cart 10."""
HANGING = np.float32([0, 0, np.pi, 0])
AWAY, EFFORT, AWAY_AT_END = np.float32([0.1, 0.01, 0.1, 0.01]), 0.002, np.float32([20, 5, 50, 5])
"""What it costs to be away from upright at any step, to push, and to be away at the end."""

SWING = Problem(
    states=4,
    horizon=SWING_STEPS,
    motion=lambda now, push: cart_pole.step(now, push, SWING_TICK),
    cost=lambda now, push: 0.5 * (AWAY @ sc.square(now) + EFFORT * sc.square(push)),
    end=lambda now: 0.5 * (AWAY_AT_END @ sc.square(now)),
    limits=(-PUSH_MAX, PUSH_MAX),
)


@node
def balance(now: f32[4], go: bool_, times: int = 3) -> dict[str, sc.Stream]:
    """Swings a pole up and keeps it there: sees `(place, speed, angle, turn)`, gives the push (N) and its plan `[steps]`.

    Until it may `go` it does not push, but plans already.
    """
    plan = state(SWING.nothing())
    better, cost = SWING.replan(now, plan, times)
    plan.next = sc.map_tree(lambda on, stay: sc.where(go, on, stay), moved_on(better), better)
    return {"push": sc.where(go, better["push"][0], 0.0), "plan": better["push"], "cost": cost}


@node
def swing(gust: f32, go: bool_, times: int = 3) -> dict[str, sc.Stream]:
    """The controller and its cart in one program, under a gust (N) that no plan knows of."""
    now = state(HANGING)
    said = balance(now, go, times)
    now.next = cart_pole.step(now, said["push"] + gust, SWING_TICK)
    return {"now": now, **said}


# ----------------------------------------------------------------------------------------------------- the car

ROAD_TICK, ROAD_STEPS = 0.2, 30
LAG = 0.4
"""Seconds until the drive does what it is told."""
BRAKE, THROTTLE = -5.0, 2.0
"""m/s², at most."""
STANDING, HEADWAY = 4.0, 1.2
"""The least distance: m, and seconds of one's own speed."""
SLOW, ROUGH, COMMAND, SLOW_AT_END = 0.1, 0.5, 0.2, 0.5
"""What it costs to miss the wished speed, to accelerate, to tell the drive to, and to miss the speed at the end."""
PRICE_MAX, STIFFNESS = 30.0, 6.0
"""Of a metre too near, or of a metre per second too fast."""
EXCEEDS = 3


def rolling(now: sc.Stream, push: sc.Stream) -> sc.Stream:
    """`(gap, speed, speed of the car ahead, acceleration)` a step later; the car ahead is believed to go on as it does."""
    gap, speed, ahead, pulls = (now[k] for k in range(4))
    pulls = pulls + ROAD_TICK / LAG * (push - pulls)
    speed = speed + ROAD_TICK * pulls
    return sc.stack([gap + ROAD_TICK * (ahead - speed), speed, ahead, pulls])


def keeping(wish: sc.Stream, limit: sc.Stream) -> Problem:
    """To drive as fast as wished, not faster than the limit, not backwards, and not too near."""

    def cost(now: sc.Stream, push: sc.Stream) -> sc.Stream:
        return 0.5 * (
            SLOW * sc.square(now[1] - wish) + ROUGH * sc.square(now[3]) + COMMAND * sc.square(push)
        )

    def exceeds(now: sc.Stream, push: sc.Stream) -> sc.Stream:
        return sc.stack([STANDING + HEADWAY * now[1] - now[0], now[1] - limit, -now[1]])

    return Problem(
        states=4,
        horizon=ROAD_STEPS,
        motion=rolling,
        cost=cost,
        end=lambda now: 0.5 * SLOW_AT_END * sc.square(now[1] - wish),
        limits=(BRAKE, THROTTLE),
        bounds=Bounds(exceeds, EXCEEDS, PRICE_MAX, STIFFNESS),
    )


@node
def cruise(now: f32[4], wish: f32, limit: f32, times: int = 3) -> dict[str, sc.Stream]:
    """Adaptive cruise control: sees `(gap, speed, speed ahead, acceleration)`, the wished speed and the limit; gives the push (m/s²)."""
    problem = keeping(wish, limit)
    plan = state(problem.nothing())
    better, cost = problem.replan(now, plan, times)
    plan.next = moved_on(better)
    return {"push": better["push"][0], "plan": better["push"], "cost": cost}


@node
def road(
    ahead: f32, cut_in: bool_, gap: f32, wish: f32, limit: f32, times: int = 3
) -> dict[str, sc.Stream]:
    """The controller and its car in one program, behind a car of a given speed; where another cuts in, the gap is given."""
    kept = state(np.float32([60, 20, 20, 0]))
    now = sc.stack([sc.where(cut_in, gap, kept[0]), kept[1], ahead, kept[3]])
    said = cruise(now, wish, limit, times)
    kept.next = rolling(now, said["push"])
    return {"now": now, **said}


LEGS = ((0, 22, 25), (15, 12, 25), (28, 24, 25), (45, 24, 20), (55, 0, 20), (72, 15, 20))
"""Of a drive: from which second on which speed ahead is approached, at 2 m/s², and what is allowed (m/s)."""
DRIVE_S, WISH, CUT_IN_S, CUT_IN_GAP = 80, 28.0, 40, 20.0
"""How long it takes, what is wished, and when which gap is left by a car that cuts in (m)."""


def traffic(seed: int = 0) -> dict[str, Array]:
    """A drive, tick by tick: what the cars ahead do, who cuts in, what is wished and allowed."""
    rng = np.random.default_rng(seed)
    ticks = int(DRIVE_S / ROAD_TICK)
    ahead, limit, speed = np.zeros(ticks), np.zeros(ticks), float(LEGS[0][1])
    for t in range(ticks):
        _, target, limit[t] = [leg for leg in LEGS if leg[0] <= t * ROAD_TICK][-1]
        speed += np.clip(target - speed, -2 * ROAD_TICK, 2 * ROAD_TICK)
        ahead[t] = max(speed + 0.1 * rng.normal(), 0.0)
    cut_in = np.arange(ticks) == int(CUT_IN_S / ROAD_TICK)
    drive = {
        "ahead": ahead,
        "gap": np.full(ticks, CUT_IN_GAP),
        "wish": np.full(ticks, WISH),
        "limit": limit,
    }
    return {"cut_in": cut_in, **{name: x.astype(np.float32) for name, x in drive.items()}}
