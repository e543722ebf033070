"""Observations and rewards brought to a common scale, as they come: running moments that never overflow."""

from __future__ import annotations

import numpy as np

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.memory import state
from seiche.lang.stream import Stream
from seiche.learn.ranges import SHARE, check

EPSILON = 1e-8
"""Added to variances before a division."""


def moments(x: Stream, counts: Stream | bool = True) -> tuple[Stream, Stream]:
    """`(mean, variance)` of all values so far, this one included, elementwise; the variance is 1 before the second.

        n' = n + 1      m' = m + (x - m) / n'      v' = v + ((x - m)(x - m') - v) / n'

    The variance is unbiased: v' n' / (n' - 1) (Welford 1962, with the mean of squares in the place of their sum, which would
    outgrow its format). From tick 2^24 on n stands still in f32: then the moments fade exponentially. Values at ticks where
    `counts` does not hold are left out.

    >>> import seiche as sc
    >>> @sc.node
    ... def both(x: sc.f32):
    ...     return sc.learn.rl.moments(x)
    >>> [y.tolist() for y in sc.compile(both).run([1.0, 3.0, 5.0])]
    [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]
    """
    with trace.instance("moments"):
        zero = np.zeros(x.shape, x.format.dtype)
        n = state(0.0, format=x.format)
        mean, spread = state(zero, format=x.format), state(zero, format=x.format)
        n.next = n + f.where(counts, 1.0, 0.0)
        share = f.where(counts, 1.0, 0.0) / f.maximum(n.next, 1.0)
        mean.next = mean + (x - mean) * share
        spread.next = spread + ((x - mean) * (x - mean.next) - spread) * share
        several = n.next > 1
        unbiased = n.next / f.where(several, n.next - 1, 1.0)
        return mean.next, f.where(several, spread.next * unbiased, 1.0)


def normalised(x: Stream, counts: Stream | bool = True) -> Stream:
    """x less its running mean, over its running standard deviation, elementwise; of the ticks where `counts` holds.

    >>> import seiche as sc
    >>> @sc.node
    ... def whitened(x: sc.f32) -> sc.f32:
    ...     return sc.learn.rl.normalised(x)
    >>> sc.compile(whitened).run([1.0, 3.0, 5.0]).round(3)
    array([0.   , 0.707, 1.   ], dtype=float32)
    """
    with trace.instance("normalised"):
        mean, variance = moments(x, counts)
        return (x - mean) / f.sqrt(variance + EPSILON)


def scaled_reward(
    reward: Stream,
    opens: Stream,
    ended: Stream,
    discount: float = 0.99,
    counts: Stream | bool = True,
) -> Stream:
    """The reward over the running standard deviation of the discounted sum of rewards, which starts anew after `ended`.

        u' = discount u + reward        result = reward / sqrt(variance of u' + epsilon)

    Ticks where an episode `opens` have no reward and do not count, nor those where `counts` does not hold (Engstrom et al.
    2020, appendix A.1).

    >>> import seiche as sc
    >>> @sc.node
    ... def scaled(r: sc.f32, ended: sc.bool_) -> sc.f32:
    ...     return sc.learn.rl.scaled_reward(r, sc.fby(True, ended), ended)
    >>> sc.compile(scaled).run([0.0, 1.0, 1.0], [False] * 3).round(3)
    array([0.   , 1.   , 1.428], dtype=float32)
    """
    check("scaled_reward", {"discount": discount}, discount=SHARE)
    with trace.instance("scaled_reward"):
        earned = state(0.0, until=ended, format=reward.format)
        earned.next = f.where(opens, 0.0, discount * earned + reward)
        _, variance = moments(earned.next, ~opens & counts)
        return f.where(opens, 0.0, reward / f.sqrt(variance + EPSILON))
