"""From the lowered node to the machine: what has memory, what is done in place, in which loops; every case in the interpreter's bits."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seiche.backends.c.binding import CProgram
from seiche.errors import SeicheError
from seiche.ir.builder import Builder
from seiche.ir.core import Check, Equation, Fby, Node, Post, Var
from seiche.ir.loops import Binary, Buffer, For, Load, Name, Store, integer
from seiche.numbers.formats import Type, bf16, bool_, f32, f64, i32, u8
from seiche.schedule.arena import Lives, allocate, memory_format
from seiche.schedule.layout import Member, layout, self_layout
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from seiche.schedule.pull import flat_index
from seiche.schedule.target import host, target
from tests.machines import (
    B,
    F,
    I,
    accumulator_body,
    agree,
    close,
    gru,
    loops,
    machine_of,
    named,
    online_regression,
    scan,
    scratch,
    stores,
)
from tests.programs import random_program

pytestmark = pytest.mark.cc
V = f32[24]


def stored(node: Node) -> list[str]:
    """A name for each statement that stores; where loops are not written as vectors."""
    return [b.name for b in stores(schedule(lower(node), target("cortex-m7")).machine.step)]


# In place.


def test_a_gradient_step_needs_no_gradient_buffer() -> None:
    node = online_regression()
    assert max(scratch(node).values()) == 32
    assert stored(node).count("w") == 1
    agree(node)


def test_a_recurrent_cell_is_two_products_and_one_loop_of_gates() -> None:
    node = gru(5, 24)
    written = loops(machine_of(node).machine.step)
    of_gates = [s for s in written if s.stop.value == 24 and s.parallel]
    assert len(of_gates) == 1
    agree(node)


def test_an_old_value_is_read_before_it_is_overwritten() -> None:
    b, x, s = Builder(), Var("x", V), Var("s", V)
    after = b.add(s, x)
    close(b, s, 1.0, after)
    total = b.sum(s, axes=(0,))  # of the old value, asked for after the new one
    node = b.node("n", (x,), (after, total))
    assert not scratch(node)
    agree(node)


def test_a_reader_that_needs_the_new_value_too_costs_a_copy() -> None:
    b, x, s = Builder(), Var("x", V), Var("s", V)
    after = b.sort(b.add(s, x), axis=0, descending=False)
    close(b, s, 1.0, after)
    both = b.concat(s, after, axis=0)
    node = b.node("n", (x,), (both,))
    assert 24 in scratch(node).values()
    agree(node)


def test_reversing_reads_at_other_indices_and_is_not_in_place() -> None:
    b, x, s = Builder(), Var("x", V), Var("s", V)
    after = b.add(x, b.slice(s, start=(None,), stop=(None,), step=(-1,)))
    close(b, s, 0.0, after)
    node = b.node("n", (x,), (b.sum(after, axes=(0,)),))
    assert 24 in scratch(node).values()
    agree(node)


@pytest.mark.parametrize("size", [(), (5,), (1, 1)])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_states_that_exchange_their_values(count: int, size: tuple[int, ...]) -> None:
    b, x = Builder(), Var("x", f32[size])
    states = [Var(f"s{k}", f32[size]) for k in range(count)]
    for k, s in enumerate(states):
        close(b, s, float(k), states[(k + 1) % count])
    agree(b.node("n", (x,), tuple(b.add(s, x) for s in states)))


@pytest.mark.parametrize("seed", range(12))
def test_states_that_take_each_others_values_by_chance(seed: int) -> None:
    """Some swap, some wait for those that swap, some choose."""
    rng = np.random.default_rng((seed, 20))
    b, turns, size = Builder(), Var("turn", B), f32[3]
    states = [Var(f"s{k}", size) for k in range(int(rng.integers(2, 7)))]

    def taken() -> Var:
        return states[int(rng.integers(len(states)))]

    for k, s in enumerate(states):
        made = {
            "moves": taken,
            "chooses": lambda: b.select(b.broadcast(turns, shape=(3,)), taken(), taken()),
            "merges": lambda: b.merge(turns, b.when(taken(), turns), b.when(taken(), turns, False)),
            "adds": lambda: b.add(taken(), taken()),
            "turns": lambda: b.slice(taken(), start=(None,), stop=(None,), step=(-1,)),
        }
        close(b, s, float(k), made[str(rng.choice(list(made)))]())
    agree(b.node("n", (turns,), tuple(b.sum(s, axes=(0,)) for s in states)))


def test_a_delay_line_of_states() -> None:
    b, x = Builder(), Var("x", V)
    taps = [x]
    for k in range(4):
        taps.append(b.fby(b.lit(0.5, V), taps[-1], name=f"tap{k}"))
    node = b.node("n", (x,), (b.add(taps[4], taps[1]),))
    assert not scratch(node)
    agree(node)


def test_two_states_with_one_next_value_and_a_state_that_is_constant() -> None:
    b, x = Builder(), Var("x", V)
    s, t, u = (Var(n, V) for n in "stu")
    after = b.tanh(b.add(s, x))
    close(b, s, 0.0, after)
    close(b, t, 1.0, after)
    close(b, u, 2.0, b.lit(3.0, V))
    agree(b.node("n", (x,), (b.add(b.add(s, t), u), after, after)))


def test_a_state_keeps_its_value() -> None:
    b, x, s = Builder(), Var("x", V), Var("s", V)
    close(b, s, 4.0, s)
    node = b.node("n", (x,), (b.add(x, s),))
    assert "s" not in stored(node)
    agree(node)


# Clocks.


def held(b: Builder, c: Var, state: Var, yes: Var) -> Var:
    return named(b.merge(c, yes, b.when(state, c, False)), "held")


def test_a_ring_is_updated_in_place_on_its_clock() -> None:
    b, x, c, i = Builder(), Var("x", f32[4]), Var("c", B), Var("i", I)
    ring = Var("ring", f32[8, 4])
    now = held(b, c, ring, b.update(b.when(ring, c), b.when(x, c), b.when(i, c), axis=0))
    close(b, ring, 0.0, now)
    node = b.node("n", (x, c, i), (b.sum(now, axes=(0,)),))
    assert not scratch(node)
    assert stored(node).count("ring") == 1
    agree(node)


def test_hold_copies_only_where_the_condition_holds() -> None:
    b, x, c, s = Builder(), Var("x", V), Var("c", B), Var("s", V)
    now = held(b, c, s, b.when(b.mul(x, x), c))
    close(b, s, 0.0, now)
    node = b.node("n", (x, c), (now,))
    assert not scratch(node)
    agree(node)


def test_a_next_value_of_a_faster_clock_does_not_touch_a_sleeping_state() -> None:
    b, x, c = Builder(), Var("x", V), Var("c", B)
    twice = b.concat(x, x, axis=0)
    s = b.fby(b.lit(1.0, f32[48]), b.when(twice, c), name="s")
    agree(b.node("n", (x, c), (s, b.sum(twice, axes=(0,)))))


def test_branches_of_a_merge_write_into_its_memory() -> None:
    b, x, c = Builder(), Var("x", V), Var("c", B)
    yes = b.sort(b.when(x, c), axis=0, descending=False)
    no = b.cumsum(b.when(x, c, False), axis=0, reverse=False)
    node = b.node("n", (x, c), (b.merge(c, yes, no),))
    assert not scratch(node)
    agree(node)


def test_a_branch_that_is_read_again_after_the_merge() -> None:
    b, x, c, d = Builder(), Var("x", V), Var("c", B), Var("d", B)
    yes = b.sort(b.when(x, c), axis=0, descending=False)
    m = b.merge(c, yes, b.when(x, c, False))
    again = b.merge(d, b.when(m, d), b.when(x, d, False))
    agree(b.node("n", (x, c, d), (m, again, b.sum(yes, axes=(0,)))))


def test_nested_clocks_states_and_resets() -> None:
    b, x, c, d, r = Builder(), Var("x", V), Var("c", B), Var("d", B), Var("r", B)
    xc, rc = b.when(x, c), b.when(r, c)
    dc = b.when(d, c)
    s = Var("s", V)
    inner = b.when(b.add(s, xc), dc)
    close(b, s, 0.5, b.merge(dc, inner, b.when(s, dc, False)), rc)
    n = Var("n", I)
    close(b, n, 0, b.add(n, b.lit(1, I)), r)
    out = b.merge(c, s, b.when(x, c, False))
    agree(b.node("n", (x, c, d, r), (out, inner, n, b.when(n, d))), 40)


def test_scalars_of_a_clock_are_seen_in_each_of_its_blocks() -> None:
    b, x, c = Builder(), Var("x", F), Var("c", B)
    xc = b.when(x, c)
    root = b.exp(xc)
    wide = b.broadcast(root, shape=(9,))
    agree(
        b.node(
            "n",
            (x, c),
            (b.add(wide, wide), root, b.merge(c, b.mul(root, root), b.when(x, c, False))),
        )
    )


def test_checks_stick_until_the_reset() -> None:
    b, x, c = Builder(), Var("x", F), Var("c", B)
    small = b.lt(x, b.lit(0.5, F))
    sometimes = b.when(b.gt(x, b.lit(-0.5, F)), c)
    s = Var("s", F)
    close(b, s, 0.0, b.add(s, x))
    node = b.node("n", (x, c), (s,))
    node.checks = tuple(Check(v, "SE602", "t", v.loc) for v in (small, sometimes))
    node.eqs += [e for e in b.eqs if e not in node.eqs]
    for seed in range(6):
        agree(node, seed=seed)


# Scans.


def backward_body() -> Node:
    """A costate beside a state; both leave."""
    b, x, r = Builder(), Var("x", f32[3]), Var("r", B)
    later, s = Var("later", f32[3]), Var("s", f32[3])
    now = b.add(x, b.mul(b.lit(0.5, f32[3]), later))
    b.eqs.append(Equation((later,), Post(now, b.lit(1.0, f32[3]), r)))
    after = b.add(b.tanh(s), now)
    close(b, s, 0.0, after, r)
    return b.node("both", (x, r), (now, after))


@pytest.mark.parametrize("kinds", list(itertools.product(["stack", "first", "last"], repeat=2)))
@pytest.mark.parametrize("with_length", [False, True])
def test_sweeps_in_both_directions(kinds: tuple[str, str], with_length: bool) -> None:
    b, x, r, n = Builder(), Var("x", f32[7, 3]), Var("r", bool_[7]), Var("n", I)
    length = b.add(n, b.lit(1, I)) if with_length else None
    agree(b.node("n", (x, r, n), scan(b, backward_body(), (x, r), kinds, 7, length)))


def test_an_accumulator_lives_in_the_result() -> None:
    b, x, y, n = Builder(), Var("x", f32[16, 8]), Var("y", f32[16, 6]), Var("n", I)
    node = b.node("n", (x, y, n), scan(b, accumulator_body(8, 6), (x, y), ("last",), 16, n))
    assert not scratch(node)
    agree(node)


def test_a_scan_in_a_scan() -> None:
    inner = Builder()
    x, s = Var("x", f32[()]), Var("s", f32[()])
    after = inner.add(s, x)
    close(inner, s, 0.0, after)
    cell = inner.node("inner", (x,), (after,))
    outer = Builder()
    rows, best = Var("rows", f32[5]), Var("best", f32[5])
    (sums,) = scan(outer, cell, (rows,), ("stack",), 5)
    after = outer.maximum(best, sums)
    close(outer, best, -1.0, after)
    b, whole = Builder(), Var("whole", f32[4, 5])
    node = b.node(
        "n",
        (whole,),
        scan(b, outer.node("outer", (rows,), (sums, after)), (whole,), ("stack", "last"), 4),
    )
    agree(node)
    assert [s.depth for s in machine_of(node).plan.sweeps] == [1, 0]


def test_what_no_row_changes_is_computed_before_the_first() -> None:
    body = Builder()
    x, w = Var("x", f32[3]), Var("w", f32[3])
    once = named(body.exp(w), "once")
    node = body.node("body", (x, w), (body.mul(x, once), once))
    b, rows, v = Builder(), Var("rows", f32[6, 3]), Var("v", f32[3])
    from seiche.ir.core import Scan

    rhs = Scan(node, (rows, v), (True, False), ("stack", "last"), 6)
    outs = b.define_many(rhs, (f32[6, 3], f32[3]), ("y", "z"))
    whole = b.node("n", (rows, v), outs)
    (exp,) = (e for e in machine_of(whole).plan.equations if e.what == "exp")
    assert exp.trips == 1
    agree(whole)


def test_an_output_of_a_scan_may_be_an_argument_or_a_constant() -> None:
    body = Builder()
    x, w = Var("x", f32[3]), Var("w", f32[3])
    k = body.lit([1.0, 2.0, 3.0], f32[3])
    node = Node("body", (x, w), (x, w, k, x), body.eqs)
    from seiche.ir.core import Scan

    b, rows, v, n = Builder(), Var("rows", f32[6, 3]), Var("v", f32[3]), Var("n", I)
    rhs = Scan(node, (rows, v), (True, False), ("stack", "stack", "stack", "last"), 6, n)
    outs = b.define_many(rhs, (f32[6, 3], f32[6, 3], f32[6, 3], f32[3]), tuple("pqrs"))
    agree(b.node("n", (rows, v, n), outs))


# What is computed where.


def test_a_long_chain_is_cut() -> None:
    b, x = Builder(), Var("x", f32[3])
    y = x
    for _ in range(300):
        y = b.add(y, x)
    agree(b.node("n", (x,), (y,)), 2)


def test_what_is_repeated_is_computed_once() -> None:
    b, x = Builder(), Var("x", f32[6])
    wide = b.broadcast(b.reshape(b.exp(x), shape=(6, 1)), shape=(6, 50))
    node = b.node("n", (x,), (b.add(wide, wide),))
    assert 6 in scratch(node).values()
    agree(node, 3)


def test_a_product_in_a_sum_needs_no_memory() -> None:
    b, x, y = Builder(), Var("x", f32[100]), Var("y", f32[100])
    node = b.node("n", (x, y), (b.sum(b.mul(x, y), axes=(0,)),))
    assert not scratch(node)
    agree(node, 3)


def test_reshaping_there_and_back_leaves_plain_indices() -> None:
    i = Name("i", i32)
    assert flat_index((i / 12, (i / 4) % 3, i % 4), (5, 3, 4)) is i
    mixed = flat_index((i / 4, i % 4), (5, 3))
    assert isinstance(mixed, Binary) and mixed.op == "+"
    assert flat_index((integer(1), i), (2, 7)).left.value == 7


@pytest.mark.parametrize("format", [bf16, f64, i32, u8])
def test_small_formats_are_rounded_after_each_op(format: object) -> None:
    b, x = Builder(), Var("x", format[4, 5])
    y = b.add(b.mul(x, x), x)
    product = b.matmul(y, b.transpose(x, perm=(1, 0)))
    agree(b.node("n", (x,), (y, product, b.sum(y, axes=(1,)))), 4)


@pytest.mark.parametrize("how", ["twice", "input", "constant", "state"])
def test_odd_outputs(how: str) -> None:
    b, x, s = Builder(), Var("x", f32[3]), Var("s", f32[3])
    close(b, s, 1.0, b.add(s, x))
    y = b.neg(x)
    outs = {
        "twice": (y, y),
        "input": (x, y),
        "constant": (b.lit([1, 2, 3], f32[3]), y),
        "state": (s, s),
    }[how]
    agree(Node("n", (x,), outs, b.eqs), 4)


# Constants.


def test_constants_large_small_equal_and_uniform() -> None:
    rng = np.random.default_rng(0)
    big, small = rng.normal(size=40), rng.normal(size=4)
    b, x, y = Builder(), Var("x", f32[40]), Var("y", f32[4])
    outs = [
        b.add(b.mul(x, b.lit(big, f32[40], "big")), b.lit(big, f32[40])),
        b.add(x, b.lit(7.0, f32[40])),
    ]
    outs.append(b.mul(y, b.lit(small, f32[4])))
    machine = machine_of(b.node("n", (x, y), tuple(outs))).machine
    assert [(v.name, v.type.size) for v, _ in machine.weights] == [("big", 40)]
    assert [v.type.size for v, _ in machine.tables] == [4]


# Memory.


def test_layout_follows_the_alignment_of_each_member() -> None:
    members = [
        Member("a", "f64", 8, 3),
        Member("p", "pointer", 8, None),
        Member("b", "f32", 4, 3),
        Member("c", "u8", 1, 5),
    ]
    whole = layout(members)
    assert whole.offsets == {"a": 0, "p": 24, "b": 32, "c": 44} and whole.size == 56
    assert layout([Member("c", "u8", 1, 5)]).size == 5


def test_a_pointer_of_four_bytes_leaves_no_gap() -> None:
    lowered = lower(gru(4, 8))
    narrow = replace(host(), pointer=4)
    wide, narrow = (schedule(lowered, t).plan.struct_bytes for t in (host(), narrow))
    assert wide - narrow == 4


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_what_lives_together_lies_apart(seed: int) -> None:
    try:
        scheduled = schedule(lower(random_program(seed)))
    except SeicheError:
        pytest.skip("refused")
    machine = scheduled.machine
    facts = {f.name: f for f in scheduled.plan.of("scratch")}
    assert set(facts) == {b.name for b in machine.scratch}
    for a, b in itertools.combinations(machine.scratch, 2):
        p, q = facts[a.name], facts[b.name]
        if memory_format(a) is memory_format(b) and p.first <= q.last and q.first <= p.last:
            assert p.offset + p.nbytes <= q.offset or q.offset + q.nbytes <= p.offset, (p, q)
    whole = self_layout(machine)
    assert whole.size == scheduled.plan.struct_bytes
    assert all(f.offset + f.nbytes <= whole.size for f in scheduled.plan.of("state"))


def test_lives_end_where_the_last_reader_is_and_cover_loops_that_carry() -> None:
    a, b, c = (Buffer(n, f32[4], "scratch") for n in "abc")
    zero = integer(0)
    inside = [Store(b, (zero,), Load(a, (zero,))), Store(c, (zero,), Load(b, (zero,)))]
    loop = For(Name("i", i32), zero, integer(3), inside)
    block = [Store(a, (zero,), zero), loop, Store(a, (zero,), Load(c, (zero,)))]
    found = Lives(block, {}).life
    assert found == {a: (0, 4), b: (2, 3), c: (1, 4)}
    assert Lives(block, {b: loop}).life[b] == (1, 3)
    placed = allocate(block, {}, [a, b, c])
    assert placed.sizes == {f32: 12}


def test_scratch_is_shared_by_buffers_that_follow_each_other() -> None:
    b, x = Builder(), Var("x", f32[50])
    y = x
    for _ in range(6):
        y = b.cumsum(y, axis=0, reverse=False)
    plan = machine_of(b.node("n", (x,), (y,))).plan
    assert plan.scratch_bytes == 2 * 200 and plan.operations > 0


def test_facts_name_the_users_lines() -> None:
    plan = machine_of(gru(3, 20)).plan
    assert {f.user_name for f in plan.of("state")} == {"h"}
    assert plan.state_bytes == 80 and plan.in_bytes == 12 and plan.out_bytes == 80
    assert plan.weights_bytes == 4 * (3 * 60 + 20 * 60 + 120)
    matmuls = [e for e in plan.equations if e.what == "matmul"]
    assert sum(e.operations for e in matmuls) == 2 * 60 * 23


def test_two_programs_of_one_node_are_equal() -> None:
    first, second = (CProgram(lower(gru(3, 20))) for _ in range(2))
    assert first.sources == second.sources
    assert first.library.path == second.library.path


def test_the_text_is_the_same_in_every_process() -> None:
    code = "from tests.programs import random_program as r; from tests.machines import machine_of as m; "
    code += "from seiche.backends.c.printer import print_c; import zlib; "
    code += (
        "print([zlib.crc32(print_c(m(r(s)).machine).source.encode()) for s in (0, 1, 2, 3, 5, 8)])"
    )
    root = Path(__file__).parent.parent
    said = [
        subprocess.run(
            [sys.executable, "-c", junk + code],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
        ).stdout
        for junk in ("", "junk = [object() for _ in range(12345)]; ")
    ]
    assert said[0] == said[1]


def test_none_as_initial_value_is_zeros() -> None:
    b, x = Builder(), Var("x", Type(f32, (2,)))
    old = Var("old", f32[2])
    b.eqs.append(Equation((old,), Fby(None, x)))
    first = b.fby(b.lit(True, B), b.lit(False, B))
    shown = b.select(b.broadcast(first, shape=(2,)), x, old)
    agree(b.node("n", (x,), (shown,)))
