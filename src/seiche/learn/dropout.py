"""Dropout with an explicit key."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.lang import functions as f
from seiche.lang import random, trace
from seiche.lang.stream import Stream, Tensor
from seiche.learn.ranges import FADING, check


@dataclass(frozen=True)
class Dropout:
    """Each element is zero with probability `rate`, the others are divided by 1 - rate (Srivastava et al. 2014).

    The key is explicit, one per use: `sc.random.fold_in(key, tick)`. For inference leave the layer out.

    >>> import seiche as sc
    >>> drop = sc.learn.Dropout(0.5)
    >>> @sc.node
    ... def noisy(x: sc.f32[4]) -> sc.f32[4]:
    ...     t = sc.state(0)
    ...     t.next = t + 1
    ...     return drop(sc.random.fold_in(sc.random.key(0), t), x)
    >>> set(sc.compile(noisy).run([[1.0] * 4] * 8).ravel().tolist()) == {0.0, 2.0}
    True
    """

    rate: float

    def __post_init__(self) -> None:
        check("Dropout", vars(self), rate=FADING)

    def __call__(self, key: Tensor, x: Stream) -> Stream:
        """x, thinned."""
        if self.rate == 0:
            return x
        with trace.instance("dropout"):
            keep = random.bernoulli(key, 1 - self.rate, x.shape)
            return f.where(keep, x / (1 - self.rate), 0)
