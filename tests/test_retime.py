"""Latencies across clocks: random nodes whose samples and look-aheads wait for each other, beside the oracle."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import seiche.ir.ops  # noqa: F401
from seiche.backends.c.binding import CProgram
from seiche.backends.interp import Interpreter
from seiche.check.causality import check as causal
from seiche.errors import Loc
from seiche.ir.builder import Builder
from seiche.ir.clocks import infer
from seiche.ir.core import Apply, Equation, Fby, Frame, Merge, Node, Post, Rhs, Var, When, operands
from seiche.numbers.formats import bool_, f32
from seiche.schedule.lower import lower
from seiche.schedule.retime import latencies
from tests.agreement import Target, agree

REAL = f32[()]
EXTENT = 3


def floats(rng: np.random.Generator, ticks: int) -> np.ndarray:
    return rng.normal(size=ticks).astype(np.float32)


def closing(rng: np.random.Generator, ticks: int) -> np.ndarray:
    """Truth values with no more than EXTENT ticks from one true to the next."""
    flips = rng.random(ticks) < 0.4
    for t in range(EXTENT - 1, ticks):
        flips[t] |= not flips[t - EXTENT + 1 : t].any()
    return flips


def body() -> Node:
    """Forward and backward over the rows of a frame, by a factor of the frame's clock."""
    b = Builder(Loc("random", 0))
    x, y, w = Var("x", REAL), Var("y", REAL), Var("w", REAL)
    zero = b.lit(0, REAL)
    return b.node("body", (x, y, w), (b.post(b.mul(x, w), zero), b.add(b.fby(zero, y), w)))


class Drawn:
    """Streams on the base, on `c` and on `k` below `c`, that read each other at random."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = Builder(Loc("random", 0))
        self.x, self.c, self.d, self.r = (
            Var(n, t) for n, t in zip("xcdr", (REAL, bool_[()], bool_[()], bool_[()]))
        )
        self.k = self.b.when(self.d, self.c)
        self.half = self.b.lit(0.5, REAL)
        self.base = self.names("v", 2, 6)
        self.slow = self.names("s", 2, 5)
        self.slower = self.names("t", 0, 3)

    def names(self, stem: str, low: int, high: int) -> list[Var]:
        return [Var(f"{stem}{i}", REAL) for i in range(int(self.rng.integers(low, high)))]

    def pick(self, *items: Var) -> Var:
        return items[int(self.rng.integers(len(items)))]

    def reset(self, slow: bool) -> Var | None:
        if self.rng.random() < 0.6:
            return None
        return self.b.when(self.r, self.c) if slow else self.r

    def on_base(self) -> Rhs:
        kind, pick, b = self.rng.random(), self.pick, self.b
        if kind < 0.3:
            return Merge(self.c, pick(*self.slow), b.when(pick(*self.base, self.x), self.c, False))
        if kind < 0.6:
            return Post(pick(*self.base, self.x), pick(self.half, self.x), self.reset(False))
        if kind < 0.8:
            return Fby(pick(self.half, self.x), pick(*self.base), self.reset(False))
        return Apply("sub", (pick(*self.base), self.x))

    def on_c(self) -> Rhs:
        kind, pick, b = self.rng.random(), self.pick, self.b
        if kind < 0.4:
            return When(pick(*self.base), self.c)
        if kind < 0.7:
            return Fby(pick(self.half, b.when(self.x, self.c)), pick(*self.slow), self.reset(True))
        if kind < 0.85 and self.slower:
            absent = b.when(b.when(self.x, self.c), self.k, False)
            return Merge(self.k, pick(*self.slower), absent)
        return Apply("sub", (pick(*self.slow), pick(*self.slow)))

    def on_k(self) -> Rhs:
        kind, pick = self.rng.random(), self.pick
        if kind < 0.5:
            return When(pick(*self.slow), self.k)
        if kind < 0.8:
            return Fby(self.half, pick(*self.slower))
        return Apply("sub", (pick(*self.slower), self.half))

    def node(self, frame: bool) -> Node:
        framed = (Var("seen", REAL), Var("left", REAL))
        forms = ((self.base, self.on_base), (self.slow, self.on_c), (self.slower, self.on_k))
        own = [(v, form) for vars, form in forms for v in vars]
        if frame:
            self.base.append(framed[0])
            self.slow.append(framed[1])
        eqs = [Equation((v,), form()) for v, form in own]
        if frame:
            args = (self.pick(self.x, *self.base), self.x, self.pick(*self.slow))
            kept = Frame(body(), args, (True, True, False), ("stream", "last"), EXTENT, self.c)
            eqs.append(Equation(framed, kept))
        outputs = (*self.base, *self.slow, *self.slower)
        inputs = (self.x, self.c, self.d, self.r)
        return Node("random", inputs, outputs, [*self.b.eqs, *eqs], Loc("random", 0))


def is_cut(node: Node) -> bool:
    """Whether something on a clock runs at another latency than what it reads on that clock."""
    lat = latencies(node, infer(node))
    there = {v: eq for v, eq in lat.defs.items() if lat.clocks[v] and v not in lat.fixed}
    return any(
        lat.part[eq] is not lat.part[there[v]]
        for eq in there.values()
        for v in operands(eq.rhs)
        if v in there
    )


def drawn(seed: int) -> tuple[Node, bool]:
    """A legal node in which something looks ahead; every third time one with equations on a clock that must run at several latencies."""
    for draw in range(10_000):
        node = Drawn(seed * 10_000 + draw).node(frame=seed % 4 == 0)
        clocks = infer(node)
        if not any(isinstance(eq.rhs, Post) for eq in node.eqs) or clocks.mismatches:
            continue
        if not causal(node, "node", clocks)[1] and ((cut := is_cut(node)) or seed % 3):
            return node, cut
    raise AssertionError(f"no such node for seed {seed}")


@pytest.mark.parametrize(
    "target, seeds",
    [
        (Interpreter, range(9)),
        (CProgram, range(24, 30)),
        pytest.param(Interpreter, range(100, 200), marks=pytest.mark.long),
        pytest.param(CProgram, range(200, 240), marks=pytest.mark.long),
    ],
)
def test_clocks_that_wait_for_each_other(target: Target, seeds: range) -> None:
    seen: Counter[bool] = Counter()
    for seed in seeds:
        (node, cut), rng = drawn(seed), np.random.default_rng(seed)
        inputs = [floats(rng, 19), closing(rng, 19), rng.random(19) < 0.5, rng.random(19) < 0.2]
        agree(node, inputs, target)
        seen[cut] += 1
    print(f"seeds {seeds.start}..{seeds.stop - 1}: {dict(seen)}")
    assert seen[True] >= len(seeds) // 3


def test_what_waits_for_nothing_is_not_delayed() -> None:
    """Streams that only share a clock have latencies of their own; what reads one another is sampled at once."""
    b = Builder()
    x, c = Var("x", REAL), Var("c", bool_[()])
    ahead = b.post(x, b.lit(0, REAL))
    late = b.add(b.when(ahead, c), b.when(x, c))
    soon = b.when(b.mul(x, x), c)
    node = b.node("n", (x, c), (late, soon))
    lowered = lower(node)
    assert lowered.latency == (1, 0)
    assert len(lowered.states) == 2  # x and c of a tick ago
