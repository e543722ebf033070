"""A bidirectional recurrent network on a stream, its latency controlled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seiche.errors import fail
from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.clocks import when
from seiche.lang.frames import over_time
from seiche.lang.indexing import update
from seiche.lang.iterators import over_space, scatter
from seiche.lang.memory import fby, post, state
from seiche.lang.stream import Stream, apply, constant
from seiche.learn.layer import Params, Seed
from seiche.numbers.random import Key


@dataclass(frozen=True)
class Bidirectional:
    """A layer from the past and one from the future, side by side: `[inputs] -> [forward's + backward's outputs]` per tick.

        forward:   carried from tick to tick
        backward:  for each chunk of `chunk` ticks, from `context` ticks beyond its last one back to its first

    So no result waits for more than `chunk + context - 1` ticks, which is its latency; what lies further ahead is not
    seen (Zhang et al. 2016, "Highway long short-term memory RNNs for distant speech recognition", section 3). Where the
    input or a segment (`until=`) ends earlier, chunk and context end there. Both layers are called as `layer(params, x,
    reset=r)`, as `GRU` and `LSTM` are; parameters are `forward` and `backward`. Raises SE601 for a chunk below 1 or a context below 0.

    >>> import seiche as sc
    >>> layer = sc.learn.Bidirectional(sc.learn.GRU(2, 3), sc.learn.GRU(2, 3), chunk=4, context=2)
    >>> @sc.node
    ... def model(x: sc.f32[2]) -> sc.f32[6]:
    ...     return layer(layer.init(key=0), x)
    >>> program = sc.compile(model)
    >>> program.run([[1.0, 0.0]] * 10).shape, program.latency
    ((10, 6), 5)
    """

    forward: Any
    backward: Any
    chunk: int
    context: int

    def __post_init__(self) -> None:
        for what, value, least in (("chunk", self.chunk, 1), ("context", self.context, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise fail(
                    "SE601", f"the `{what}` of a bidirectional layer is a number of ticks from {least} on, not {value!r}",
                    trace.here(), hint="both are its latency, which is known before it runs: chunk + context - 1 ticks",
                )  # fmt: skip

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        first, second = Key.of(key).split()
        return {"forward": self.forward.init(first), "backward": self.backward.init(second)}

    def __call__(self, params: Params, x: Stream, *, until: Stream | None = None) -> Stream:
        """In time, at every tick of the base clock; a segment closes at the ticks where `until` holds."""
        ends = post(constant(False), True)
        ends = ends if until is None else ends | until
        at = state(0)
        closes = (at == self.chunk - 1) | ends
        at.next = f.where(closes, 0, at + 1)
        opens = None if until is None else fby(False, until)
        past = self.forward(params["forward"], x, reset=opens)
        rows, gone = (self._rows(v, e, at, closes) for v, e in ((x, 0), (constant(False), True)))
        place = np.arange(self.chunk + self.context, dtype=np.int32)
        cut = (place == at) & (at < self.chunk - 1)
        stops = f.concatenate([gone[1:], np.zeros(1, bool)]) | when(cut, closes)
        if until is not None:
            stops = stops | self._rows(until, True, at, closes)
        return f.concatenate([past, scatter(self._back(params["backward"], rows, stops))])

    def _rows(self, x: Stream, final: Any, at: Stream, closes: Stream) -> Stream:
        """A chunk and its context, `[chunk + context, ...]`, where the chunk closes: rows beyond a chunk that is cut are anything."""
        late, ahead = x, [x]
        for _ in range(self.context):
            # Collected when the context is there too: one delay of x serves both.
            late = apply("pipeline_register", late)
            ahead.append(post(ahead[-1], f.broadcast_to(constant(final, x.format), x.shape)))
        kept = state(f.zeros((self.chunk, *x.shape), x.format))
        kept.next = update(kept, late, at)
        context = [f.expand_dims(when(row, closes), 0) for row in ahead[1:]]
        return f.concatenate([when(kept.next, closes), *context])

    def _back(self, params: Params, rows: Stream, stops: Stream) -> Stream:
        """The layer over the rows of a chunk and its context, from the last to the first; a segment stops where `stops` holds."""
        run = over_time(lambda x, stop: self.backward(params, x, reset=stop), reverse=True)
        return run(rows, stops)[: self.chunk]

    def in_space(self, params: Params, xs: Stream) -> Stream:
        """In space: `[ticks, inputs] -> [ticks, outputs]`, equal to the ticks one by one; chunks side by side."""
        ticks, width = xs.shape[0], self.chunk + self.context
        chunks = -(-ticks // self.chunk)
        beyond = chunks * self.chunk + self.context - ticks
        place = self.chunk * np.arange(chunks)[:, None] + np.arange(width)
        padded = f.pad(xs, ((0, beyond), *((0, 0) for _ in xs.shape[1:])))
        rows = f.take(padded, constant(place.astype(np.int32)), axis=0)

        def back(rows: Stream, stops: Stream) -> Stream:
            return self._back(params["backward"], rows, stops)

        future = over_space(back, chunks)(rows, constant(place >= ticks - 1))
        past = over_time(lambda x: self.forward(params["forward"], x))(xs)
        flat = f.reshape(future, (chunks * self.chunk, *future.shape[2:]))[:ticks]
        return f.concatenate([past, flat], axis=1)
