"""Adam with weight decay apart from the gradient."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.ir import tree
from seiche.learn.adam import Adam
from seiche.learn.layer import Params
from seiche.learn.optimiser import Rate, descend, rate_now
from seiche.learn.ranges import FADING, NOT_NEGATIVE, check


@dataclass(frozen=True)
class AdamW:
    """w' = w - rate * (Adam's direction + decay * w) (Loshchilov & Hutter 2019, algorithm 2).

    >>> import seiche as sc
    >>> opt = sc.learn.AdamW(rate=0.5, decay=0.1)
    >>> @sc.node
    ... def descent(x: sc.f32) -> sc.f32:
    ...     w, s = sc.state(2.0), sc.state(opt.init(2.0))
    ...     w.next, s.next = opt.update(sc.grad(sc.learn.mse)(w, x), s, w)
    ...     return w.next
    >>> round(float(sc.compile(descent).step(1.0)), 4)
    1.4
    """

    rate: Rate = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8
    decay: float = 1e-2

    def __post_init__(self) -> None:
        check(
            "AdamW", vars(self), rate=NOT_NEGATIVE, b1=FADING, b2=FADING, epsilon=NOT_NEGATIVE, decay=NOT_NEGATIVE,
        )  # fmt: skip

    @property
    def adam(self) -> Adam:
        """The optimiser without decay."""
        return Adam(self.rate, self.b1, self.b2, self.epsilon)

    def init(self, params: Params) -> Params:
        """Moments of zero, at step 0."""
        return self.adam.init(params)

    def update(self, grads: Params, state: Params, params: Params) -> tuple[Params, Params]:
        """`(the next parameters, the next state)`."""
        directions, after = self.adam.directions(grads, state)
        decayed = tree.map_tree(lambda w, d: d + self.decay * w, params, directions)
        return descend(params, rate_now(self.rate, state), decayed), after
