"""The multilayer perceptron."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.dense import Dense
from seiche.learn.initialise import Initialiser
from seiche.learn.layer import Activation, Params, Seed
from seiche.numbers.formats import Format, f32
from seiche.numbers.random import Key


@dataclass(frozen=True)
class MLP:
    """Dense layers with an activation between them: `[*, sizes[0]] -> [*, sizes[-1]]` (Rumelhart, Hinton & Williams 1986).

    `last`, where given, is applied to the output too. Parameters: a tuple with those of each `Dense`.

    >>> import seiche as sc
    >>> mlp = sc.learn.MLP((64, 32, 10))
    >>> [p["weight"].shape for p in mlp.init(key=0)]
    [(64, 32), (32, 10)]
    """

    sizes: tuple[int, ...]
    activation: Activation = f.relu
    last: Activation | None = None
    bias: bool = True
    weight: Initialiser = initialise.glorot_uniform
    format: Format = f32

    @property
    def layers(self) -> tuple[Dense, ...]:
        """The affine layers."""
        pairs = zip(self.sizes, self.sizes[1:], strict=False)
        return tuple(Dense(n, m, self.bias, self.weight, self.format) for n, m in pairs)

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        keys = Key.of(key).split(len(self.layers))
        return tuple(layer.init(k) for layer, k in zip(self.layers, keys, strict=True))

    def __call__(self, params: Params, x: Stream) -> Stream:
        """The layers at x."""
        with trace.instance("mlp"):
            for i, layer in enumerate(self.layers):
                x = layer(params[i], self.activation(x) if i else x)
            return x if self.last is None else self.last(x)
