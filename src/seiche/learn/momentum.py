"""Gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.ir import tree
from seiche.learn.layer import Params
from seiche.learn.optimiser import Rate, counted, counter, descend, rate_now, zeros_like
from seiche.learn.ranges import FADING, NOT_NEGATIVE, check


@dataclass(frozen=True)
class Momentum:
    """v' = decay * v + g; w' = w - rate * v' (Polyak 1964).

    With `nesterov`, w' = w - rate * (g + decay * v') (Nesterov 1983, as in Sutskever et al. 2013 and torch).

    >>> import seiche as sc
    >>> opt = sc.learn.Momentum(rate=0.25, decay=0.5)
    >>> @sc.node
    ... def descent(x: sc.f32) -> sc.f32:
    ...     w, s = sc.state(0.0), sc.state(opt.init(0.0))
    ...     w.next, s.next = opt.update(sc.grad(sc.learn.mse)(w, x), s, w)
    ...     return w.next
    >>> sc.compile(descent).run([1.0, 1.0, 1.0]).tolist()
    [0.5, 1.0, 1.25]
    """

    rate: Rate = 0.01
    decay: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        check(
            "Momentum", vars(self), rate=NOT_NEGATIVE, decay=FADING,
        )  # fmt: skip

    def init(self, params: Params) -> Params:
        """Velocities of zero."""
        return {"velocity": zeros_like(params), **counter(self.rate)}

    def update(self, grads: Params, state: Params, params: Params) -> tuple[Params, Params]:
        """`(the next parameters, the next state)`."""
        velocity = tree.map_tree(lambda g, v: self.decay * v + g, grads, state["velocity"])
        ahead = (
            tree.map_tree(lambda g, v: g + self.decay * v, grads, velocity)
            if self.nesterov
            else velocity
        )
        return descend(params, rate_now(self.rate, state), ahead), {
            "velocity": velocity,
            **counted(state),
        }
