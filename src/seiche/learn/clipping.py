"""Gradients kept in bounds, before an optimiser sees them."""

from __future__ import annotations

from functools import reduce

from seiche.ir import tree
from seiche.lang import functions as f
from seiche.lang.stream import Stream
from seiche.learn.layer import Params
from seiche.learn.ranges import BOUND, check


def clip_by_value(grads: Params, limit: float) -> Params:
    """Each element between -limit and limit.

    >>> import seiche as sc
    >>> @sc.node
    ... def clipped(x: sc.f32[2]) -> sc.f32[2]:
    ...     return sc.learn.clip_by_value(x, 1.0)
    >>> sc.compile(clipped).step([0.5, -3.0]).tolist()
    [0.5, -1.0]
    """
    check("clip_by_value", {"limit": limit}, limit=BOUND)
    return tree.map_tree(lambda g: f.clip(g, -limit, limit), grads)


def global_norm(grads: Params) -> Stream:
    """The Euclidean norm of all elements of a tree of one format.

    >>> import seiche as sc
    >>> @sc.node
    ... def norm(x: sc.f32[2], y: sc.f32) -> sc.f32:
    ...     return sc.learn.global_norm({"x": x, "y": y})
    >>> float(sc.compile(norm).step([2.0, 1.0], 2.0))
    3.0
    """
    leaves, _ = tree.flatten(grads)
    return f.sqrt(reduce(Stream.__add__, [f.sum(f.square(g)) for g in leaves]))


def clip_by_global_norm(grads: Params, limit: float) -> Params:
    """All elements times limit / norm where the global norm exceeds the limit (Pascanu, Mikolov & Bengio 2013, algorithm 1).

    >>> import seiche as sc
    >>> @sc.node
    ... def clipped(x: sc.f32[2]) -> sc.f32[2]:
    ...     return sc.learn.clip_by_global_norm(x, 1.0)
    >>> sc.compile(clipped).step([3.0, 4.0]).round(3)
    array([0.6, 0.8], dtype=float32)
    """
    check("clip_by_global_norm", {"limit": limit}, limit=BOUND)
    norm = global_norm(grads)
    factor = f.where(norm > limit, limit / f.where(norm > limit, norm, 1.0), 1.0)
    return tree.map_tree(lambda g: g * factor, grads)
