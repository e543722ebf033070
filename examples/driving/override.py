"""What is done where a choice is not safe: the nearest that is."""

from __future__ import annotations

import numpy as np

import seiche as sc


def nearest(chosen: sc.Tensor, safe: sc.Stream, away: sc.Stream, refuge: sc.Tensor) -> sc.Stream:
    """The action (i32) that is done: `chosen` if it is `safe` `[actions]`; else the safe one that is least `away` `[actions]`
    from it, the first of equals; where none is safe, `refuge`.

    A post-posed shield (Alshiekh et al. 2018, section 5.2).

    >>> @sc.node
    ... def done(chosen: sc.i32, safe: sc.bool_[3]) -> sc.i32:
    ...     return nearest(chosen, safe, sc.absolute(sc.arange(3) - chosen), 0)
    >>> sc.compile(done).run([2, 2, 2], [[True] * 3, [True, True, False], [False] * 3]).tolist()
    [2, 1, 0]
    """
    best = sc.argmin(sc.where(safe, away.to(sc.f32), np.float32(np.inf)))
    instead = sc.where(sc.any(safe), best, refuge)
    return sc.where(sc.take(safe, chosen), chosen, instead)
