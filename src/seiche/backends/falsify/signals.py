"""Where the search for counterexamples draws its inputs from. In programs: `sc.signals`.

A signal says which streams an input may be; the search draws from it, changes parts of what it drew, and makes what it found
simpler without leaving it. Bounds are inclusive, for every element of a tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from seiche.errors import NOWHERE, fail
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import round_nearest

Rng: TypeAlias = np.random.Generator
EXTREMES = 0.1
"""The share of values of `free` and `steps` that are a bound, or the simplest value: faults like to be at edges."""


class Signal(ABC):
    """A set of streams of one type."""

    @abstractmethod
    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        """One of them, `[ticks, ...]`, in the carrier of the type."""

    @abstractmethod
    def fits(self, values: AnyArray, type: Type) -> bool:
        """Whether a stream is one of them."""

    def simplest(self, type: Type) -> float:
        """The value that counterexamples come down to where it does not matter."""
        return 0.0


@dataclass(frozen=True)
class Range(Signal):
    """Values from `low` to `high`; what is between the ticks is for others to say."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high or not np.isfinite([self.low, self.high]).all():
            raise fail(
                "SE903",
                f"bounds from {self.low} to {self.high}",
                NOWHERE,
                hint="finite, the lower first",
            )

    def simplest(self, type: Type) -> float:
        """The value of the range that is closest to 0."""
        return min(max(0.0, self.low), self.high)

    def fits(self, values: AnyArray, type: Type) -> bool:
        if values.dtype.kind == "b":
            return (
                bool(np.all(values == self.cast(np.asarray(self.low), type)))
                or self.low < self.high
            )
        return bool(np.all((values >= self.low) & (values <= self.high)))

    def uniform(self, rng: Rng, type: Type, shape: tuple[int, ...]) -> AnyArray:
        """Independent values, some of them extremes."""
        x = rng.uniform(self.low, self.high, shape)
        edges = rng.choice([self.low, self.high, self.simplest(type)], shape)
        return np.where(rng.random(shape) < EXTREMES, edges, x)

    def cast(self, x: AnyArray, type: Type) -> AnyArray:
        """Reals as values of the type, within the bounds."""
        dtype = np.dtype(type.format.dtype)
        if dtype.kind == "b":
            return np.asarray(x >= (self.low + self.high) / 2)
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            low, high = (
                max(np.ceil(self.low), float(info.min)),
                min(np.floor(self.high), float(info.max)),
            )
            return np.clip(np.floor(x + 0.5), low, high).astype(dtype)
        rounded = x.astype(dtype)
        return (
            rounded if type.format.exact else np.asarray(round_nearest(NUMPY, rounded, type.format))
        )


@dataclass(frozen=True)
class Free(Range):
    """Made by `free`."""

    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        return self.cast(self.uniform(rng, type, (ticks, *type.shape)), type)


