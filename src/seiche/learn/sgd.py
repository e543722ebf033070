"""Stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.learn.layer import Params
from seiche.learn.optimiser import Rate, counted, counter, descend, rate_now
from seiche.learn.ranges import NOT_NEGATIVE, check


@dataclass(frozen=True)
class SGD:
    """w' = w - rate * g (Robbins & Monro 1951).

    >>> import seiche as sc
    >>> opt = sc.learn.SGD(rate=0.25)
    >>> @sc.node
    ... def descent(x: sc.f32) -> sc.f32:
    ...     w, s = sc.state(0.0), sc.state(opt.init(0.0))
    ...     w.next, s.next = opt.update(sc.grad(sc.learn.mse)(w, x), s, w)
    ...     return w.next
    >>> sc.compile(descent).run([1.0, 1.0, 1.0]).tolist()
    [0.5, 0.75, 0.875]
    """

    rate: Rate = 0.01

    def __post_init__(self) -> None:
        check(
            "SGD", vars(self), rate=NOT_NEGATIVE,
        )  # fmt: skip

    def init(self, params: Params) -> Params:
        """The step, where the rate is a schedule."""
        return counter(self.rate)

    def update(self, grads: Params, state: Params, params: Params) -> tuple[Params, Params]:
        """`(the next parameters, the next state)`."""
        return descend(params, rate_now(self.rate, state), grads), counted(state)
