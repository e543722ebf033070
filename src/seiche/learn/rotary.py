"""Rotary positions."""

from __future__ import annotations

import numpy as np

from seiche.lang import functions as f
from seiche.lang.stream import Stream


def rotary(x: Stream, position: Stream, base: float = 10000.0) -> Stream:
    """x `[*, n]` with its pairs (i, i + n/2) turned by the angle position * base^(-2i/n): `position` is an integer `[*]`.

    The product of two rotated vectors depends on the difference of their positions only (Su et al. 2021, "RoFormer", eq. 34;
    pairs as in GPT-NeoX). Angles are f32: to 0.1 rad up to position 10^6.

    >>> import seiche as sc
    >>> @sc.node
    ... def turned(x: sc.f32[2], t: sc.i32) -> sc.f32[2]:
    ...     return sc.learn.rotary(x, t)
    >>> sc.compile(turned).step([1.0, 0.0], 1).round(3)
    array([0.54 , 0.841], dtype=float32)
    """
    half = x.shape[-1] // 2
    turns = np.array([base ** (-i / half) for i in range(half)])
    angle = f.expand_dims(position.to(x.format), -1) * turns
    cos, sin = f.cos(angle), f.sin(angle)
    a, b = x[..., :half], x[..., half:]
    return f.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
