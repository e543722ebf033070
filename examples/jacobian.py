"""All derivatives of a function of vectors at once: what filters and controllers that linearise are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import seiche as sc


def jacobian(
    function: Callable[..., sc.Stream], *args: sc.Stream
) -> tuple[sc.Stream, tuple[Any, ...]]:
    """The value `[n]`, and its derivatives by each argument, `[n, *argument]`: reverse mode, a row at a time.

    >>> @sc.node
    ... def product(x: sc.f32[2], a: sc.f32) -> object:
    ...     return jacobian(lambda x, a: a * x, x, a)
    >>> value, (by_x, by_a) = sc.compile(product).step([1.0, 2.0], 3.0)
    >>> value.tolist(), by_x.tolist(), by_a.tolist()
    ([3.0, 6.0], [[3.0, 0.0], [0.0, 3.0]], [1.0, 2.0])
    """
    value, pull = sc.vjp(function, *args)
    rows = [pull(row) for row in np.eye(value.shape[0], dtype=np.float32)]
    return value, tuple(sc.stack(list(column)) for column in zip(*rows, strict=True))
