"""Root mean square normalisation."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.layer import Params, Seed
from seiche.numbers.formats import Format, f32


@dataclass(frozen=True)
class RMSNorm:
    """x / sqrt(mean(x^2) + epsilon), scaled: `[*, size] -> [*, size]` (Zhang & Sennrich 2019, eq. 4).

    Parameter `scale [size]` (ones at first).

    >>> import seiche as sc
    >>> layer = sc.learn.RMSNorm(2)
    >>> @sc.node
    ... def model(x: sc.f32[2]) -> sc.f32[2]:
    ...     return layer(layer.init(), x)
    >>> sc.compile(model).step([3.0, -3.0]).round(3).tolist()
    [1.0, -1.0]
    """

    size: int
    epsilon: float = 1e-6
    format: Format = f32

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        return {"scale": initialise.ones(key, (self.size,), self.format)}

    def __call__(self, params: Params, x: Stream) -> Stream:
        """The layer at x."""
        with trace.instance("rms_norm"):
            power = f.mean(f.square(x), -1, keepdims=True)
            return x / f.sqrt(power + self.epsilon) * params["scale"]
