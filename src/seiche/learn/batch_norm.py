"""Batch normalisation, where the batch is a frame: its statistics are `last` over the frame's ticks."""

from __future__ import annotations

from dataclasses import dataclass

from seiche.ir import tree
from seiche.lang import functions as f
from seiche.lang import trace
from seiche.lang.memory import last, state
from seiche.lang.stream import Stream
from seiche.learn import initialise
from seiche.learn.layer import Params, Seed
from seiche.learn.ranges import COUNT, NOT_NEGATIVE, SHARE, check
from seiche.numbers.formats import Format, f32


@dataclass(frozen=True)
class BatchNorm:
    """Mean 0 and variance 1 over a batch, then scaled and shifted: `[size] -> [size]` per tick (Ioffe & Szegedy 2015, alg. 1).

    Called inside a frame (or `over_time`), the batch is the segment: each tick is normalised by the mean and variance (divided
    by n) of all its ticks, the later ones included, so that the gradient flows through them. `in_space` does the same over the
    first axis. For use without a frame, keep statistics in a state: `s = sc.state(layer.statistics())`,
    `s.next = layer.track(s, fr.last(layer.moments(x)))`, and apply `layer.inference(params, s, x)`.
    Parameters `scale` and `bias [size]`; statistics `mean` and `variance [size]`.

    >>> import seiche as sc
    >>> layer = sc.learn.BatchNorm(1)
    >>> @sc.node
    ... def model(x: sc.f32[1], done: sc.bool_) -> sc.f32[1]:
    ...     with sc.frame(max=8, until=done):
    ...         return layer(layer.init(), x)
    >>> sc.compile(model).run([[1.0], [3.0]], [False, True]).round(3).tolist()
    [[-1.0], [1.0]]
    """

    size: int
    rate: float = 0.1
    epsilon: float = 1e-5
    format: Format = f32

    def __post_init__(self) -> None:
        check(
            "BatchNorm", vars(self), size=COUNT, rate=SHARE, epsilon=NOT_NEGATIVE,
        )  # fmt: skip

    def init(self, key: Seed = 0) -> Params:
        """Fresh parameters."""
        ones = initialise.ones(key, (self.size,), self.format)
        return {"scale": ones, "bias": initialise.zeros(key, (self.size,), self.format)}

    def statistics(self) -> Params:
        """Initial running statistics: mean 0, variance 1."""
        ones = initialise.ones(0, (self.size,), self.format)
        return {"mean": initialise.zeros(0, (self.size,), self.format), "variance": ones}

    def moments(self, x: Stream) -> Params:
        """The segment's mean and variance, at each of its ticks. It looks ahead: in frames and scans only."""
        with trace.instance("batch_norm"):
            mean = _segment_mean(x)
            return {"mean": mean, "variance": _segment_mean(f.square(x - mean))}

    def track(self, statistics: Params, moments: Params) -> Params:
        """The running statistics, moved by `rate` towards those of a batch; no gradient passes."""
        return tree.map_tree(
            lambda s, m: s + self.rate * (f.stop_gradient(m) - s), statistics, moments
        )

    def inference(self, params: Params, statistics: Params, x: Stream) -> Stream:
        """x normalised by given statistics."""
        with trace.instance("batch_norm"):
            scaled = (x - statistics["mean"]) / f.sqrt(statistics["variance"] + self.epsilon)
            return scaled * params["scale"] + params["bias"]

    def __call__(self, params: Params, x: Stream) -> Stream:
        """In time: x normalised by the statistics of the frame around."""
        return self.inference(params, self.moments(x), x)

    def in_space(self, params: Params, xs: Stream) -> Stream:
        """In space: `[ticks, size] -> [ticks, size]`, the batch being the first axis."""
        return self.inference(params, {"mean": f.mean(xs, 0), "variance": f.variance(xs, 0)}, xs)


def _segment_mean(x: Stream) -> Stream:
    """The mean over the segment, known at each of its ticks."""
    total = state(f.zeros(x.shape, x.format))
    count = state(f.zeros((), x.format))
    total.next = total + x
    count.next = count + 1
    return last(total.next / count.next)
