"""The same plans by CasADi and IPOPT (the extra `peers`): an interior-point solver in f64, iterated until it is done.

The problems are written out again, as users of CasADi write them: all places and pushes of a plan are variables, the motion is a
constraint (multiple shooting), and what exceeds a bound has a variable of its own, which costs its price (an exact penalty).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi
import numpy as np

from examples import cart_pole
from examples.mpc import controllers as c

Array = np.ndarray[Any, Any]
Symbolic = Any
"""What CasADi computes with: numbers and expressions."""


@dataclass(frozen=True)
class Model:
    """A problem in CasADi's expressions. `now` is a column, `given` what the controller is told beside it (`[givens]`)."""

    states: int
    horizon: int
    givens: int
    motion: Callable[[Symbolic, Symbolic], Symbolic]
    cost: Callable[[Symbolic, Symbolic, Symbolic], Symbolic]
    end: Callable[[Symbolic, Symbolic], Symbolic]
    limits: tuple[float, float]
    exceeds: Callable[[Symbolic, Symbolic], Symbolic] | None = None
    count: int = 0
    price: float = 0.0


def weighted(weights: Array, x: Symbolic) -> Symbolic:
    return 0.5 * casadi.sumsqr(casadi.sqrt(casadi.DM(weights.astype(float))) * x)


def pushed(now: Symbolic, push: Symbolic) -> Symbolic:
    """The cart-pole's motion."""
    place, speed, angle, turn = (now[k] for k in range(4))
    whole, rod = cart_pole.CART + cart_pole.POLE, cart_pole.POLE * cart_pole.HALF
    sin, cos, tick = casadi.sin(angle), casadi.cos(angle), c.SWING_TICK
    force = (push + rod * turn**2 * sin) / whole
    turning = (cart_pole.GRAVITY * sin - cos * force) / (
        cart_pole.HALF * (4 / 3 - cart_pole.POLE * cos**2 / whole)
    )
    speed, turn = speed + tick * (force - rod * turning * cos / whole), turn + tick * turning
    return casadi.vertcat(place + tick * speed, speed, angle + tick * turn, turn)


def driven(now: Symbolic, push: Symbolic) -> Symbolic:
    """The car's motion."""
    pulls = now[3] + c.ROAD_TICK / c.LAG * (push - now[3])
    speed = now[1] + c.ROAD_TICK * pulls
    return casadi.vertcat(now[0] + c.ROAD_TICK * (now[2] - speed), speed, now[2], pulls)


SWING = Model(
    states=4,
    horizon=c.SWING_STEPS,
    givens=0,
    motion=pushed,
    cost=lambda now, push, given: weighted(c.AWAY, now) + 0.5 * c.EFFORT * push**2,
    end=lambda now, given: weighted(c.AWAY_AT_END, now),
    limits=(-c.PUSH_MAX, c.PUSH_MAX),
)
ROAD = Model(
    states=4,
    horizon=c.ROAD_STEPS,
    givens=2,
    motion=driven,
    cost=lambda now, push, given: (
        0.5 * (c.SLOW * (now[1] - given[0]) ** 2 + c.ROUGH * now[3] ** 2 + c.COMMAND * push**2)
    ),
    end=lambda now, given: 0.5 * c.SLOW_AT_END * (now[1] - given[0]) ** 2,
    limits=(c.BRAKE, c.THROTTLE),
    exceeds=lambda now, given: casadi.vertcat(
        c.STANDING + c.HEADWAY * now[1] - now[0], now[1] - given[1], -now[1]
    ),
    count=c.EXCEEDS,
    price=c.PRICE_MAX,
)


