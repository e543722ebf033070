"""Random draws: counter-based and explicit. The same key gives the same bits on every target.

A key is a `u32[2]` stream (or `numbers.random.Key` constant); draw with a new key each time: `key, sub = sc.random.split(key)`,
or `sc.random.fold_in(key, t)` with a counter. Threefry-2x32 (Salmon et al. 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seiche.lang.functions import argmax, argsort, log, reshape
from seiche.lang.stream import Stream, Tensor, apply, as_stream
from seiche.numbers import formats
from seiche.numbers.formats import Format, Shape


def key(seed: int) -> np.ndarray[Any, Any]:
    """The key of a seed, a constant `u32[2]`."""
    return np.array([(seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32)


def bits(key: Tensor, shape: Shape = ()) -> Stream:
    """Independent u32 draws."""
    return apply("random_bits", as_stream(key), shape=shape)


def fold_in(key: Tensor, data: Tensor) -> Stream:
    """A key for that number (a tick, an index): different numbers give independent keys."""
    return apply("fold_in", as_stream(key), as_stream(data, formats.u32).to(formats.u32))


def split(key: Tensor, n: int = 2) -> list[Stream]:
    """n independent keys."""
    return [fold_in(key, np.uint32(i)) for i in range(n)]


def uniform(
    key: Tensor,
    shape: Shape = (),
    low: float = 0.0,
    high: float = 1.0,
    format: Format = formats.f32,
) -> Stream:
    """Uniform draws in [low, high)."""
    draws = apply("uniform01", bits(key, shape), format=format)
    return draws if (low, high) == (0.0, 1.0) else draws * (high - low) + low


def normal(key: Tensor, shape: Shape = (), format: Format = formats.f32) -> Stream:
    """Standard normal draws."""
    return apply("normal01", bits(key, shape), format=format)


def bernoulli(key: Tensor, p: Tensor, shape: Shape = ()) -> Stream:
    """True with probability p."""
    return uniform(key, shape) < p


def randint(key: Tensor, n: int, shape: Shape = ()) -> Stream:
    """Integers (i32) in 0..n-1: the scaled uniform draw."""
    return (uniform(key, shape) * float(n)).to(formats.i32)


def categorical(key: Tensor, logits: Tensor) -> Stream:
    """An index (i32) drawn with the probabilities softmax(logits) along the last axis, by the Gumbel-max trick."""
    scores = as_stream(logits)
    u = uniform(key, scores.shape, low=1e-7, high=1.0, format=scores.format)
    return argmax(scores - log(-log(u)))


def permutation(key: Tensor, n: int) -> Stream:
    """A random order (i32) of 0..n-1."""
    return argsort(reshape(bits(key, (n,)), n))
