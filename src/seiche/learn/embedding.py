"""A learnt vector per symbol."""

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
class Embedding:
    """Rows of a table by integer index: `[*] -> [*, size]`; an index out of range is clamped (Bengio et al. 2003).

    Parameter `table [count, size]`.

    >>> import seiche as sc
    >>> layer = sc.learn.Embedding(10, 4)
    >>> @sc.node
    ... def model(i: sc.i32) -> sc.f32[4]:
    ...     return layer(layer.init(key=0), i)
    >>> sc.compile(model).step(3).shape
    (4,)
    """

    count: int
    size: int
    table: Initialiser = initialise.normal
    format: Format = f32

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        return {"table": self.table(Key.of(key), (self.count, self.size), self.format)}

    def __call__(self, params: Params, index: Stream) -> Stream:
        """The rows of these indices."""
        with trace.instance("embedding"):
            return f.take(params["table"], index)

    def logits(self, params: Params, x: Stream) -> Stream:
        """The products of x `[*, size]` with every row, `[*, count]`: an output layer that shares the table (Press & Wolf 2017)."""
        with trace.instance("embedding"):
            return f.matmul(x, f.swapaxes(params["table"], 0, 1))
