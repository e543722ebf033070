"""What the tests of `learn/` share: functions run on arrays, tick by tick or at once, on every target."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.program import Sparse
from seiche.ir.tree import flatten, map_tree

HAVE_C = importlib.util.find_spec("seiche.backends.c.binding") is not None
WITH_C = (pytest.mark.cc, pytest.mark.skipif(not HAVE_C, reason="no C back end"))
TARGETS = ["interp", pytest.param("c", marks=WITH_C)]


def in_c(test: Any) -> Any:
    """A test that builds C."""
    return WITH_C[0](WITH_C[1](test))


FORMATS = {
    "float32": sc.f32, "float64": sc.f64, "int32": sc.i32, "int64": sc.i32, "uint32": sc.u32, "bool": sc.bool_,
}  # fmt: skip


def type_of(x: Any, axis: int = 0) -> Any:
    """The type of an array without its first axes."""
    array = np.asarray(x)
    return FORMATS[array.dtype.name][array.shape[axis:]]


def _node(function: Any) -> Any:
    return sc.node(function if hasattr(function, "__name__") else function.__call__)


def step(function: Any, *args: Any, target: str = "interp") -> Any:
    """One tick of a function on trees of arrays."""
    types = [map_tree(type_of, a) for a in args]
    return sc.compile(_node(function), *types, target=target).step(*args)


def run(function: Any, *args: Any, target: str = "interp") -> Any:
    """A function on streams given as arrays with the ticks first."""
    types = [map_tree(lambda x: type_of(x, 1), a) for a in args]
    return sc.compile(_node(function), *types, target=target).run(*args)


def once(result: Any) -> Any:
    """The one value of each slow stream of a result."""
    return map_tree(lambda x: x.values[0], result, is_leaf=lambda x: isinstance(x, Sparse))


def close(mine: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    """Two trees of one form, equal up to a tolerance relative to the scale of each leaf (of the tree, where a leaf is tiny)."""
    a, form = flatten(mine)
    b = [np.asarray(y) for y in form.leaves_of(theirs)]
    least = max(1e-3, 0.01 * max(float(np.abs(y).max(initial=0)) for y in b))
    for x, y, name in zip(map(np.asarray, a), b, form.paths("result"), strict=True):
        assert x.shape == y.shape, (name, x.shape, y.shape)
        scale = max(least, float(np.abs(y).max(initial=0)))
        np.testing.assert_allclose(x / scale, y / scale, rtol=0, atol=tolerance, err_msg=name)


def same(mine: Any, theirs: Any) -> None:
    """Two trees of one form with equal bits."""
    a, form = flatten(mine)
    for x, y, name in zip(a, form.leaves_of(theirs), form.paths("result"), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=name)


def random(seed: int, *shape: int) -> np.ndarray:
    """Normal values, f32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def jittered(params: Any, seed: int = 9) -> Any:
    """Parameters with something added, so that biases and scales are not trivial."""
    leaves, form = flatten(params)
    return form.unflatten([x + 0.3 * random(seed + i, *x.shape) for i, x in enumerate(leaves)])
