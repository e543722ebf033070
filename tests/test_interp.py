"""The interpreter and the sweeps: how few they are, what crosses them, and what reading an absent value does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from seiche.backends.interp import Env, Interpreter
from seiche.errors import InternalError
from seiche.ir.builder import Builder
from seiche.ir.clocks import infer
from seiche.ir.core import Equation, Fby, Lit, Node, Post, Var, operands
from seiche.ir.graph import components, dependences, is_cyclic
from seiche.numbers.formats import bool_, f32
from seiche.schedule.lower import lower
from seiche.schedule.sweeps import Sweep, crossing, sweeps
from tests.agreement import agree, same_bits
from tests.programs import random_inputs, random_program
from tests.test_lower import declare, equation, framed, gae, recurrence

F, B = f32[()], bool_[()]


def in_order(found: list[Sweep], node: Node) -> None:
    """Every equation runs once, after what it reads at its tick; states run forward, costates backward."""
    clocks, level = infer(node), {}
    for k, sweep in enumerate(found):
        assert k == 0 or sweep.reverse != found[k - 1].reverse
        for place, eq in enumerate(sweep.eqs):
            for out in eq.outs:
                assert out not in level
                level[out] = (k, place)
    assert set(level) == set(node.definitions())
    for k, sweep in enumerate(found):
        for place, eq in enumerate(sweep.eqs):
            assert not (isinstance(eq.rhs, Fby) and sweep.reverse)
            assert not (isinstance(eq.rhs, Post) and not sweep.reverse)
            read = [*dependences(eq.rhs), *((c, 0) for c, _ in clocks[eq.outs[0]])]
            for var, offset in read:
                if var in level:
                    assert level[var] < (k, place) if offset == 0 else level[var][0] <= k


def bodies(node: Node) -> list[Node]:
    inside = [eq.rhs.body for eq in node.eqs if hasattr(eq.rhs, "body")]
    return inside + [deeper for body in inside for deeper in bodies(body)]


@pytest.mark.parametrize("seed", range(40))
def test_sweeps_of_random_programs(seed: int) -> None:
    lowered = lower(random_program(seed))
    top = sweeps(lowered.node, lowered.clocks)
    assert [sweep.reverse for sweep in top] == [False]
    in_order(top, lowered.node)
    assert not crossing(top, lowered.node)
    for body in bodies(lowered.node):
        found = sweeps(body)
        in_order(found, body)
        read_later = {v for s in found[1:] for eq in s.eqs for v in operands(eq.rhs)}
        assert crossing(found, body) <= read_later | {
            c for v in body.definitions() for c, _ in infer(body)[v]
        }


def test_a_costate_after_a_state_takes_two_sweeps() -> None:
    body = gae()
    assert [s.reverse for s in sweeps(body)] == [False, True]
    b = Builder()
    x = Var("x", F)
    s, c = declare(b, F, "s"), declare(b, F, "c")
    forward = b.add(s, x)
    squared = b.square(forward)
    equation(b, s, Fby(b.lit(0, F), forward))
    equation(b, c, Post(b.add(c, squared), b.lit(0, F)))
    node = b.node("n", (x,), (c,))
    found = sweeps(node)
    assert [sweep.reverse for sweep in found] == [False, True]
    # The square is computed where it is read: of the two, one crosses.
    assert crossing(found, node) == {forward}


def test_neutral_equations_of_inputs_cross_nothing() -> None:
    b = Builder()
    x = Var("x", f32[8])
    s, c = declare(b, F, "s"), declare(b, F, "c")
    equation(b, s, Fby(b.lit(0, F), b.add(s, b.sum(x, axes=(0,)))))
    wide = b.mul(b.square(x), b.neg(x))
    equation(b, c, Post(b.add(b.add(c, s), b.sum(wide, axes=(0,))), b.lit(0, F)))
    node = b.node("n", (x,), (c,))
    found = sweeps(node)
    assert crossing(found, node) == {s}


def test_conditions_of_clocks_cross() -> None:
    b = Builder()
    x = Var("x", F)
    s = declare(b, F, "s")
    equation(b, s, Fby(b.lit(0, F), b.add(s, x)))
    on = b.lt(s, x)
    few = b.when(x, on)
    later = b.post(few, few)
    node = b.node("n", (x,), (b.merge(on, later, b.when(x, on, False)),))
    found = sweeps(node)
    in_order(found, node)
    assert on in crossing(found, node) or few not in crossing(found, node)


def test_old_values_are_read_before_new_ones_are_made() -> None:
    b = Builder()
    x = Var("x", f32[4])
    w = declare(b, x.type, "w")
    after = b.add(w, x)
    equation(b, w, Fby(b.lit(0, x.type), after))
    reader = b.square(w)
    node = b.node("n", (x,), (reader,))
    node.checks = ()
    (sweep,) = sweeps(Node("n", (x,), (reader, after), b.eqs))
    order = [eq.outs[0] for eq in sweep.eqs]
    assert order.index(reader) < order.index(after)


def test_equations_of_one_clock_are_side_by_side() -> None:
    b = Builder()
    x, c = Var("x", F), Var("c", B)
    outs = []
    for _ in range(4):
        outs += [b.square(x), b.square(b.when(x, c))]
    node = b.node("n", (x, c), tuple(outs))
    (sweep,) = sweeps(node)
    clocks = infer(node)
    on = [bool(clocks[eq.outs[0]]) for eq in sweep.eqs]
    assert sum(a != b for a, b in pairwise(on)) == 1


def test_components_come_after_what_they_read() -> None:
    b = Builder()
    x = Var("x", F)
    s = declare(b, F, "s")
    after = b.add(s, x)
    equation(b, s, Fby(b.lit(0, F), after))
    square = b.square(after)
    node = Node("n", (x,), (square,), list(reversed(b.eqs)))
    found = components(node)
    assert [is_cyclic(part) for part in found] == [False, True, False]
    assert isinstance(found[0][0].rhs, Lit) and found[-1][0].out is square


def test_an_instantaneous_cycle_is_an_internal_error() -> None:
    a, b = Var("a", F), Var("b", F)
    one, two = Builder(), Builder()
    one.neg(b)
    two.neg(a)
    eqs = [Equation((a,), one.eqs[0].rhs), Equation((b,), two.eqs[0].rhs)]
    with pytest.raises(InternalError, match="wait for each other"):
        sweeps(Node("n", (), (a,), eqs))


def test_an_absent_value_is_an_internal_error() -> None:
    with pytest.raises(InternalError, match=r"`x: f32` is read where it is absent"):
        Env()[Var("x", F)]


def test_a_state_that_is_set_continues_bit_for_bit() -> None:
    b = Builder()
    x, done = Var("x", F), Var("done", B)
    outs = framed(
        b, (x, x, b.lit(0.9, F)), (True, True, False), ("stream", "last"), 6, done, body=gae()
    )
    lowered = lower(b.node("n", (x, done), outs))
    one, two = Interpreter(lowered), Interpreter(lowered)
    rng = np.random.default_rng(0)
    xs, ends = rng.normal(size=40).astype(np.float32), np.arange(40) % 6 == 5
    for t in range(17):
        one.step([xs[t], ends[t]])
    two.set_state(one.get_state())
    for t in range(17, 40):
        first, second = one.step([xs[t], ends[t]]), two.step([xs[t], ends[t]])
        for p, q in zip(first, second):
            assert (p is None) == (q is None)
            assert p is None or same_bits(p, q)


def test_absent_ticks_hold_anything() -> None:
    """NaN where a clock is off changes nothing."""
    b = Builder()
    x, c = Var("x", F), Var("c", B)
    seen = b.when(x, c)
    total = declare(b, F, "total")
    after = b.add(total, seen)
    equation(b, total, Fby(b.lit(0, F), after))
    node = b.node("n", (x, c), (after, b.merge(c, after, b.when(b.lit(0, F), c, False))))
    rng = np.random.default_rng(0)
    xs, on = rng.normal(size=20).astype(np.float32), rng.random(20) < 0.5
    clean = agree(node, [xs, on])
    clean.reset()
    program = agree(node, [np.where(on, xs, np.float32(np.nan)), on])
    program.reset()
    noisy = program.run(np.where(on, xs, np.float32(np.nan)), on)
    for p, q in zip(clean.run(xs, on), noisy):
        assert same_bits(getattr(p, "values", p), getattr(q, "values", q))


@pytest.mark.parametrize("seed", range(1000, 1030))
def test_random_programs_agree_with_the_oracle(seed: int) -> None:
    from tests import oracle

    node = random_program(seed)
    inputs = random_inputs(node, seed, 11)
    try:
        oracle.evaluate(node, inputs)
    except oracle.Failed:
        return
    agree(node, inputs)


def test_the_recurrence_body_needs_four_sweeps_at_most() -> None:
    assert len(sweeps(recurrence())) <= 4
