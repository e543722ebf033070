"""Adaptive moments."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from seiche.ir import tree
from seiche.lang import functions as f
from seiche.lang.stream import Stream
from seiche.learn.layer import Params
from seiche.learn.optimiser import Rate, average, counted, counter, descend, rate_now, zeros_like
from seiche.learn.ranges import FADING, NOT_NEGATIVE, check
from seiche.numbers.formats import f32


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), at step t = 1, 2, ...

        m' = b1 m + (1 - b1) g        v' = b2 v + (1 - b2) g^2
        w' = w - rate * (m' / (1 - b1^t)) / (sqrt(v' / (1 - b2^t)) + epsilon)

    >>> import seiche as sc
    >>> opt = sc.learn.Adam(rate=0.5)
    >>> @sc.node
    ... def descent(x: sc.f32) -> sc.f32:
    ...     w, s = sc.state(0.0), sc.state(opt.init(0.0))
    ...     w.next, s.next = opt.update(sc.grad(sc.learn.mse)(w, x), s, w)
    ...     return w.next
    >>> round(float(sc.compile(descent).step(1.0)), 4)
    0.5
    """

    rate: Rate = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check(
            "Adam", vars(self), rate=NOT_NEGATIVE, b1=FADING, b2=FADING, epsilon=NOT_NEGATIVE,
        )  # fmt: skip

    def init(self, params: Params) -> Params:
        """Moments of zero, at step 0."""
        return {
            "mean": zeros_like(params),
            "square": zeros_like(params),
            **counter(self.rate, always=True),
        }

    def update(self, grads: Params, state: Params, params: Params) -> tuple[Params, Params]:
        """`(the next parameters, the next state)`."""
        directions, after = self.directions(grads, state)
        return descend(params, rate_now(self.rate, state), directions), after

    def directions(self, grads: Params, state: Params) -> tuple[Params, Params]:
        """`(what the rate multiplies, the next state)`."""
        after = counted(state)
        mean = average(self.b1, state["mean"], grads)
        square = average(self.b2, state["square"], tree.map_tree(f.square, grads))
        first, second = (_missing(b, after["step"]) for b in (self.b1, self.b2))

        def direction(m: Stream, v: Stream) -> Stream:
            return (m / first.to(m.format)) / (f.sqrt(v / second.to(v.format)) + self.epsilon)

        return tree.map_tree(direction, mean, square), {"mean": mean, "square": square, **after}


def _missing(decay: float, step: Stream) -> Stream:
    """1 - decay^step: how much of an average of so many terms is not its start. By expm1, exact where decay is near 1."""
    return -f.expm1(step.to(f32) * log(decay)) if decay else f.ones((), f32)
