"""Delays against the direction of their component: random bodies whose cycles look both ways, beside the oracle."""

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
from seiche.ir.core import Apply, Equation, Fby, Merge, Node, Post, Rhs, Scan, Var, When
from seiche.numbers.formats import bool_, f32, i32
from tests.agreement import Target, agree
from tests.checking import only
from tests.programs import random_inputs

REAL = f32[2]
INPUTS = "xs: f32[8], cs: bool[8]"


def cyclic_body(rng: np.random.Generator, sampled: bool) -> Node:
    """Streams that read each other at random: states, costates, sums, and a part of them on a sub-clock."""
    b = Builder(Loc("random", 0))
    x, c, r = Var("x", REAL), Var("c", bool_[()]), Var("r", bool_[()])
    k = b.lit(0.5, REAL)
    names = [Var(f"v{i}", REAL) for i in range(int(rng.integers(2, 7)))]
    slow = names[: int(rng.integers(sampled, 3))]
    delays = not sampled and rng.random() < 0.4  # are some of them on the sub-clock?

    def pick(items: list[Var]) -> Var:
        return items[int(rng.integers(len(items)))]

    def reset(on: bool) -> Var | None:
        return (r if not on else b.when(r, c)) if rng.random() < 0.4 else None

    def form(var: Var) -> Rhs:
        here = slow if var in slow else [v for v in names if v not in slow]
        others = [v for v in here if v is not var] or here
        kind = rng.random()
        if var in slow and (kind < 0.4 or not delays):
            return When(pick([v for v in names if v not in slow] or [x]), c)
        if kind < 0.3:
            return Fby(pick([k, pick(here)]), pick(others), reset(var in slow))
        if kind < 0.55:
            return Post(pick(others), pick([k, pick(here)]), reset(var in slow))
        if var not in slow and slow and kind < 0.75:
            return Merge(c, pick(slow), b.when(pick([*names[len(slow) :], x]), c, False))
        if kind < 0.85:
            return Apply("add", (pick(others), b.when(x, c) if var in slow else x))
        return Apply("maximum", (pick(others), pick(others)))

    eqs = [Equation((var,), form(var)) for var in names]
    outputs = tuple(v for v in names if v not in slow)
    return Node("body", (x, c, r), outputs, [*b.eqs, *eqs], Loc("random", 0))


def mixed_body(seed: int) -> tuple[Node, str]:
    """A causal one in which a component has states and costates; its direction, and whether it crosses clocks."""
    rng, crossing = np.random.default_rng(seed), seed % 8 == 0
    for _ in range(50_000):
        body = cyclic_body(rng, crossing)
        clocks = infer(body)
        if clocks.mismatches:
            continue
        components, faults = causal(body, "rows", clocks)
        defs = body.definitions()
        for part in () if faults else components:
            if {Fby, Post} <= {type(defs[v].rhs) for v in part.vars}:
                crosses = len({clocks[v] for v in part.vars}) > 1
                if crosses or not crossing:
                    return body, part.direction + crosses * " across clocks"
    raise AssertionError(f"no such body for seed {seed}")


def over_rows(body: Node, rng: np.random.Generator) -> Node:
    """The body over up to five rows; its outputs as stacks and first rows."""
    b = Builder(Loc("random", 0))
    xs, cs, rs = Var("x", f32[5, 2]), Var("c", bool_[5,]), Var("r", bool_[5,])
    n = Var("n", i32[()])
    length = b.maximum(b.minimum(n, b.lit(5, i32[()])), b.lit(1, i32[()]))
    kinds = tuple("stack" if rng.random() < 0.7 else "first" for _ in body.outputs)
    types = tuple(f32[5, 2] if kind == "stack" else REAL for kind in kinds)
    scan = Scan(body, (xs, cs, rs), (True, True, True), kinds, 5, length)
    outs = b.define_many(scan, types, tuple(f"y{i}" for i in range(len(types))))
    return b.node("rows", (xs, cs, rs, n), outs)


@pytest.mark.parametrize(
    "target, seeds",
    [
        (Interpreter, range(20)),
        (CProgram, range(60, 70)),
        pytest.param(Interpreter, range(100, 200), marks=pytest.mark.long),
        pytest.param(CProgram, range(200, 240), marks=pytest.mark.long),
    ],
)
def test_cycles_that_look_both_ways(target: Target, seeds: range):
    seen: Counter[str] = Counter()
    for seed in seeds:
        body, direction = mixed_body(seed)
        seen[direction] += 1
        node = over_rows(body, np.random.default_rng(seed))
        agree(node, random_inputs(node, seed, 4), target)
    print(f"seeds {seeds.start}..{seeds.stop - 1}: {dict(seen)}")
    assert min(seen["forward"], seen["backward"]) >= len(seeds) // 10
    assert sum(n for kind, n in seen.items() if "across" in kind) >= len(seeds) // 10


def test_delays_of_a_cycle_on_several_clocks():
    """Two ticks back on the base clock, one ahead on a slower one: nobody knows how far that is."""
    body = """node b(x: f32, c: bool) -> (s) {
        k: f32 = 0.0
        s: f32 @2 = fby(k, t)
        t: f32 @3 = fby(k, e)
        slow: f32 @4 = when(s, c)
        ahead: f32 @5 = post(slow, k)
        e: f32 @6 = merge(c, ahead, xo)
        xo: f32 = when(x, !c)
    }"""
    fault = only(
        f"y: f32[8] = scan(xs[], cs[], outs=(stack), extent=8) {body}", "SE402", inputs=INPUTS
    )
    assert "`ahead` looks ahead on the clock `base on c`" in fault.what and fault.where.line == 5
    assert "on one clock" in fault.hint
