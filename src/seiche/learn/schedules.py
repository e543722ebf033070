"""Learning rates over time: functions of the step (an i32 stream, 0 at first) with an f32 result."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

from seiche.lang import functions as f
from seiche.lang.stream import Stream, constant
from seiche.learn.optimiser import Rate
from seiche.learn.ranges import COUNT, NOT_NEGATIVE, POSITIVE, check
from seiche.numbers.formats import f32


def _progress(step: Stream, steps: int) -> Stream:
    """From 0 to 1 in so many steps, then 1."""
    return f.minimum(step, steps).to(f32) / float(steps)


@dataclass(frozen=True)
class Constant:
    """The same rate at every step.

    >>> import seiche as sc
    >>> @sc.node
    ... def rate(step: sc.i32) -> sc.f32:
    ...     return sc.learn.Constant(0.5)(step)
    >>> sc.compile(rate).run([0, 9]).tolist()
    [0.5, 0.5]
    """

    rate: float

    def __call__(self, step: Stream) -> Stream:
        """The rate at that step."""
        return constant(self.rate, f32)


@dataclass(frozen=True)
class Linear:
    """From `start` to `stop` in `steps` equal steps, then `stop`.

    >>> import seiche as sc
    >>> @sc.node
    ... def rate(step: sc.i32) -> sc.f32:
    ...     return sc.learn.Linear(1.0, 0.0, steps=4)(step)
    >>> sc.compile(rate).run([0, 1, 4, 9]).tolist()
    [1.0, 0.75, 0.0, 0.0]
    """

    start: float
    stop: float
    steps: int

    def __post_init__(self) -> None:
        check(
            "Linear", vars(self), steps=COUNT,
        )  # fmt: skip

    def __call__(self, step: Stream) -> Stream:
        """The rate at that step."""
        return self.start + (self.stop - self.start) * _progress(step, self.steps)


@dataclass(frozen=True)
class Warmup:
    """`then`'s first rate reached in `steps` equal steps from 0 (which is not used), then `then` from its step 0.

    >>> import seiche as sc
    >>> @sc.node
    ... def rate(step: sc.i32) -> sc.f32:
    ...     return sc.learn.Warmup(3, then=1.0)(step)
    >>> sc.compile(rate).run([0, 1, 2, 3, 9]).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    steps: int
    then: Rate

    def __post_init__(self) -> None:
        check(
            "Warmup", vars(self), steps="0..",
        )  # fmt: skip

    def __call__(self, step: Stream) -> Stream:
        """The rate at that step."""
        after = f.maximum(step - self.steps, 0)
        return _progress(f.minimum(step, self.steps) + 1, self.steps + 1) * (
            self.then(after) if callable(self.then) else self.then
        )


@dataclass(frozen=True)
class Cosine:
    """stop + (start - stop) (1 + cos(pi step / steps)) / 2, then `stop` (Loshchilov & Hutter 2017, eq. 5).

    >>> import seiche as sc
    >>> @sc.node
    ... def rate(step: sc.i32) -> sc.f32:
    ...     return sc.learn.Cosine(1.0, steps=4)(step)
    >>> sc.compile(rate).run([0, 2, 4, 9]).round(6).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """

    start: float
    steps: int
    stop: float = 0.0

    def __post_init__(self) -> None:
        check(
            "Cosine", vars(self), steps=COUNT,
        )  # fmt: skip

    def __call__(self, step: Stream) -> Stream:
        """The rate at that step."""
        return self.stop + (self.start - self.stop) * 0.5 * (
            1 + f.cos(pi * _progress(step, self.steps))
        )


@dataclass(frozen=True)
class StepDecay:
    """start * factor^floor(step / every).

    >>> import seiche as sc
    >>> @sc.node
    ... def rate(step: sc.i32) -> sc.f32:
    ...     return sc.learn.StepDecay(1.0, every=2, factor=0.5)(step)
    >>> sc.compile(rate).run([0, 1, 2, 4]).tolist()
    [1.0, 1.0, 0.5, 0.25]
    """

    start: float
    every: int
    factor: float

    def __post_init__(self) -> None:
        check("StepDecay", vars(self), every=COUNT, factor=NOT_NEGATIVE)

    def __call__(self, step: Stream) -> Stream:
        """The rate at that step."""
        return self.start * f.power(self.factor, (step // self.every).to(f32))


@dataclass(frozen=True)
class ExponentialDecay:
    """start * factor^(step / every).

    >>> import seiche as sc
    >>> @sc.node
    ... def rate(step: sc.i32) -> sc.f32:
    ...     return sc.learn.ExponentialDecay(1.0, every=2, factor=0.25)(step)
    >>> sc.compile(rate).run([0, 1, 2]).round(6).tolist()
    [1.0, 0.5, 0.25]
    """

    start: float
    every: int
    factor: float

    def __post_init__(self) -> None:
        check("ExponentialDecay", vars(self), every=COUNT, factor=POSITIVE)

    def __call__(self, step: Stream) -> Stream:
        """The rate at that step."""
        return self.start * f.exp(step.to(f32) * (log(self.factor) / self.every))
