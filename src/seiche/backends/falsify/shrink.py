"""Counterexamples made simple: fewer ticks first, then values that are 0, that do not change, that have few digits.

A candidate is taken where it is simpler by `size`, is still of its signals, and breaks the same duty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from seiche.backends.falsify.signals import Signal
from seiche.backends.falsify.trial import Inputs, Outcome, Trial
from seiche.ir.core import Var
from seiche.ir.op import AnyArray

FAR = 1e30
"""Beyond this, all numbers are as odd."""
RUNS_MAX = 4000
"""After which a counterexample is taken as it is."""


def shrunk(trial: Trial, inputs: Inputs, found: Outcome) -> tuple[Inputs, Outcome]:
    """The simplest inputs that were found from these, and what they do."""
    return _Shrinking(trial, inputs, found).run()


class _Shrinking:
    def __init__(self, trial: Trial, inputs: Inputs, found: Outcome) -> None:
        self.trial, self.best, self.found = trial, inputs, found
        self.simple = [s.simplest(v.type) for s, v in self.pairs()]
        self.left = RUNS_MAX

    def pairs(self) -> Iterator[tuple[Signal, Var]]:
        return zip(self.trial.signals, self.trial.program.node.inputs, strict=True)

    def run(self) -> tuple[Inputs, Outcome]:
        if not self.best:
            return self.best, self.found
        self.take(tuple(x[: self.found.tick + 1] for x in self.best))
        before: tuple[float, ...] = ()
        while self.left > 0 and before != (before := self.size(self.best)):
            self.passes(self.shorter)
            for k in range(len(self.best)):
                for make in (self.simpler, self.steadier, self.rounder):
                    self.passes(lambda make=make, k=k: make(k))
        return self.best, self.found

    def passes(self, make: Callable[[], Iterator[Inputs]]) -> None:
        """Candidates are made from the best so far, anew after each that is taken."""
        taken = True
        while taken and self.left > 0:
            taken = any(self.take(candidate) for candidate in make() if self.left > 0)

    def take(self, candidate: Inputs) -> bool:
        """Takes a candidate where it is simpler and does the same."""
        if not self.size(candidate) < self.size(self.best) or not self.trial.fits(candidate):
            return False
        self.left -= 1
        outcome = self.trial(candidate, len(candidate[0]))
        same = outcome.kind == "broken" and outcome.check == self.found.check
        if same:
            self.best = tuple(x[: outcome.tick + 1] for x in candidate)
            self.found = outcome
        return same

    def size(self, inputs: Inputs) -> tuple[float, ...]:
        """Ticks, then values that are not the simplest, changes from tick to tick, digits, distance from the simplest."""
        sizes = [_size(x, simple) for x, simple in zip(inputs, self.simple, strict=True)]
        return (len(inputs[0]), *(sum(column) for column in zip(*sizes, strict=True)))

    def shorter(self) -> Iterator[Inputs]:
        """Without some ticks."""
        ticks = len(self.best[0])
        for size in _halves(ticks):
            for start in range(0, ticks - size + 1, max(1, size)):
                gone = np.s_[start : start + size]
                if ticks > size:
                    yield tuple(np.delete(x, gone, axis=0) for x in self.best)

    def simpler(self, k: int) -> Iterator[Inputs]:
        """Some ticks of an input, then some elements, at the simplest value."""
        x = self.best[k]
        for size in _halves(len(x)):
            for start in range(0, len(x), size):
                yield self.replaced(k, np.s_[start : start + size], self.simple[k])
        if x.ndim > 1:
            for i in np.ndindex(x.shape[1:]):
                yield self.replaced(k, (slice(None), *i), self.simple[k])
            for i in np.ndindex(x.shape):
                yield self.replaced(k, i, self.simple[k])

    def steadier(self, k: int) -> Iterator[Inputs]:
        """Some ticks at the value of the tick before, or of the tick after."""
        x = self.best[k]
        for size in _halves(len(x)):
            for start in range(0, len(x), size):
                if start:
                    yield self.replaced(k, np.s_[start : start + size], x[start - 1])
                if start + size < len(x):
                    yield self.replaced(k, np.s_[start : start + size], x[start + size])

    def rounder(self, k: int) -> Iterator[Inputs]:
        """Values with fewer digits, or closer to the simplest: all that are equal at once, then one by one."""
        x = self.best[k]
        if x.dtype.kind == "b":
            return
        for value in np.unique(x):
            for other in _rounder(float(value), self.simple[k], x.dtype.kind == "f"):
                yield self.replaced(k, x == value, other)
        for i in np.ndindex(x.shape):
            for other in _rounder(float(x[i]), self.simple[k], x.dtype.kind == "f"):
                yield self.replaced(k, i, other)

    def replaced(self, k: int, where: object, value: object) -> Inputs:
        x = self.best[k].copy()
        x[where] = value  # type: ignore[index]
        return (*self.best[:k], x, *self.best[k + 1 :])


def _halves(n: int) -> Iterator[int]:
    """n, n / 2, n / 4 ... 1."""
    while n >= 1:
        yield n
        n //= 2


def _rounder(value: float, simple: float, real: bool) -> Iterator[float]:
    """Simpler numbers near a value."""
    if not np.isfinite(value):
        return
    if real:
        yield from (float(np.round(value, digits)) for digits in (-1, 0, 1, 2, 3))
        yield from (float(np.ceil(value)), float(np.floor(value)))
    yield from (float(int(simple + (value - simple) / 2)), value - np.sign(value - simple))


def _size(x: AnyArray, simple: float) -> tuple[float, ...]:
    odd = x != simple
    far = np.abs(x[odd].astype(np.float64) - simple)
    digits = sum(len(str(value).rstrip("0").rstrip(".")) for value in x[odd].tolist())
    distance = np.nan_to_num(far, nan=FAR).clip(max=FAR).sum()
    return float(odd.sum()), float((x[1:] != x[:-1]).sum()), digits, float(distance)
