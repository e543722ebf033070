"""Causal convolution over time: one tick in, one tick out; or the same weights over an axis of a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.memory import state
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.initialise import Initialiser
from seiche.learn.layer import Params, Seed
from seiche.numbers.formats import Format, f32
from seiche.numbers.random import Key


@dataclass(frozen=True)
class Conv1D:
    """A causal convolution over time, dilated or in groups: `[inputs] -> [outputs]` per tick (van den Oord et al. 2016).

        y[t] = b + sum over k of x[t - dilation * (window - 1 - k)] W[k]        x is zero before its segment

    Parameters `weight [window, inputs / groups, outputs]` and, where `bias`, `bias [outputs]`. Its memory is the last
    `dilation * (window - 1)` inputs.

    >>> import seiche as sc
    >>> layer = sc.learn.Conv1D(1, 1, window=3, weight=sc.learn.ones)
    >>> @sc.node
    ... def sums(x: sc.f32[1]) -> sc.f32[1]:
    ...     return layer(layer.init(), x)
    >>> sc.compile(sums).run([[1.0], [2.0], [3.0], [4.0]]).ravel().tolist()
    [1.0, 3.0, 6.0, 9.0]
    """

    inputs: int
    outputs: int
    window: int
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    weight: Initialiser = initialise.glorot_uniform
    format: Format = f32

    @property
    def reach(self) -> int:
        """How many past ticks the output depends on."""
        return self.dilation * (self.window - 1)

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        shape = (self.window, self.inputs // self.groups, self.outputs)
        bias = {"bias": initialise.zeros(key, (self.outputs,), self.format)} if self.bias else {}
        return {"weight": self.weight(Key.of(key), shape, self.format), **bias}

    def __call__(self, params: Params, x: Stream, *, reset: Stream | None = None) -> Stream:
        """In time: the output at this tick."""
        with trace.instance("conv", reset):
            row = f.expand_dims(x, 0)
            if self.reach == 0:
                return self._applied(params, row, "valid")[0]
            recent = state(f.zeros((self.reach, self.inputs), x.format))
            rows = f.concatenate([recent, row])
            recent.next = rows[1:]
            return self._applied(params, rows, "valid")[0]

    def in_space(self, params: Params, xs: Stream) -> Stream:
        """In space: `[*, ticks, inputs] -> [*, ticks, outputs]`, equal to the ticks one by one from the opening on."""
        with trace.instance("conv"):
            return self._applied(params, xs, "causal")

    def _applied(self, params: Params, xs: Stream, padding: str) -> Stream:
        y = f.conv(
            xs, params["weight"], dilation=self.dilation, padding=padding, groups=self.groups
        )
        return y + params["bias"] if self.bias else y


def depthwise(
    channels: int, window: int, *, dilation: int = 1, bias: bool = True, format: Format = f32
) -> Conv1D:
    """A convolution of each channel by itself (Chollet 2017).

    >>> depthwise(8, 3).init()["weight"].shape
    (3, 1, 8)
    """
    return Conv1D(channels, channels, window, dilation, channels, bias, format=format)


def pointwise(inputs: int, outputs: int, *, bias: bool = True, format: Format = f32) -> Conv1D:
    """A convolution with a window of one tick, which mixes channels only (Chollet 2017).

    >>> pointwise(8, 4).init()["weight"].shape
    (1, 8, 4)
    """
    return Conv1D(inputs, outputs, 1, bias=bias, format=format)
