"""Budgets: a program whose tapes are cut into chunks has the bits of the one whose tapes are whole, and fits where it says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.binding import CProgram
from seiche.backends.interp import Interpreter
from seiche.check.causality import check as causal
from seiche.diff import api
from seiche.diff.checkpoint import Levels, Pair, checkpoint, pairs
from seiche.diff.resume import resumed
from seiche.errors import Loc, SeicheError
from seiche.ir.builder import Builder
from seiche.ir.clocks import infer
from seiche.ir.core import Fby, Node, Post, Scan, Var, walk
from seiche.numbers.formats import bool_, f32, f64, i32
from seiche.schedule.budget import bytes_of, every_pair, fitted, smallest
from seiche.schedule.distribute import distribute
from seiche.schedule.lower import Lowered, lower
from seiche.schedule.machine import schedule
from seiche.schedule.rowwise import row_by_row
from seiche.schedule.sweeps import sweeps
from tests import programs
from tests.agreement import program_of, same_bits
from tests.laws import _bytes, _equal, _states
from tests.test_diff import draw, everything, framed, gru_loss, over, real_inputs, rnn, total

pytestmark = pytest.mark.cc
HERE = Loc("test.py", 1)
Base = Callable[[Node], Node]


def cut(lowered: Lowered, choose: Callable[[Pair], Levels], base: Base = distribute) -> Lowered:
    node = checkpoint(base(lowered.node), choose)
    return replace(lowered, node=node, clocks=infer(node))


def agree(
    node: Node,
    arrays: list[np.ndarray],
    choose: Callable[[Pair], Levels],
    base: Base = distribute,
    compiled: bool = True,
) -> int:
    """Asserts equal bits of results and states, interpreted and as C; the number of pairs that were cut."""
    seen: list[Pair] = []

    def chosen(pair: Pair) -> Levels:
        seen.append(pair)
        return choose(pair)

    lowered = cut(lower(node), chosen, base)
    whole = program_of(node)
    with np.errstate(all="ignore"):
        wanted = whole.run(*arrays)
        for target in (Interpreter, CProgram)[: 1 + compiled]:
            program = program_of(node, lambda _, target=target: target(lowered))
            _equal(wanted, program.run(*arrays))
            _states(whole, program)
            if compiled and target is CProgram:
                _bytes(program)
    return len(seen)


def random_levels(seed: int) -> Callable[[Pair], Levels]:
    rng = np.random.default_rng((seed, 7))

    def choose(pair: Pair) -> Levels:
        levels = [int(rng.integers(1, pair.extent))]
        while levels[-1] > 1 and rng.random() < 0.4:
            levels.append(int(rng.integers(1, levels[-1])))
        return tuple(levels)

    return choose


def in_chunks(*levels: int) -> Callable[[Pair], Levels]:
    """These levels, as far as the rows go."""

    def choose(pair: Pair) -> Levels:
        found: list[int] = []
        for n in levels:
            if n < (found[-1] if found else pair.extent):
                found.append(n)
        return tuple(found)

    return choose


LEVELS = [(1,), (2,), (3,), (4,), (5,), (6,), (4, 2), (5, 3, 2)]
COMPILED = [(1,), (4,), (5, 3, 2)]
each_level = pytest.mark.parametrize("levels", LEVELS, ids=str)


# Equal in bits.


def rows_loss(n: int, length: bool, clocked: bool) -> Node:
    """The loss of `rnn`, with resets and samplings, over n rows or fewer."""
    cell = rnn(clocked)
    rows = [
        Var(f"{v.name}s", v.type.format[(n, *v.type.shape)], HERE)
        for v in cell.inputs
        if v.name in ("x", "r", "c")
    ]
    mapped = [v for v in cell.inputs if v.name in ("x", "r", "c")]
    fixed = [v for v in cell.inputs if v not in mapped]
    outer = [Var(v.name, v.type, HERE) for v in fixed]
    b, m = Builder(HERE), Var("n", i32[()], HERE)
    inner = replace(cell, inputs=(*mapped, *fixed))
    outs = over(
        b, inner, rows, outer, " ".join(["stack"] * len(cell.outputs)), m if length else None
    )
    loss = total(b, b.square(outs[0]))
    return b.node("rows", (*rows, *outer, *([m] if length else [])), (loss,))


@each_level
@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("clocked", [False, True])
def test_chunks_of_every_size_over_rows_with_resets(
    levels: Levels, length: bool, clocked: bool
) -> None:
    node = rows_loss(6, length, clocked)
    node = api.value_and_vjp(node, real_inputs(node))
    assert (
        agree(
            node,
            draw(node, 3, seed=sum(levels), rows=7),
            in_chunks(*levels),
            compiled=levels in COMPILED,
        )
        == 1
    )


@each_level
def test_scans_in_scans(levels: Levels) -> None:
    node = everything(True, True)
    node = api.value_and_grad(node, real_inputs(node))
    assert agree(node, draw(node, 3, seed=1), in_chunks(*levels), compiled=levels in COMPILED) == 1


@each_level
def test_frames(levels: Levels) -> None:
    node = framed()
    assert agree(node, draw(node, 17, seed=3), in_chunks(*levels), compiled=levels in COMPILED)


@each_level
@pytest.mark.parametrize(
    "base", [distribute, lambda n: distribute(row_by_row(n))], ids=["rows", "row by row"]
)
def test_a_gru(levels: Levels, base: Base) -> None:
    node = gru_loss(7)
    node = api.value_and_grad(node, real_inputs(node))
    assert agree(node, draw(node, 2, seed=4), in_chunks(*levels), base, levels in COMPILED) == 1


def test_gradients_of_gradients() -> None:
    node = gru_loss(5)
    wrt = real_inputs(node)
    b = Builder(HERE)
    parts = [total(b, b.square(g)) for g in b.inline(api.grad(node, wrt), node.inputs)]
    loss = parts[0]
    for part in parts[1:]:
        loss = b.add(loss, part)
    second = api.grad(b.node("second", node.inputs, (loss,)), wrt)
    assert agree(second, draw(second, 2, seed=5), in_chunks(2)) > 0


def random_sequence(seed: int) -> Node:
    """The gradient of a random body over 5 rows or fewer."""
    for attempt in range(40):
        rng = np.random.default_rng((seed, attempt, 3))
        types = [f64[()], f64[3], bool_[()], i32[()], bool_[()], f64[()]]
        body = programs.grow(rng, types, int(rng.integers(8, 40)), f64, 1, True)
        real = [v for v in body.outputs if v.type.format.is_float]
        if (
            causal(body, "rows", infer(body))[1]
            or not real
            or not any(isinstance(e.rhs, Fby) for e in body.eqs)
        ):
            continue
        body = replace(body, outputs=(real[0],))
        rows = [Var(f"{v.name}s", v.type.format[(5, *v.type.shape)], HERE) for v in body.inputs]
        b, m = Builder(HERE), Var("n", i32[()], HERE)
        (ys,) = over(b, body, rows, [], "stack", m if seed % 2 else None)
        node = b.node("random", (*rows, m), (total(b, b.square(ys)),))
        try:
            pulled = api.value_and_vjp(node, real_inputs(node))
            lower(pulled)
        except SeicheError:
            continue
        return pulled
    raise AssertionError(seed)


@pytest.mark.parametrize("seed", range(40))
def test_gradients_of_random_sequences(seed: int) -> None:
    node = random_sequence(seed)
    arrays = draw(node, 3, seed, rows=6)
    agree(node, arrays, random_levels(seed), compiled=seed % 4 == 0)
    agree(node, arrays, random_levels(seed), lambda n: distribute(row_by_row(n)), seed % 4 == 1)


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + 10):
        node = programs.random_program(seed, 60)
        arrays = programs.random_inputs(node, seed, 7)
        try:
            program_of(node).run(*arrays)
        except SeicheError:
            continue
        agree(
            node, arrays, random_levels(seed), lambda n: distribute(row_by_row(n)), seed % 10 == 0
        )


# The parts.


def test_distributed_scans_have_one_sweep() -> None:
    node = distribute(lower(api.value_and_grad(everything(True, True), (0, 1))).node)
    for inner in walk(node):
        for eq in inner.eqs:
            if isinstance(eq.rhs, Scan):
                assert len([s for s in sweeps(eq.rhs.body) if s.eqs]) == 1


def test_delays_go_on_from_inputs() -> None:
    b, x, k = Builder(HERE), Var("x", f32[()]), Var("k", bool_[()])
    zero = b.lit(0, f32[()])
    plain = b.fby(zero, x)
    again = b.fby(zero, x, k)
    slow = b.fby(zero, b.when(x, k))
    back = b.post(x, zero)
    found = resumed(
        b.node("n", (x, k), (plain, again, b.merge(k, slow, b.when(x, k, False)), back))
    )
    assert [d.forward for d in found.delays] == [True, True, True, False]
    assert len(found.body.inputs) == 6
    starts = {d.start for d in found.delays}
    for eq in found.body.eqs:
        if isinstance(eq.rhs, Fby):
            assert eq.rhs.init in starts and eq.rhs.reset is None
        if isinstance(eq.rhs, Post):
            assert eq.rhs.final in starts


def test_rows_that_others_read_stay() -> None:
    """What leaves the program is no tape."""
    node = gru_loss(4)
    node = api.value_and_grad(node, real_inputs(node))
    (pair,) = pairs(distribute(lower(node).node))
    assert all(v not in node.outputs for v in pair.kept)
    assert pair.extent == 4 and pair.state_bytes == 24


@pytest.mark.parametrize(
    ("rows", "state", "tape"), [(128, 256, 1280), (100, 8, 8), (97, 4, 400), (7, 1, 100)]
)
def test_more_levels_take_fewer_bytes(rows: int, state: int, tape: int) -> None:
    class Sized(Pair):
        extent, state_bytes, tape_bytes = rows, state, rows * tape  # type: ignore[assignment]

    pair = object.__new__(Sized)
    sizes = [rows * tape]
    for depth in range(1, 5):
        levels = smallest(pair, depth)
        if not levels:
            break
        total, n = 0, rows
        assert len(levels) <= depth
        for m in levels:
            assert 1 <= m < n
            total += -(-n // m) * state
            n = m
        sizes.append(total + n * tape)
    assert sizes == sorted(sizes, reverse=True) and len(sizes) > 1


def test_accumulators_are_carried_in_place() -> None:
    """The sums over the rows are as large as the parameters: chunks hold no second copy of them."""
    lowered = lower(learner(64).trace().node)
    names = [
        b.name
        for b in schedule(cut(lowered, in_chunks(8))).plan.of("scratch")
        if b.type == f32[16, 48]
    ]
    assert len(names) == 1


# Through the front.


def learner(rows: int, outside: bool = False) -> sc.Stream:
    """A GRU trained through `rows` rows; with `outside`, the loss is of whole tensors."""
    gru = sc.learn.GRU(4, 16)
    start = {"cell": gru.init(key=0), "out": np.full((16, 2), 0.1, np.float32)}

    def loss(w, xs, ys):
        def cell(x, y):
            return sc.square(gru(w["cell"], x) @ w["out"] - y).sum()

        if outside:
            hidden = sc.over_time(lambda x: gru(w["cell"], x))(xs)
            return sc.square(hidden @ w["out"] - ys).mean()
        return sc.over_time(cell)(xs, ys).mean()

    def train(xs, ys):
        w = sc.state(start)
        value, dw = sc.value_and_grad(loss)(w, xs, ys)
        w.next = {
            "cell": {k: w["cell"][k] - 0.1 * dw["cell"][k] for k in start["cell"]},
            "out": w["out"] - 0.1 * dw["out"],
        }
        return value, w.next["out"]

    train.__annotations__ = {"xs": sc.f32[rows, 4], "ys": sc.f32[rows, 2]}
    return sc.node(train)


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, rows, 4)).astype(np.float32), rng.normal(size=(3, rows, 2)).astype(
        np.float32
    )


@pytest.mark.parametrize("outside", [False, True])
def test_budgets_are_kept_and_bits_too(outside: bool) -> None:
    node = learner(64, outside)
    whole = sc.compile(node, target="c")
    wanted = whole.run(*data(64))
    most = whole.report().plan.struct_bytes
    work = whole.report().plan.operations
    before = most + 1
    for part in (1.0, 0.7, 0.45):
        budget = int(most * part)
        program = sc.compile(node, target="c", memory=budget)
        plan = program.report().plan
        assert plan.struct_bytes <= budget
        assert part == 1 or plan.struct_bytes < before
        assert plan.operations <= 2.2 * work
        before = plan.struct_bytes
        for a, b in zip(program.run(*data(64)), wanted):
            assert same_bits(a, b)
        for name in whole.state:
            assert same_bits(program.state[name], whole.state[name])


def test_what_fits_is_left_as_it_is() -> None:
    lowered = lower(learner(16).trace().node)
    size = schedule(lowered).plan.struct_bytes
    assert fitted(lowered, size) is lowered
    assert fitted(lowered, size - 1) is not lowered


def test_a_refusal_tells_what_would_do() -> None:
    node = learner(32)
    with pytest.raises(SeicheError, match="SE908") as refused:
        sc.compile(node, memory=100)
    found = re.search(r"needs ([\d,]+) at least", str(refused.value))
    assert found
    least = int(found[1].replace(",", ""))
    assert sc.compile(node, memory=least).report().plan.struct_bytes == least
    with pytest.raises(SeicheError, match="SE908"):
        sc.compile(node, memory=least - 1)
    assert "of state" in str(refused.value) and "test_checkpoint.py" in str(refused.value)


def test_a_frame_fits_a_budget() -> None:
    @sc.node
    def smoother(x: sc.f32[8], done: sc.bool_) -> sc.f32:
        with sc.frame(max=64, until=done) as fr:
            h = sc.state(sc.zeros((8,)))
            h.next = sc.tanh(h + sc.cumsum(x, 0))
            ahead = sc.costate(sc.zeros((8,)))
            ahead.prev = 0.5 * ahead * (1 - h.next * h.next) + sc.sin(h.next)
            loss = fr.sum(ahead.prev.sum())
        return sc.hold(loss, 0.0) if hasattr(sc, "hold") else loss

    whole = sc.compile(smoother, target="c")
    rng = np.random.default_rng(0)
    x, done = rng.normal(size=(150, 8)).astype(np.float32), rng.random(150) < 0.03
    size = whole.report().plan.struct_bytes
    small = sc.compile(smoother, target="c", memory=size - 1000)
    assert small.lowered.checkpoints
    assert same_bits(whole.run(x, done), small.run(x, done))


def test_the_report_says_what_was_cut() -> None:
    node = learner(64)
    most = sc.compile(node).report().plan.struct_bytes
    text = str(sc.compile(node, memory=most - 2000).report())
    assert (
        "tapes kept in chunks" in text and "of 64 rows" in text and f"instead of {most:,}" in text
    )
    assert "tapes kept" not in str(sc.compile(node).report())


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        (1, 1),
        ("7", 7),
        ("64KiB", 65536),
        ("64 kB", 64000),
        ("1.5MiB", 1572864),
        ("2GB", 2 * 10**9),
        ("3B", 3),
    ],
)
def test_budgets_as_text(memory: int | str, size: int) -> None:
    assert bytes_of(memory) == size


@pytest.mark.parametrize("memory", [0, -1, True, "", "many", "1 furlong", 1.5, None])
def test_what_is_no_budget(memory: object) -> None:
    with pytest.raises(SeicheError, match="SE908"):
        bytes_of(memory)  # type: ignore[arg-type]


def test_every_pair_of_a_program_has_a_name_of_its_own() -> None:
    for node in (api.value_and_grad(everything(True, True), (0, 1)), framed()):
        found = [p.kept[0] for p in every_pair(distribute(lower(node).node))]
        assert len(found) == len(set(found)) > 0
