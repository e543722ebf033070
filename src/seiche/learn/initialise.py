"""Initial weights: functions of a key, a shape and a format, computed in numpy while a program is written.

The axes of a weight are `[*window, in, out]`; fan-in is the number of inputs of one output, the window included.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod, sqrt
from typing import TypeAlias

import numpy as np

from seiche.lang.stream import represent
from seiche.learn.layer import Array, Seed
from seiche.numbers.formats import Format, Shape, f32, f64
from seiche.numbers.random import Key

Initialiser: TypeAlias = "Callable[[Seed, Shape, Format], Array]"


def fans(shape: Shape) -> tuple[int, int]:
    """(fan-in, fan-out) of a weight.

    >>> fans((3, 4)), fans((5, 3, 4)), fans((7,))
    ((3, 4), (15, 20), (7, 7))
    """
    if len(shape) < 2:
        return prod(shape), prod(shape)
    window = prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


def zeros(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Zeros; the key is not used.

    >>> zeros(0, (2,)).tolist()
    [0.0, 0.0]
    """
    return np.zeros(shape, format.dtype)


def ones(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Ones; the key is not used.

    >>> ones(0, (2,)).tolist()
    [1.0, 1.0]
    """
    return np.ones(shape, format.dtype)


def uniform(
    key: Seed, shape: Shape, format: Format = f32, *, low: float = -0.05, high: float = 0.05
) -> Array:
    """Uniform in [low, high).

    >>> bool(abs(uniform(0, (100,))).max() < 0.05)
    True
    """
    return represent(low + (high - low) * Key.of(key).uniform(shape, f64), format)


def normal(key: Seed, shape: Shape, format: Format = f32, *, scale: float = 0.05) -> Array:
    """Normal with mean 0 and standard deviation `scale`.

    >>> bool(0.04 < normal(0, (1000,)).std() < 0.06)
    True
    """
    return represent(scale * Key.of(key).normal(shape, f64), format)


def glorot_uniform(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Uniform of variance 2 / (fan-in + fan-out) (Glorot & Bengio 2010, eq. 16).

    >>> bool(abs(glorot_uniform(0, (4, 2))).max() < 1.0)
    True
    """
    bound = sqrt(6 / sum(fans(shape)))
    return uniform(key, shape, format, low=-bound, high=bound)


def glorot_normal(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Normal of variance 2 / (fan-in + fan-out) (Glorot & Bengio 2010, eq. 12).

    >>> bool(0.09 < glorot_normal(0, (100, 100)).std() < 0.11)
    True
    """
    return normal(key, shape, format, scale=sqrt(2 / sum(fans(shape))))


def he_uniform(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Uniform of variance 2 / fan-in, for layers before a rectifier (He et al. 2015, eq. 10).

    >>> bool(abs(he_uniform(0, (6, 2))).max() < 1.0)
    True
    """
    bound = sqrt(6 / fans(shape)[0])
    return uniform(key, shape, format, low=-bound, high=bound)


def he_normal(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Normal of variance 2 / fan-in, for layers before a rectifier (He et al. 2015, eq. 10).

    >>> bool(0.13 < he_normal(0, (100, 100)).std() < 0.15)
    True
    """
    return normal(key, shape, format, scale=sqrt(2 / fans(shape)[0]))


def lecun_uniform(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Uniform of variance 1 / fan-in (LeCun et al. 1998, "Efficient BackProp", section 4.6).

    >>> bool(abs(lecun_uniform(0, (3, 2))).max() < 1.0)
    True
    """
    bound = sqrt(3 / fans(shape)[0])
    return uniform(key, shape, format, low=-bound, high=bound)


def lecun_normal(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Normal of variance 1 / fan-in (LeCun et al. 1998, "Efficient BackProp", section 4.6).

    >>> bool(0.09 < lecun_normal(0, (100, 100)).std() < 0.11)
    True
    """
    return normal(key, shape, format, scale=sqrt(1 / fans(shape)[0]))


def sparse(key: Seed, shape: Shape, format: Format = f32, *, sparsity: float = 0.9) -> Array:
    """Uniform in ±1 / sqrt(fan-in), but that share of the inputs of each output is zero: `[in, out]`, an output per column.

    Elsayed, Vasan & Mahmood 2024, algorithm 1. The number of zeros is rounded up: with nine inputs or fewer all are zero,
    which is well where a layer norm follows.

    >>> (sparse(0, (20, 3)) != 0).sum(axis=0).tolist()
    [2, 2, 2]
    """
    inputs, outputs = shape
    values, order = Key.of(key).split()
    bound = 1 / sqrt(inputs)
    ranks = order.uniform((inputs, outputs), f64).argsort(axis=0, kind="stable").argsort(axis=0)
    heard = ranks >= ceil(round(sparsity * inputs, 9))
    return uniform(values, shape, format, low=-bound, high=bound) * heard.astype(format.dtype)


def orthogonal(key: Seed, shape: Shape, format: Format = f32, *, gain: float = 1.0) -> Array:
    """`gain` times a matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014).

    The Q of a normal matrix's QR decomposition with positive diagonal, hence uniform (Mezzadri 2007).

    >>> q = orthogonal(0, (3, 3))
    >>> bool(abs(q @ q.T - np.eye(3)).max() < 1e-6)
    True
    """
    rows, columns = prod(shape[:-1]), shape[-1]
    q = _orthonormal(Key.of(key).normal((max(rows, columns), min(rows, columns)), f64))
    return represent(gain * (q if rows >= columns else q.T).reshape(shape), format)


def _orthonormal(a: Array) -> Array:
    """The columns of a, made orthonormal from left to right: Gram-Schmidt, twice, which is enough (Giraud et al. 2005).

    Elementwise products and sums down the first axis only: unlike LAPACK's, its bits are the same on every machine.
    """
    columns, rows = a.copy(), a.T.copy()
    for j in range(a.shape[1]):
        v = rows[j]
        for _ in range(2 if j else 0):
            shares = (columns[:, :j] * v[:, None]).sum(axis=0)
            v = v - (rows[:j] * shares[:, None]).sum(axis=0)
        rows[j] = columns[:, j] = v / np.sqrt((v * v)[:, None].sum(axis=0))
    return columns


def orthogonal_blocks(key: Seed, shape: Shape, format: Format = f32) -> Array:
    """Square orthogonal matrices side by side, as the recurrent weights of gated units want: `[n, k * n]`.

    >>> orthogonal_blocks(0, (2, 6)).shape
    (2, 6)
    """
    n, width = shape
    return np.concatenate(
        [orthogonal(k, (n, n), format) for k in Key.of(key).split(width // n)], axis=1
    )
