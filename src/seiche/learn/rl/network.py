"""The network of the streaming learners."""

from __future__ import annotations

from seiche.lang import functions as f
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.layer_norm import LayerNorm
from seiche.learn.mlp import MLP

SLOPE = 0.01
"""Of the leaky rectifier, below zero."""


def leaky_relu(x: Stream) -> Stream:
    """x where it is positive, a hundredth of it elsewhere (Maas, Hannun & Ng 2013).

    >>> import seiche as sc
    >>> @sc.node
    ... def leaky(x: sc.f32) -> sc.f32:
    ...     return sc.learn.rl.leaky_relu(x)
    >>> sc.compile(leaky).run([2.0, -2.0])
    array([ 2.  , -0.02], dtype=float32)
    """
    return f.where(x > 0, x, SLOPE * x)


def normalised_leaky_relu(x: Stream) -> Stream:
    """The leaky rectifier of x brought to mean 0 and variance 1 over its last axis."""
    return leaky_relu(LayerNorm(x.shape[-1], scale=False, bias=False)({}, x))


def streaming_mlp(inputs: int, outputs: int, hidden: int = 32) -> MLP:
    """Two hidden layers, each normalised without parameters and leakily rectified; sparse initial weights.

    The network of Elsayed, Vasan & Mahmood 2024, section 3: `[*, inputs] -> [*, outputs]`.

    >>> import seiche as sc
    >>> [p["weight"].shape for p in sc.learn.rl.streaming_mlp(4, 2).init(key=0)]
    [(4, 32), (32, 32), (32, 2)]
    """
    sizes = (inputs, hidden, hidden, outputs)
    return MLP(sizes, activation=normalised_leaky_relu, weight=initialise.sparse)
