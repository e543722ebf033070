"""Layer normalisation."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.layer import Params, Seed
from seiche.numbers.formats import Format, f32


@dataclass(frozen=True)
class LayerNorm:
    """Mean 0 and variance 1 over the last axis, then scaled and shifted: `[*, size] -> [*, size]` (Ba, Kiros & Hinton 2016).

    Parameters: where `scale`, `scale [size]` (ones at first); where `bias`, `bias [size]`.

    >>> import seiche as sc
    >>> layer = sc.learn.LayerNorm(2)
    >>> @sc.node
    ... def model(x: sc.f32[2]) -> sc.f32[2]:
    ...     return layer(layer.init(), x)
    >>> sc.compile(model).step([1.0, 3.0]).round(3).tolist()
    [-1.0, 1.0]
    """

    size: int
    epsilon: float = 1e-5
    bias: bool = True
    format: Format = f32
    scale: bool = True

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        bias = {"bias": initialise.zeros(key, (self.size,), self.format)} if self.bias else {}
        scale = {"scale": initialise.ones(key, (self.size,), self.format)} if self.scale else {}
        return {**scale, **bias}

    def __call__(self, params: Params, x: Stream) -> Stream:
        """The layer at x."""
        with trace.instance("layer_norm"):
            centred = x - f.mean(x, -1, keepdims=True)
            variance = f.mean(f.square(centred), -1, keepdims=True)
            y = centred / f.sqrt(variance + self.epsilon)
            y = y * params["scale"] if self.scale else y
            return y + params["bias"] if self.bias else y
