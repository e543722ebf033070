"""Iterative LQR on a cart-pole: the rollout is a state, the Riccati recursion a costate, the Jacobians are the language's.

A pole hangs down from a cart and is to be swung up. A plan is 50 pushes of 40 ms. Improving it is one sweep forward through
the plan, which simulates, and one backward, which finds for every moment the best correction to the plan and the best
response to being elsewhere. A tick of `planner` is one improvement. A tick of `pilot` is 40 ms of the world: it sees where
the cart is, improves its plan once, pushes, and moves the plan on by a step (model-predictive control).

The algorithm is `examples/ilqr.py`; pushes and places with bounds, beside an interior-point solver, are the example `mpc`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import seiche as sc
from examples import cart_pole, show
from examples.ilqr import SHARES, Problem, moved_on
from examples.jacobian import jacobian
from seiche import f32, node, state

HORIZON, TICK = 50, 0.04
"""Steps of a plan, and the seconds of each."""
HANGING, UPRIGHT = np.float32([0, 0, np.pi, 0]), np.zeros(4, np.float32)
NEAR, EFFORT, END = np.float32([0.1, 0.01, 0.1, 0.01]), 0.002, np.float32([20, 5, 50, 5])
"""What it costs to be away from upright at any step, to push, and to be away at the end."""
Array = np.ndarray[Any, Any]


def motion(now: sc.Stream, push: sc.Stream) -> sc.Stream:
    """The world, as the plan sees it."""
    return cart_pole.step(now, push, TICK)


def jacobians(now: sc.Stream, push: sc.Stream) -> tuple[sc.Stream, sc.Stream]:
    """The derivatives of the motion by where it starts `[4, 4]` and by the push `[4]`."""
    return jacobian(motion, now, push)[1]


def running(now: sc.Stream, push: sc.Stream) -> sc.Stream:
    """The cost of a step."""
    return 0.5 * (NEAR @ sc.square(now - UPRIGHT) + EFFORT * sc.square(push))


def ending(now: sc.Stream) -> sc.Stream:
    """The cost of where the plan ends."""
    return 0.5 * (END @ sc.square(now - UPRIGHT))


SWING = Problem(4, HORIZON, motion, running, ending)


@node
def planner(start: f32[4]) -> dict[str, sc.Stream]:
    """An improvement per tick, of a plan from `start`: the cost, and the plan."""
    plan = state(SWING.nothing())
    plan.next, cost = SWING.improved(start, plan)
    return {"cost": cost, **{name: plan.next[name] for name in ("place", "push")}}


@node
def pilot(gust: f32) -> dict[str, sc.Stream]:
    """A step of the world per tick, under a gust (N) that no plan knows of: where the cart is, and the push."""
    now, plan = state(HANGING), state(SWING.nothing())
    better, cost = SWING.improved(now, plan)
    push = better["push"][0]
    now.next = motion(now, push + gust)
    plan.next = moved_on(better)
    return {"now": now, "push": push, "cost": cost}


@node
def backward(now: f32[4], push: f32, ends: sc.bool_) -> dict[str, sc.Stream]:
    """In time: the corrections and responses of a trajectory that comes step by step, as a frame."""
    with sc.frame(max=HORIZON, until=ends):
        step = {"place": now, "push": push, "correction": sc.constant(0.0), "response": sc.zeros(4)}
        # The trajectory is what it is: the rollout starts where it does, and follows its pushes.
        return SWING.improve(now, sc.constant(0.0), step)


# --------------------------------------------------------------------------------------------------------- another way


def by_numpy(start: Array, plan: dict[str, Array]) -> tuple[dict[str, Array], float]:
    """`improved` by loops in f64, with Jacobians by complex steps (Squire & Trapp 1998)."""

    def rolled(share: float) -> tuple[Array, Array, float]:
        places, pushes, cost = [start.astype(float)], [], 0.0
        for t in range(HORIZON):
            answer = plan["response"][t] @ (places[-1] - plan["place"][t])
            pushes.append(plan["push"][t] + share * plan["correction"][t] + answer)
            cost += 0.5 * (NEAR @ np.square(places[-1]) + EFFORT * pushes[-1] ** 2)
            places.append(moved(places[-1], pushes[-1]))
        return np.array(places), np.array(pushes), cost + 0.5 * END @ np.square(places[-1])

    cost, best = min((rolled(float(share))[2], -k) for k, share in enumerate(SHARES))
    places, pushes, _ = rolled(float(SHARES[-best]))
    slope, bend = END * places[-1], np.diag(END).astype(float)
    correction, response = np.zeros(HORIZON), np.zeros((HORIZON, 4))
    for t in reversed(range(HORIZON)):
        a, b = complex_steps(places[t], pushes[t])
        by_push, push_push, push_now = (
            EFFORT * pushes[t] + b @ slope,
            EFFORT + b @ bend @ b,
            b @ bend @ a,
        )
        correction[t], response[t] = -by_push / push_push, -push_now / push_push
        slope = NEAR * places[t] + a.T @ slope + response[t] * by_push
        bend = np.diag(NEAR) + a.T @ bend @ a + np.outer(push_now, response[t])
    return {
        "place": places[:-1],
        "push": pushes,
        "correction": correction,
        "response": response,
    }, cost


def moved(now: Array, push: Any) -> Array:
    """`cart_pole.step` by numpy."""
    place, speed, angle, turn = now
    sin, cos, whole, rod = (
        np.sin(angle),
        np.cos(angle),
        cart_pole.CART + cart_pole.POLE,
        cart_pole.POLE * cart_pole.HALF,
    )
    pushed = (push + rod * turn**2 * sin) / whole
    turning = (cart_pole.GRAVITY * sin - cos * pushed) / (
        cart_pole.HALF * (4 / 3 - cart_pole.POLE * cos**2 / whole)
    )
    speed, turn = speed + TICK * (pushed - rod * turning * cos / whole), turn + TICK * turning
    return np.array([place + TICK * speed, speed, angle + TICK * turn, turn])


def complex_steps(now: Array, push: float) -> tuple[Array, Array]:
    """The derivatives of `moved`, to the last digit."""
    h = 1e-30j
    a = np.stack([moved(now + h * row, push).imag for row in np.eye(4)], axis=1) * 1e30
    return a, moved(now.astype(complex), push + h).imag * 1e30


def main() -> None:
    """Runs it."""
    show.title("Iterative LQR: simulate forward, improve backward, swing up")
    program = sc.compile(planner, target="c")
    out = program.run(np.tile(HANGING, (60, 1)))
    plan, costs = SWING.nothing(), []
    for _ in range(60):
        plan, cost = by_numpy(HANGING, plan)
        costs.append(cost)
    show.fact("plan", f"{HORIZON} steps of {TICK * 1000:.0f} ms")
    show.fact(
        "its cost after 0, 1, 5, 20, 59 improvements",
        ", ".join(f"{out['cost'][k]:.2f}" for k in (0, 1, 5, 20, 59)),
    )
    show.fact("  numpy's loops, f64", ", ".join(f"{costs[k]:.2f}" for k in (0, 1, 5, 20, 59)))

    ticks = 250
    gust = np.zeros(ticks, np.float32)
    gust[125:130] = 25.0
    device = sc.compile(pilot, target="c")
    began = time.perf_counter()
    flown = device.run(gust)
    spent = time.perf_counter() - began
    angle = (flown["now"][:, 2] + np.pi) % (2 * np.pi) - np.pi
    show.fact(
        "pilot, a plan improved once per tick: |angle|",
        show.line(np.abs(angle).reshape(50, 5).mean(1), 0, np.pi),
    )
    show.fact("  upright (within 0.1 rad) after", f"{upright(angle[:125]) * TICK:.1f} s")
    show.fact(
        "  a gust of 25 N for 0.2 s: furthest, upright after",
        f"{np.abs(angle[125:]).max():.2f} rad, {upright(angle[125:]) * TICK:.1f} s",
    )
    show.fact("  a tick", f"{spent / ticks * 1e6:.0f} µs of {TICK * 1e6:,.0f}")
    cost = device.report().as_dict()
    show.fact(
        "  memory, operations of a tick at most",
        f"{cost['struct_bytes']:,} B, {cost['operations']:,}",
    )
    again = sc.compile(pilot).run(gust[:8])
    same = all(again[k].tobytes() == flown[k][:8].tobytes() for k in again)
    show.fact("interpreter and C, 8 ticks", "the same bits" if same else "DIFFERENT BITS")
    show.look(
        "improve() in examples/ilqr.py: one state, two costates; what textbooks spread over two loops and five arrays;",
        "improved(): eight rollouts side by side; backward() in examples/lqr.py: the same over ticks, in a frame.",
    )


def upright(angle: Array) -> int:
    """The tick from which on the pole stays within 0.1 rad."""
    away = np.flatnonzero(np.abs(angle) > 0.1)
    return int(away[-1]) + 1 if len(away) else 0


if __name__ == "__main__":
    main()
