"""Which variable holds an array of the user's: what a parameter is called.

A parameter is called as a state is, `encoder/w_0_weight`: the path of the instance where its variable lives, the variable, and the
place in its tree. Of the variables that hold it the one nearest to the node counts, whatever functions further in call their
arguments; a global belongs to no instance. An array that only a layer holds goes by the layer, `gru/input`; one that stands in
the line itself by what the line assigns, `y_k`, or by the function.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from seiche.ir import tree
from seiche.ir.core import Scope
from seiche.lang import names

T = TypeVar("T")
Array = np.ndarray[Any, Any]

SIZE_MAX = 1000
"""Items of the largest container that is searched: what is longer is data, not a model."""
DEPTH_MAX = 16
"""How deep models are nested."""
_LANG = os.path.dirname(os.path.abspath(__file__)) + os.sep
_BELOW = (_LANG, os.path.join(os.path.dirname(_LANG.rstrip(os.sep)), "ir") + os.sep)
"""The rooms whose code passes on what the user's line gives it."""
_MACHINERY = {__file__, contextlib.__file__, _LANG + "trace.py"}
_entered: ContextVar[tuple[tuple[str, FrameType], ...]] = ContextVar("seiche_entered", default=())


@dataclass(frozen=True)
class Held:
    """An array (or list) that a variable holds, and where."""

    array: Any
    scope: Scope
    name: str


@contextmanager
def entered(name: str) -> Iterator[None]:
    """While an instance is traced that the nearest frame outside of the language's machinery has entered."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code.co_filename in _MACHINERY:
        frame = frame.f_back
    token = _entered.set((*_entered.get(), (name, frame)))
    try:
        yield
    finally:
        _entered.reset(token)


def outermost(run: Callable[[], T]) -> T:
    """Runs the function of a node, whose caller's variables name nothing."""
    return run()


def holder(value: Any) -> Held | None:
    """The variable that holds this very array or list."""
    return _first(lambda x: x is value)


def whole(view: Array) -> Held | None:
    """The array that a variable holds and of which this one is a part, or a view."""
    if view.base is None:
        return None
    return _first(lambda x: isinstance(x, np.ndarray) and _covers(x, view))


def stated() -> Scope | None:
    """The path of instances where the user's line stands; None where it is not the user's line that made an array."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and names.internal(frame.f_code.co_filename):
        if (
            not frame.f_code.co_filename.startswith(_BELOW)
            and frame.f_code.co_filename not in _MACHINERY
        ):
            return None
        frame = frame.f_back
    return tuple(name for name, _ in _entered.get())


def positions(view: Array, array: Array) -> Array:
    """Where the elements of a view lie in its array, which is C-contiguous: indices into the flattened array.

    >>> a = np.arange(6.0).reshape(2, 3)
    >>> positions(a.T, a).tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    first = (_start(view) - _start(array)) // array.itemsize
    steps = [step // array.itemsize for step in view.strides]
    grid = np.indices(view.shape, sparse=True)
    return np.asarray(sum((i * step for i, step in zip(grid, steps, strict=True)), np.int64(first)))


def _start(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def _covers(array: Array, view: Array) -> bool:
    """Whether a view is of this array's elements."""
    if array.dtype != view.dtype or not array.flags.c_contiguous or not view.size:
        return False
    shared = view.base is array or (array.base is not None and array.base is view.base)
    if not shared or (_start(view) - _start(array)) % array.itemsize:
        return False
    if any(step % array.itemsize for step in view.strides):
        return False
    found = positions(view, array)
    return bool(found.min() >= 0 and found.max() < array.size)


def _first(wanted: Callable[[Any], bool]) -> Held | None:
    """The outermost variable with such a value in its tree."""
    seen = set[int]()
    for scope, variables in reversed(list(_variables())):
        for name, value in variables.items():
            path = (name,) if wanted(value) else _within(value, (name,), wanted, seen)
            if path is not None:
                array = _at(value, path[1:])
                return Held(array, scope, tree.word(*path) or "params")
    return None


def _within(
    value: Any, path: tuple[Any, ...], wanted: Callable[[Any], bool], seen: set[int]
) -> tuple[Any, ...] | None:
    """The way to the first such value inside a container. What was `seen` is not searched again."""
    if id(value) in seen or len(path) > DEPTH_MAX or not _searched(value):
        return None
    seen.add(id(value))
    for key, x in tree.children(value):
        if wanted(x):
            return *path, key
        if (found := _within(x, (*path, key), wanted, seen)) is not None:
            return found
    return None


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    """What lies at the end of a way into a tree."""
    for key in path:
        value = dict(tree.children(value))[key]
    return value


def _searched(value: Any) -> bool:
    """Whether a value is a container, and no larger than those that hold models."""
    if isinstance(value, list | tuple | dict):
        return len(value) <= SIZE_MAX  # pyright: ignore[reportUnknownArgumentType]
    return hasattr(type(value), "__dataclass_fields__")


def _variables() -> Iterator[tuple[Scope, Mapping[str, Any]]]:
    """What each frame of the trace knows by name, innermost first, each with the path of instances that it belongs to."""
    instances = list(_entered.get())
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code is not outermost.__code__:
        scope = tuple(name for name, _ in instances)
        file = frame.f_code.co_filename
        if not names.internal(file):
            yield (), {n: frame.f_globals[n] for n in frame.f_code.co_names if n in frame.f_globals}
            yield scope, _own(frame)
        elif not file.startswith(_LANG) and "params" in frame.f_locals:
            yield scope, {"": frame.f_locals["params"]}
        while instances and instances[-1][1] is frame:
            instances.pop()
        frame = frame.f_back


def _own(frame: FrameType) -> dict[str, Any]:
    """The variables of a function; those of `self` as if they were its own."""
    if frame.f_code.co_name == "<module>":
        return {}
    found = dict(frame.f_locals)
    return found | dict(getattr(found.pop("self", None), "__dict__", {}))
