"""Accumulators of scans that start from an argument: in its memory where nobody else needs it, and with the interpreter's bits always."""

from __future__ import annotations

import numpy as np
import pytest

from seiche.backends.c.binding import CProgram
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Fby, Node, OutKind, Post, Scan, Var
from seiche.numbers.formats import f32
from seiche.schedule.carry import carried
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from tests.machines import agree, close

pytestmark = pytest.mark.cc
V, ROWS = f32[40], f32[3, 40]


def summing(
    backward: bool = False, reads_start: bool = False, two: bool = False
) -> tuple[Node, tuple[OutKind, ...]]:
    """total = 0.5 total + x over the rows, from `start`; with `two` a second one, from `other`, that reads the first."""
    b, x, start, other = Builder(), Var("x", V), Var("start", V), Var("other", V)

    def accumulator(name: str, start: Var, term: Var) -> Var:
        next, old = Var(f"{name}_next", V), Var(name, V)
        form = Post(next, start) if backward else Fby(start, next)
        b.eqs.append(Equation((old,), form))
        b.eqs.append(Equation((next,), Apply("add", (b.mul(old, b.lit(0.5, V)), term))))
        return next

    total = accumulator("total", start, b.mul(x, start) if reads_start else x)
    outputs = (total, accumulator("second", other, total)) if two else (total,)
    kind: OutKind = "first" if backward else "last"
    inputs = (x, start, other) if two else (x, start)
    return Node("body", inputs, outputs, b.eqs), (kind,) * len(outputs)


def scanned(b: Builder, body: Node, kinds: tuple[OutKind, ...], *args: Var) -> tuple[Var, ...]:
    mapped = (True, *(False for _ in args[1:]))
    types = tuple(v.type for v in body.outputs)
    return b.define_many(
        Scan(body, args, mapped, kinds, 3), types, tuple(v.name for v in body.outputs)
    )


def whole(node: Node) -> int:
    """Scratch memory in values of 40 numbers."""
    return schedule(lower(node)).plan.scratch_bytes // V.nbytes


@pytest.mark.parametrize("backward", [False, True])
def test_a_state_is_carried_through_a_scan_in_place(backward: bool) -> None:
    b, xs, s = Builder(), Var("xs", ROWS), Var("s", V)
    body, kinds = summing(backward)
    assert carried(Scan(body, (xs, s), (True, False), kinds, 3)) == {0: 1}
    (after,) = scanned(b, body, kinds, xs, s)
    close(b, s, 1.0, after)
    node = b.node("n", (xs,), (b.sum(after, axes=(0,)),))
    assert whole(node) == 0
    agree(node)


def test_the_old_value_is_needed_later() -> None:
    b, xs, s = Builder(), Var("xs", ROWS), Var("s", V)
    body, kinds = summing()
    (after,) = scanned(b, body, kinds, xs, s)
    close(b, s, 1.0, after)
    kept = b.sort(b.add(s, after), axis=0, descending=False)
    agree(b.node("n", (xs,), (b.sum(kept, axes=(0,)),)))


def test_the_start_is_read_at_every_row() -> None:
    b, xs, s = Builder(), Var("xs", ROWS), Var("s", V)
    body, kinds = summing(reads_start=True)
    assert not carried(Scan(body, (xs, s), (True, False), kinds, 3))
    (after,) = scanned(b, body, kinds, xs, s)
    close(b, s, 1.0, after)
    agree(b.node("n", (xs,), (after,)))


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_two_states_straight_and_crossed(swap: bool, backward: bool) -> None:
    b, xs, s, t = Builder(), Var("xs", ROWS), Var("s", V), Var("t", V)
    body, kinds = summing(backward, two=True)
    one, two = scanned(b, body, kinds, xs, s, t)
    close(b, s, 1.0, two if swap else one)
    close(b, t, 2.0, one if swap else two)
    agree(b.node("n", (xs,), (b.sum(b.mul(one, two), axes=(0,)),)))


def test_both_start_from_one_value() -> None:
    b, xs, s = Builder(), Var("xs", ROWS), Var("s", V)
    body, kinds = summing(two=True)
    one, two = scanned(b, body, kinds, xs, s, s)
    close(b, s, 1.0, b.add(one, two))
    agree(b.node("n", (xs,), (one, two)))


def test_states_with_one_next_value_are_not_carried() -> None:
    b, x, p, q = Builder(), Var("x", V), Var("p0", V), Var("q0", V)
    next = Var("next", V)
    olds = [b.fby(start, next) for start in (p, q)]
    b.eqs.append(Equation((next,), Apply("add", (b.mul(olds[0], olds[1]), x))))
    body = Node("body", (x, p, q), (next,), b.eqs)
    assert not carried(Scan(body, (x, p, q), (True, False, False), ("last",), 3))


def test_what_is_computed_before_the_sweep_is_not_carried() -> None:
    """The next value does not come from the old one: an earlier sweep may have overwritten the start."""
    b, x, start = Builder(), Var("x", V), Var("start", V)
    body = Node("body", (x, start), (x, b.fby(start, x)), b.eqs)
    assert not carried(Scan(body, (x, start), (True, False), ("last", "stack"), 3))


def test_inputs_are_never_overwritten() -> None:
    b, xs, s = Builder(), Var("xs", ROWS), Var("s", V)
    body, kinds = summing()
    (after,) = scanned(b, body, kinds, xs, s)
    node = b.node("n", (xs, s), (after,))
    program = CProgram(lower(node))
    given = [np.ones(ROWS.shape, np.float32), np.full(V.shape, 3, np.float32)]
    program.step(given)
    np.testing.assert_array_equal(program.instance.inputs[1], given[1])
    agree(node)