@dataclass(frozen=True)
class Steps(Range):
    """Made by `steps`."""

    hold: tuple[int, int] = (1, 20)

    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        lengths = rng.integers(self.hold[0], self.hold[1] + 1, ticks // self.hold[0] + 1)
        values = self.uniform(rng, type, (len(lengths), *type.shape))
        which = np.searchsorted(np.cumsum(lengths), np.arange(ticks), side="right")
        return self.cast(values[which], type)


@dataclass(frozen=True)
class Walk(Range):
    """Made by `walk`."""

    step: float = 1.0

    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        moves = rng.uniform(-self.step, self.step, (ticks, *type.shape))
        moves[:1] = rng.uniform(self.low, self.high, type.shape)
        # What leaves the range is folded back into it, which makes no move longer.
        width = self.high - self.low
        folded = (
            np.mod(np.cumsum(moves, axis=0) - self.low, 2 * width)
            if width
            else np.zeros(moves.shape)
        )
        return self.cast(self.low + np.minimum(folded, 2 * width - folded), type)

    def fits(self, values: AnyArray, type: Type) -> bool:
        moves = np.abs(np.diff(values.astype(np.float64), axis=0))
        slack = 1e-6 * max(abs(self.low), abs(self.high)) + (values.dtype.kind != "f")
        return super().fits(values, type) and bool(np.all(moves <= self.step + slack))


@dataclass(frozen=True)
class Constant(Range):
    """Made by `constant`."""

    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        one = self.cast(self.uniform(rng, type, type.shape), type)
        return np.array(np.broadcast_to(one, (ticks, *type.shape)))

    def fits(self, values: AnyArray, type: Type) -> bool:
        return super().fits(values, type) and bool(np.all(values == values[:1]))


@dataclass(frozen=True)
class Given(Signal):
    """Made by `given`."""

    values: AnyArray = field(repr=False)

    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        if self.values.shape[1:] != type.shape or len(self.values) < ticks:
            raise fail(
                "SE903",
                f"a given signal {list(self.values.shape)} for {ticks} ticks of {type}",
                NOWHERE,
            )
        return np.asarray(self.values[:ticks], type.format.dtype)

    def fits(self, values: AnyArray, type: Type) -> bool:
        return bool(
            np.array_equal(values, self.values[: len(values)], equal_nan=values.dtype.kind == "f")
        )


@dataclass(frozen=True)
class Faulty(Signal):
    """Made by `faulty`."""

    inner: Signal
    rate: float

    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        x = self.inner.draw(rng, type, ticks)
        if x.dtype.kind != "f":
            return x
        odd = rng.choice(_faults(type), x.shape)
        return np.where(rng.random(x.shape) < self.rate, odd, x).astype(x.dtype)

    def fits(self, values: AnyArray, type: Type) -> bool:
        """Between faults the signal goes on as if there were none."""
        if values.dtype.kind != "f":
            return self.inner.fits(values, type)
        broken = np.isin(values, _faults(type)) | np.isnan(values)
        if broken.all(axis=0).any():
            sound = np.any(~broken, axis=0)
            values, broken = values[:, sound], broken[:, sound]
        return not values.size or self.inner.fits(_bridged(values, broken), type)

    def simplest(self, type: Type) -> float:
        return self.inner.simplest(type)


def _faults(type: Type) -> AnyArray:
    """NaN, the infinities and the largest numbers, as a format has them."""
    dtype = np.dtype(type.format.dtype)
    largest = np.finfo(dtype).max
    with np.errstate(all="ignore"):
        odd = np.array([np.nan, np.inf, -np.inf, largest, -largest], dtype)
        return np.asarray(round_nearest(NUMPY, odd, type.format))


def _bridged(values: AnyArray, broken: AnyArray) -> AnyArray:
    """Straight lines over the ticks at which elements are broken."""
    rows, gaps = values.reshape(len(values), -1).copy(), broken.reshape(len(values), -1)
    ticks = np.arange(len(rows))
    for k in range(rows.shape[1]):
        sound = ~gaps[:, k]
        rows[:, k] = np.interp(ticks, ticks[sound], rows[sound, k])
    return rows.reshape(values.shape)


def free(low: float, high: float) -> Signal:
    """Any value from `low` to `high` at any tick.

    >>> from seiche.numbers.formats import i32
    >>> free(-2, 2).draw(np.random.default_rng(0), i32[()], 5).tolist()
    [1, -1, -2, 2, 1]
    """
    return Free(float(low), float(high))


def steps(low: float, high: float, hold: tuple[int, int] = (1, 20)) -> Signal:
    """Piecewise constant: a value from `low` to `high`, held for `hold[0]` to `hold[1]` ticks, then another.

    Shorter steps may come of making a counterexample simpler.

    >>> from seiche.numbers.formats import f32
    >>> x = steps(0, 1, hold=(3, 3)).draw(np.random.default_rng(0), f32[()], 6)
    >>> bool((x[0] == x[1:3]).all() and (x[3] == x[4:]).all())
    True
    """
    if not 1 <= hold[0] <= hold[1]:
        raise fail("SE903", f"steps that are held for {hold[0]} to {hold[1]} ticks", NOWHERE)
    return Steps(float(low), float(high), hold)


def walk(low: float, high: float, step: float) -> Signal:
    """A random walk from `low` to `high` that moves by at most `step` from tick to tick.

    >>> from seiche.numbers.formats import f32
    >>> x = walk(0, 10, 0.5).draw(np.random.default_rng(0), f32[()], 100)
    >>> bool((np.abs(np.diff(x)) <= 0.5).all())
    True
    """
    return Walk(float(low), float(high), float(step))


def constant(low: float, high: float) -> Signal:
    """One value from `low` to `high` for the whole run: a parameter.

    >>> from seiche.numbers.formats import f32
    >>> len(set(constant(0, 1).draw(np.random.default_rng(0), f32[()], 100).tolist()))
    1
    """
    return Constant(float(low), float(high))


def given(values: Any) -> Signal:
    """This stream, `[ticks, ...]`, as it is: the search leaves it alone."""
    return Given(np.asarray(values))


def faulty(signal: Signal, rate: float = 0.05) -> Signal:
    """A signal some of whose elements are what a broken sensor gives: NaN, an infinity, the largest numbers. Reals only.

    >>> from seiche.numbers.formats import f32
    >>> x = faulty(free(-1, 1), rate=0.5).draw(np.random.default_rng(0), f32[()], 100)
    >>> bool(np.isnan(x).any())
    True
    """
    return Faulty(signal, float(rate))


@dataclass(frozen=True)
class Anything(Signal):
    """What an input is drawn from that nothing is said of: bits, small integers, reals from -10 to 10, in any of the ways above."""

    def draw(self, rng: Rng, type: Type, ticks: int) -> AnyArray:
        low, high = self._bounds(type)
        ways: tuple[Signal, ...] = (
            Free(low, high),
            Steps(low, high),
            Walk(low, high, (high - low) / 20),
        )
        return ways[int(rng.integers(len(ways)))].draw(rng, type, ticks)

    def fits(self, values: AnyArray, type: Type) -> bool:
        return bool(np.all(np.abs(values.astype(np.float64)) <= 10.0))

    def _bounds(self, type: Type) -> tuple[float, float]:
        kind = np.dtype(type.format.dtype).kind
        return {"b": (0.0, 1.0), "u": (0.0, 10.0)}.get(kind, (-10.0, 10.0))
