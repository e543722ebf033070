"""The affine layer."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.initialise import Initialiser
from seiche.learn.layer import Params, Seed
from seiche.numbers.formats import Format, f32
from seiche.numbers.random import Key


@dataclass(frozen=True)
class Dense:
    """x W + b: `[*, inputs] -> [*, outputs]`, any leading axes.

    Parameters `weight [inputs, outputs]` and, where `bias`, `bias [outputs]` (zeros at first).

    >>> import seiche as sc
    >>> layer = sc.learn.Dense(3, 2)
    >>> @sc.node
    ... def model(x: sc.f32[3]) -> sc.f32[2]:
    ...     return layer(layer.init(key=0), x)
    >>> sc.compile(model).step([0.0, 0.0, 0.0]).tolist()
    [0.0, 0.0]
    """

    inputs: int
    outputs: int
    bias: bool = True
    weight: Initialiser = initialise.glorot_uniform
    format: Format = f32

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        weight = self.weight(Key.of(key), (self.inputs, self.outputs), self.format)
        bias = {"bias": initialise.zeros(key, (self.outputs,), self.format)} if self.bias else {}
        return {"weight": weight, **bias}

    def __call__(self, params: Params, x: Stream) -> Stream:
        """The layer at x."""
        with trace.instance("dense"):
            y = f.matmul(x, params["weight"])
            return y + params["bias"] if self.bias else y
