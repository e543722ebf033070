"""Iterative LQR with bounds: the rollout of a plan is a state, the dynamic programming a costate, all derivatives are the language's.

A plan is a push per step. Improving it is one sweep forward, which simulates it, corrected and answering to where it leads, and one
backward, which finds for every step the best correction and the best response to being elsewhere. How much of the corrections is
taken is chosen among a few rollouts side by side. The work of an improvement does not depend on data.

What a push may be is bounded; bounds on where the plan leads have a price, a state of the plan like its pushes, which rises while
they are exceeded, up to a most: what exceeding them by one is worth at most. (So a plan exists where no plan keeps all bounds.)

Li & Todorov 2004; Tassa, Erez & Todorov 2012. Bounded pushes: Tassa, Mansard & Todorov 2014, for one push. Prices: augmented
Lagrangian, Howell, Jackson & Manchester 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import seiche as sc
from examples.jacobian import jacobian
from seiche import costate, state

SHARES = np.float32([1, 0.7, 0.5, 0.3, 0.15, 0.06, 0.02, 0])
"""Of a correction: how much of it is tried. The last keeps the plan."""

Array = np.ndarray[Any, Any]
OfStep: TypeAlias = Callable[[sc.Stream, sc.Stream], sc.Stream]


@dataclass(frozen=True)
class Bounds:
    """Where a plan may lead: `exceeds(now, push)` is at most 0 `[count]`. `stiffness` is how fast the price of exceeding rises."""

    exceeds: OfStep
    count: int
    price_max: float
    stiffness: float

    def raised(self, price: sc.Stream, exceeds: sc.Stream) -> sc.Stream:
        """The prices once so much is exceeded."""
        return sc.clip(price + self.stiffness * exceeds, 0.0, self.price_max)

    def cost(self, price: sc.Stream, exceeds: sc.Stream) -> sc.Stream:
        """What a step pays: its derivative by `exceeds` is the raised price (Rockafellar 1973)."""
        raised = self.raised(price, exceeds)
        paid = raised * exceeds - (sc.square(raised - price)) / (2 * self.stiffness)
        return paid.sum()


@dataclass(frozen=True)
class Problem:
    """What is planned: from a place `[states]`, pushes (one number each) for so many steps, at the least cost of all steps and the end.

    The functions may read streams from around, which the whole plan then shares.
    """

    states: int
    horizon: int
    motion: OfStep
    cost: OfStep
    end: Callable[[sc.Stream], sc.Stream]
    limits: tuple[float, float] = (-np.inf, np.inf)
    bounds: Bounds | None = None

    def nothing(self) -> dict[str, Array]:
        """A plan without pushes: where it passes, its pushes, the corrections, the responses to being elsewhere, the prices."""
        shapes: dict[str, tuple[int, ...]] = {
            "place": (self.states,), "push": (), "correction": (), "response": (self.states,),
        }  # fmt: skip
        if self.bounds is not None:
            shapes["price"] = (self.bounds.count,)
        return {k: np.zeros((self.horizon, *shape), np.float32) for k, shape in shapes.items()}

    def roll(
        self, start: sc.Stream, share: Any, step: Any
    ) -> tuple[sc.Stream, sc.Stream, sc.Stream]:
        """A step of the plan, corrected and answering: where it starts, its push, and where it leads."""
        now = state(start)
        push = step["push"] + share * step["correction"] + step["response"] @ (now - step["place"])
        push = sc.clip(push, *self.limits)
        now.next = self.motion(now, push)
        return now, push, now.next

    def running(self, now: sc.Stream, push: sc.Stream, step: Any) -> sc.Stream:
        """The cost of a step, with what it pays for its bounds."""
        cost = self.cost(now, push)
        if self.bounds is None:
            return cost
        return cost + self.bounds.cost(step["price"], self.bounds.exceeds(now, push))

    def price(self, start: sc.Stream, share: Any, plan: Any) -> sc.Stream:
        """The cost of the whole plan with that share of its corrections."""

        def step(row: Any) -> tuple[sc.Stream, sc.Stream]:
            now, push, after = self.roll(start, share, row)
            return self.running(now, push, row), after

        costs, after = sc.over_time(step)(plan)
        return costs.sum() + self.end(after[-1])

    def improve(self, start: sc.Stream, share: Any, step: Any) -> dict[str, sc.Stream]:
        """A step of the next plan: simulated forward; its correction and response by dynamic programming, backward.

        `slope` and `bend` are the first two derivatives of the cost of all that comes after this step.
        """
        n = self.states
        now, push, after = self.roll(start, share, step)
        dear = (
            {}
            if self.bounds is None
            else {"price": self.bounds.raised(step["price"], self.bounds.exceeds(now, push))}
        )
        slope, bend = (costate(x) for x in derivatives(self.end, after))
        both = sc.concatenate([now, sc.reshape(push, (1,))])
        _, (moves,) = jacobian(lambda x: self.motion(x[:n], x[n]), both)
        by, by_twice = derivatives(lambda x: self.running(x[:n], x[n], dear), both)
        by, by_twice = by + moves.T @ slope, by_twice + moves.T @ bend @ moves
        best = push - by[n] / by_twice[n, n]
        low, high = self.limits
        correction = sc.clip(best, low, high) - push
        response = sc.where((best > low) & (best < high), -by_twice[n, :n] / by_twice[n, n], 0.0)
        slope.prev = by[:n] + by_twice[n, :n] * correction
        bend.prev = by_twice[:n, :n] + sc.outer(by_twice[n, :n], response)
        return {"place": now, "push": push, "correction": correction, "response": response, **dear}

    def improved(self, start: sc.Stream, plan: Any) -> tuple[Any, sc.Stream]:
        """The next plan, by the best share of the corrections of this one, and the cost of what it does before its own."""
        costs = sc.over_space(lambda share: self.price(start, share, plan), len(SHARES))(SHARES)
        share = sc.take(SHARES, sc.argmin(costs))
        return sc.over_time(lambda row: self.improve(start, share, row))(plan), costs.min()

    def replan(self, start: sc.Stream, plan: Any, times: int) -> tuple[Any, sc.Stream]:
        """So many improvements. The plan stays as it is where its cost is no number: what was seen was none."""

        def once(_: sc.Stream) -> tuple[Any, sc.Stream]:
            now = state(plan)
            now.next, cost = self.improved(start, now)
            return now.next, cost

        plans, costs = sc.over_time(once)(np.zeros(times, np.float32))
        seen = sc.isfinite(costs[-1])
        return sc.map_tree(lambda new, old: sc.where(seen, new[-1], old), plans, plan), costs[-1]


def derivatives(
    function: Callable[[sc.Stream], sc.Stream], x: sc.Stream
) -> tuple[sc.Stream, sc.Stream]:
    """The first two, `[n]` and `[n, n]`: the second is that of the first."""
    slope, (bend,) = jacobian(sc.grad(function), x)
    return slope, bend


def moved_on(plan: Any) -> Any:
    """The plan a step later: its last step is done twice."""
    return sc.map_tree(lambda x: sc.concatenate([x[1:], x[-1:]]), plan)