class Solver:
    """The best plan from a place, by IPOPT, from the plan of the call before, a step later."""

    def __init__(self, model: Model, tolerance: float = 1e-8) -> None:
        self.model = model
        n, steps = model.states, model.horizon
        start, given = casadi.SX.sym("start", n), casadi.SX.sym("given", model.givens)
        places = casadi.SX.sym("places", n, steps)
        pushes = casadi.SX.sym("pushes", steps)
        over = casadi.SX.sym("over", model.count, steps)
        rules: list[Symbolic] = []
        total, now = casadi.SX(0), start
        for t in range(steps):
            total += model.cost(now, pushes[t], given)
            if model.exceeds is not None:
                total += model.price * casadi.sum1(over[:, t])
                rules.append(over[:, t] - model.exceeds(now, given))
            rules.append(places[:, t] - model.motion(now, pushes[t]))
            now = places[:, t]
        total += model.end(now, given)
        unknown = casadi.vertcat(pushes, casadi.vec(places), casadi.vec(over))
        free = [np.inf] * model.count
        self.upper_rules = (free + [0.0] * n) * steps
        low, high = model.limits
        rest = n * steps
        self.low = [low] * steps + [-np.inf] * rest + [0.0] * (model.count * steps)
        self.high = [high] * steps + [np.inf] * (rest + model.count * steps)
        settings = {
            "ipopt.print_level": 0,
            "ipopt.sb": "yes",
            "print_time": False,
            "ipopt.tol": tolerance,
        }
        problem = {
            "x": unknown, "p": casadi.vertcat(start, given), "f": total, "g": casadi.vertcat(*rules),
        }  # fmt: skip
        self.solver = casadi.nlpsol("solver", "ipopt", problem, settings)
        self.begin = np.zeros(unknown.shape[0])
        push = casadi.SX.sym("push")
        self.step = casadi.Function("step", [start, push], [model.motion(start, push)])
        paid = model.cost(start, push, given)
        if model.exceeds is not None:
            paid += model.price * casadi.sum1(casadi.fmax(model.exceeds(start, given), 0))
        self.stage = casadi.Function("stage", [start, push, given], [paid])
        self.final = casadi.Function("final", [start, given], [model.end(start, given)])

    def solve(self, start: Array, given: Array) -> tuple[float, Array]:
        """The least cost, and the pushes that have it. Raises ValueError where IPOPT finds none."""
        asked = np.concatenate([start, given]).astype(float)
        found = self.solver(
            x0=self.begin, p=asked, lbx=self.low, ubx=self.high, lbg=0.0, ubg=self.upper_rules
        )
        if not self.solver.stats()["success"]:
            raise ValueError(self.solver.stats()["return_status"])
        best = np.array(found["x"]).ravel()
        self.begin = self.moved_on(best)
        return float(found["f"]), best[: self.model.horizon]

    def moved_on(self, best: Array) -> Array:
        """A solution a step later."""
        steps = self.model.horizon
        parts = np.split(best, [steps, steps * (1 + self.model.states)])
        rows = [part.reshape(steps, -1) for part in parts]
        return np.concatenate([np.concatenate([x[1:], x[-1:]]).ravel() for x in rows])

    def cost(self, start: Array, pushes: Array, given: Array) -> float:
        """What those pushes cost, in f64."""
        now, total = start.astype(float), 0.0
        for push in pushes:
            total += float(self.stage(now, float(push), given))
            now = np.array(self.step(now, float(push))).ravel()
        return total + float(self.final(now, given))

    def paid(self, places: Array, pushes: Array, given: Array) -> float:
        """What a run has cost: `[ticks, states]`, `[ticks]`, `[ticks, givens]`."""
        rows = zip(places.astype(float), pushes, given, strict=True)
        return sum(float(self.stage(now, float(push), told)) for now, push, told in rows)

    def run(
        self, start: Array, given: Array, seen: Callable[[int, Array], Array]
    ) -> tuple[Array, Array]:
        """IPOPT in the loop: where it went and its pushes. `seen` is what the world makes of a place at a tick."""
        self.reset()
        now, places, pushes = start.astype(float), [], []
        for t, told in enumerate(given):
            now = seen(t, now)
            _, plan = self.solve(now, told)
            places.append(now)
            pushes.append(plan[0])
            now = np.array(self.step(now, plan[0])).ravel()
        return np.array(places), np.array(pushes)

    def reset(self) -> None:
        """As if nothing had been solved."""
        self.begin = np.zeros_like(self.begin)
