"""Causal attention over a window of fixed length: decoding in time with a ring, prefill in space."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.indexing import update
from seiche.lang.memory import state
from seiche.lang.stream import Stream, constant
from seiche.learn import initialise
from seiche.learn.dense import Dense
from seiche.learn.initialise import Initialiser
from seiche.learn.layer import Params, Seed, lowest
from seiche.learn.rotary import rotary
from seiche.numbers.formats import Format, f32
from seiche.numbers.random import Key

_ROLES = ("query", "key", "value", "out")


@dataclass(frozen=True)
class Attention:
    """Multi-head causal self-attention over the last `window` ticks: `[size] -> [size]` per tick (Vaswani et al. 2017, eq. 1).

    Called with one token per tick, keys and values are kept in a ring of `window` rows: memory and time per tick are bounded
    for ever. `in_space` takes `[ticks, size]` at once and gives the same; `prefill` gives the ring too, so that decoding goes
    on from there (`initial=`). `rotary` is the base of rotary positions, counted from the segment's opening (None: without).
    Parameters: `query`, `key`, `value` and `out`, each of a `Dense(size, size)`.

    >>> import seiche as sc
    >>> layer = sc.learn.Attention(8, heads=2, window=16)
    >>> @sc.node
    ... def decode(x: sc.f32[8]) -> sc.f32[8]:
    ...     return layer(layer.init(key=0), x)
    >>> sc.compile(decode).run([[1.0] * 8] * 3).shape
    (3, 8)
    """

    size: int
    heads: int = 1
    window: int = 64
    rotary: float | None = None
    bias: bool = False
    weight: Initialiser = initialise.glorot_uniform
    format: Format = f32

    def __post_init__(self) -> None:
        even = 1 if self.rotary is None else 2
        if self.size % (self.heads * even):
            raise ValueError(
                f"Attention: size {self.size} is no multiple of {self.heads * even}, for {self.heads} heads"
            )

    @property
    def dense(self) -> Dense:
        """Each of the four projections."""
        return Dense(self.size, self.size, self.bias, self.weight, self.format)

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        keys = Key.of(key).split(len(_ROLES))
        return {role: self.dense.init(k) for role, k in zip(_ROLES, keys, strict=True)}

    def memory(self) -> Params:
        """An empty ring: `key` and `value` `[heads, window, size / heads]`, and the `position` of the next token."""
        shape = (self.heads, self.window, self.size // self.heads)
        zero = f.zeros(shape, self.format)
        return {"key": zero, "value": zero, "position": constant(np.int32(0))}

    def step(self, params: Params, memory: Params, x: Stream) -> tuple[Stream, Params]:
        """`(y, the next ring)` for one token, without memory."""
        at = memory["position"]
        query, key, value = (self._by_head(params, role, x, at) for role in _ROLES[:3])
        slot = at % self.window
        keys = update(memory["key"], key, slot, axis=1)
        values = update(memory["value"], value, slot, axis=1)
        filled = np.arange(self.window, dtype=np.int32) <= at
        y = self._attended(f.expand_dims(query, 1), keys, values, filled)
        mixed = self.dense(params["out"], f.reshape(y, self.size))
        return mixed, {"key": keys, "value": values, "position": self._advanced(at)}

    def __call__(
        self,
        params: Params,
        x: Stream,
        *,
        initial: Params | None = None,
        reset: Stream | None = None,
    ) -> Stream:
        """In time: the output for this token; the ring is empty (or `initial`) where a segment opens."""
        with trace.instance("attention", reset):
            memory = state(self.memory() if initial is None else initial)
            y, memory.next = self.step(params, memory, x)
            return y

    def in_space(self, params: Params, xs: Stream) -> Stream:
        """In space: `[ticks, size] -> [ticks, size]`, equal to the tokens one by one from the opening on."""
        return self._whole(params, xs)[0]

    def prefill(self, params: Params, xs: Stream) -> tuple[Stream, Params]:
        """`in_space`, and the ring after the last token: `initial` of the decoding that follows."""
        y, keys, values = self._whole(params, xs)
        ticks = xs.shape[0]
        with trace.instance("attention"):
            position = constant(np.int32(self._position(ticks)))
            return y, {"key": self._ring(keys), "value": self._ring(values), "position": position}

    def _whole(self, params: Params, xs: Stream) -> tuple[Stream, Stream, Stream]:
        """The outputs, and the keys and values of all ticks by head."""
        ticks = xs.shape[0]
        with trace.instance("attention"):
            at = f.arange(ticks)
            rows = (self._by_head(params, role, xs, at) for role in _ROLES[:3])
            query, keys, values = (f.swapaxes(x, 0, 1) for x in rows)
            age = np.arange(ticks)[:, None] - np.arange(ticks)
            y = self._attended(query, keys, values, (age >= 0) & (age < self.window))
            joined = f.reshape(f.swapaxes(y, 0, 1), (ticks, self.size))
            return self.dense(params["out"], joined), keys, values

    def _by_head(self, params: Params, role: str, x: Stream, at: Stream) -> Stream:
        """`[*, heads, size / heads]`: a projection, its heads apart, at its position."""
        projected = self.dense(params[role], x)
        split = f.reshape(projected, (*x.shape[:-1], self.heads, self.size // self.heads))
        if self.rotary is None or role == "value":
            return split
        return rotary(split, f.expand_dims(at, -1) if at.ndim else at, self.rotary)

    def _attended(
        self, query: Stream, keys: Stream, values: Stream, seen: Stream | np.ndarray
    ) -> Stream:
        """softmax(q k^T / sqrt(n)) v per head, over the rows that are `seen`."""
        scores = f.matmul(query, f.swapaxes(keys, -1, -2)) / sqrt(self.size // self.heads)
        weights = f.softmax(f.where(seen, scores, lowest(query.format)))
        return f.matmul(weights, values)

    def _advanced(self, position: Stream) -> Stream:
        """The next position. Without rotary positions it only tells slot and filling, and must not overflow."""
        if self.rotary is not None:
            return position + 1
        return f.where(position == 2 * self.window - 1, self.window, position + 1)

    def _position(self, ticks: int) -> int:
        """The position after so many ticks."""
        bounded = self.rotary is None and ticks >= self.window
        return self.window + ticks % self.window if bounded else ticks

    def _ring(self, rows: Stream) -> Stream:
        """The last `window` rows of `[heads, ticks, n]`, where the ring has them."""
        ticks = rows.shape[1]
        if ticks < self.window:
            return f.pad(rows, ((0, 0), (0, self.window - ticks), (0, 0)))
        return f.roll(rows[:, ticks - self.window :], ticks % self.window, axis=1)
