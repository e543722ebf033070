"""What an optimiser is: a frozen dataclass of constants with a pure `init` and `update` on trees.

w = sc.state(model.init(key=0))
s = sc.state(opt.init(w))
loss, dw = sc.value_and_grad(objective)(w, x, y)
w.next, s.next = opt.update(dw, s, w)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from seiche.ir import tree
from seiche.lang import functions as f
from seiche.lang.stream import Stream, Tensor
from seiche.learn.layer import Params

Rate: TypeAlias = "float | Stream | Callable[[Stream], Tensor]"
"""A learning rate: a number, a stream, or a schedule (a function of the step, an i32 stream that starts at 0)."""


class Optimiser(Protocol):
    """Gradients in, better parameters out."""

    def init(self, params: Params) -> Params:
        """The state before the first step, for parameters that are arrays or streams."""
        ...

    def update(self, grads: Params, state: Params, params: Params) -> tuple[Params, Params]:
        """`(the next parameters, the next state)`."""
        ...


def counter(rate: Rate, always: bool = False) -> dict[str, Any]:
    """The part of a state that counts steps, where something depends on it.

    >>> counter(0.1), counter(lambda step: 0.1)
    ({}, {'step': np.int32(0)})
    """
    return {"step": np.int32(0)} if always or callable(rate) else {}


def counted(state: Params) -> dict[str, Stream]:
    """The step of the state, one later."""
    return {"step": state["step"] + 1} if "step" in state.keys() else {}  # noqa: SIM118


def rate_now(rate: Rate, state: Params) -> Tensor:
    """The rate at this step."""
    return rate(state["step"]) if callable(rate) else rate


def scaled(rate: Tensor, x: Stream) -> Stream:
    """rate * x, in the format of x."""
    return x * (rate.to(x.format) if isinstance(rate, Stream) else rate)


def descend(params: Params, rate: Tensor, directions: Params) -> Params:
    """params - rate * directions."""
    return tree.map_tree(lambda w, d: w - scaled(rate, d), params, directions)


def zeros_like(params: Params) -> Params:
    """Zeros of the same shapes and formats, for arrays as for streams.

    >>> zeros_like({"w": np.ones(2, np.float32)})
    {'w': array([0., 0.], dtype=float32)}
    """

    def leaf(x: Any) -> Any:
        return f.zeros(x.shape, x.format) if isinstance(x, Stream) else np.zeros_like(x)

    return tree.map_tree(leaf, params)


def average(decay: float, mean: Params, x: Params) -> Params:
    """decay * mean + (1 - decay) * x: the exponential moving average."""
    return tree.map_tree(lambda m, v: decay * m + (1 - decay) * v, mean, x)
