"""ObGD: gradient descent along eligibility traces, whose steps never overshoot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from seiche.ir import tree
from seiche.lang import functions as f
from seiche.lang.stream import Stream
from seiche.learn.layer import Params
from seiche.learn.optimiser import zeros_like
from seiche.learn.ranges import POSITIVE, SHARE, check


@dataclass(frozen=True)
class ObGD:
    """Overshooting-bounded gradient descent (Elsayed, Vasan & Mahmood 2024, arXiv 2410.14606, algorithm 3).

        e' = discount trace e + grad        (e' = grad where it is cut)
        M  = kappa rate max(|error|, 1) sum |e'|
        w' = w + rate / max(M, 1) error e'

    grad is that of the prediction (not of a loss), error the temporal difference. A learner calls `accumulate` when it
    predicts and `update` when it knows the error; `kappa` is 2 for values and 3 for policies in the paper.

    >>> import numpy as np
    >>> import seiche as sc
    >>> opt = sc.learn.rl.ObGD()
    >>> @sc.node
    ... def learn(x: sc.f32[2], target: sc.f32) -> sc.f32:
    ...     zero = np.zeros(2, np.float32)
    ...     w, e = sc.state(zero), sc.state(opt.init(zero))
    ...     said, grad = sc.value_and_grad(lambda w: sc.dot(w, x))(w)
    ...     e.next = opt.accumulate(grad, e, cut=True)
    ...     w.next = opt.update(target - said, e.next, w)
    ...     return said
    >>> sc.compile(learn).run([[1.0, 0.0]] * 3, [1.0] * 3).tolist()
    [0.0, 0.5, 0.75]
    """

    rate: float = 1.0
    kappa: float | Stream = 2.0
    discount: float = 0.99
    trace: float = 0.8

    def __post_init__(self) -> None:
        check(
            "ObGD", vars(self), rate=POSITIVE, kappa=POSITIVE, discount=SHARE, trace=SHARE,
        )  # fmt: skip

    def init(self, params: Params) -> Params:
        """Traces of zero."""
        return zeros_like(params)

    def accumulate(self, grads: Params, traces: Params, cut: Stream | bool = False) -> Params:
        """The traces after a prediction with these gradients; where `cut`, it owes nothing to earlier ones."""
        fade = f.where(cut, 0.0, self.discount * self.trace)
        return tree.map_tree(lambda e, g: fade * e + g, traces, grads)

    def update(self, error: Stream, traces: Params, params: Params) -> Params:
        """The next parameters."""
        step = self.step(error, traces)
        return tree.map_tree(lambda w, e: w + step * e, params, traces)

    def step(self, error: Stream, traces: Params) -> Stream:
        """What multiplies the traces: the error times the bounded rate."""
        leaves, _ = tree.flatten(traces)
        size = reduce(Stream.__add__, [f.sum(f.absolute(e)) for e in leaves])
        bound = self.kappa * self.rate * f.maximum(f.absolute(error), 1.0) * size
        return self.rate * error / f.maximum(bound, 1.0)
