"""Gradients divided by their root mean square."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.ir import tree
from seiche.lang import functions as f
from seiche.learn.layer import Params
from seiche.learn.optimiser import Rate, average, counted, counter, descend, rate_now, zeros_like
from seiche.learn.ranges import FADING, NOT_NEGATIVE, check


@dataclass(frozen=True)
class RMSprop:
    """v' = decay * v + (1 - decay) g^2; w' = w - rate * g / (sqrt(v') + epsilon) (Tieleman & Hinton 2012, lecture 6.5).

    >>> import seiche as sc
    >>> opt = sc.learn.RMSprop(rate=0.5, decay=0.75)
    >>> @sc.node
    ... def descent(x: sc.f32) -> sc.f32:
    ...     w, s = sc.state(0.0), sc.state(opt.init(0.0))
    ...     w.next, s.next = opt.update(sc.grad(sc.learn.mse)(w, x), s, w)
    ...     return w.next
    >>> round(float(sc.compile(descent).step(1.0)), 4)
    1.0
    """

    rate: Rate = 1e-3
    decay: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check(
            "RMSprop", vars(self), rate=NOT_NEGATIVE, decay=FADING, epsilon=NOT_NEGATIVE,
        )  # fmt: skip

    def init(self, params: Params) -> Params:
        """Mean squares of zero."""
        return {"square": zeros_like(params), **counter(self.rate)}

    def update(self, grads: Params, state: Params, params: Params) -> tuple[Params, Params]:
        """`(the next parameters, the next state)`."""
        square = average(self.decay, state["square"], tree.map_tree(f.square, grads))
        directions = tree.map_tree(lambda g, v: g / (f.sqrt(v) + self.epsilon), grads, square)
        return descend(params, rate_now(self.rate, state), directions), {
            "square": square,
            **counted(state),
        }
