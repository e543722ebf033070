"""What a layer is, and the words that the other files of this room share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from seiche.lang.stream import Stream
from seiche.numbers.formats import Format
from seiche.numbers.random import Key

Params: TypeAlias = Any
"""A tree (dict, tuple, dataclass) of arrays before tracing, of streams while tracing."""

Array: TypeAlias = "np.ndarray[Any, Any]"
Activation: TypeAlias = "Callable[[Stream], Stream]"
Seed: TypeAlias = "int | Key"


class Layer(Protocol):
    """A frozen dataclass of static sizes: what is learnt is in `params`, what is carried is in the language's states."""

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters: a tree of arrays."""
        ...

    def __call__(self, params: Params, x: Stream) -> Stream:
        """One use of the layer, with memory of its own."""
        ...


def lowest(format: Format) -> float:
    """A finite value below every score of a softmax, whose exponential is 0: minus the largest power of two of the format.

    >>> from seiche.numbers.formats import f32, f16
    >>> lowest(f16), lowest(f32) == -(2.0**127)
    (-32768.0, True)
    """
    return -(
        2.0 ** (format.exponent - 1 if format.kind == "fixed" else 2 ** (format.exponent - 1) - 1)
    )
