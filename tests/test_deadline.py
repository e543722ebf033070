"""Deadlines: spread over ticks, the work of a slower clock gives the bits of the program whose results leave one of its ticks later.

The reference says so in equations of its own (`late`): a state per result, on the slow clock, and nothing at its first tick.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.binding import CProgram
from seiche.backends.interp import Interpreter
from seiche.backends.interp import Plan as Interpreted
from seiche.check.causality import check as causal
from seiche.errors import Loc, SeicheError
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.clocks import infer
from seiche.ir.core import Equation, Fby, Merge, Node, Var, When
from seiche.numbers.formats import Type, bool_, f32, f64, i32
from seiche.schedule.amortise import amortised
from seiche.schedule.deadline import limit_of
from seiche.schedule.distribute import distribute
from seiche.schedule.lower import Lowered, lower
from seiche.schedule.slots import Region, cost
from tests import programs
from tests.agreement import program_of, same_bits
from tests.laws import _bytes, _equal

Array = np.ndarray[Any, Any]
HERE = Loc("test.py", 1)


# The reference.


def late(lowered: Lowered, cond: Var) -> Lowered:
    """The lowered node, what leaves the clock `cond` one of its ticks late, and absent at the first."""
    node, clocks, b = lowered.node, lowered.clocks, Builder(HERE)
    fixed = {v for v in node.definitions() if not clocks[v]}
    seen = b.define(When(cond, cond), Type(bool_), "tick")
    before = b.fby(b.lit(False, bool_[()]), seen, name="before")

    def of(v: Var) -> Var:
        """v at the ticks of the clock but the first."""
        if v in fixed:
            return v
        path, value = clocks[v][1:], v
        for c, on in reversed(path):
            zero = b.lit(0, v.type)
            value = b.merge(c, *((value, zero) if on else (zero, value)))
        value = b.when(b.fby(None, value), before)
        for c, on in path:
            value = b.when(value, of(c), on)
        return value

    def inside(v: Var) -> bool:
        return clocks[v][:1] == ((cond, True),)

    eqs: list[Equation] = []
    for eq in node.eqs:
        rhs = eq.rhs
        if isinstance(rhs, Merge) and rhs.cond is cond and not inside(eq.out):
            other = node.definitions()[rhs.no].rhs
            assert isinstance(other, When)
            now = b.when(b.when(other.arg, cond), before, False)
            rhs = Merge(cond, b.merge(before, of(rhs.yes), now), rhs.no)
        eqs.append(Equation(eq.outs, rhs))
    outputs = tuple(of(v) if inside(v) else v for v in node.outputs)
    node = replace(node, eqs=[*eqs, *b.eqs], outputs=outputs)
    return replace(lowered, node=node, clocks=infer(node))


# Random programs.


def grown(seed: int, n: int | None) -> Node | None:
    """A random node on the clock of every n-th tick (None: where an input says so), which it feeds, and which feeds it back."""
    rng = np.random.default_rng((seed, 5))
    b, real = Builder(HERE), (f32, f64)[seed % 2]
    x = Var("x", real[(3,)], HERE)
    go: Var | None = Var("go", bool_[()], HERE)
    inputs: tuple[Var, ...] = (x, go)
    kept = Var("kept", real[()], HERE)
    before = b.fby(b.lit(0.5, real[()]), kept, name="before")
    row = b.add(x, b.broadcast(before, shape=(3,)))
    rows = 6 if n is None else n
    count = Var("count", i32[()], HERE)
    if n is not None:
        go, inputs = b.eq(count, b.lit(n - 1, i32[()])), (x,)
    zero = b.lit(0, i32[()])
    after = b.select(go, zero, b.add(count, b.lit(1, i32[()])))
    b.eqs.append(Equation((count,), Fby(zero, after)))
    buffer = Var("buffer", real[(rows, 3)], HERE)
    filled = b.update(buffer, row, count, axis=0)
    b.eqs.append(Equation((buffer,), Fby(None, filled)))
    types = [real[(3,)], real[(rows, 3)], real[()], i32[()], bool_[()]]
    inside = programs.grow(rng, types, int(rng.integers(8, 40)), real, 2, False)
    flag = b.gt(before, b.lit(0.2, real[()]))
    given = (row, filled, before, count, flag)
    results = b.inline(inside, tuple(b.when(v, go) for v in given))
    clocks = infer(inside)
    back = [
        v
        for v, old in zip(results, inside.outputs, strict=True)
        if v.type == real[()] and not clocks[old]
    ]
    slow = b.tanh(back[0]) if back else b.when(b.index(x, zero, axis=0), go)
    b.eqs.append(Equation((kept,), Merge(go, slow, b.when(before, go, False))))
    node = b.node("random", inputs, (kept, *results))
    return None if causal(node, "node", infer(node))[1] else node


def spread(lowered: Lowered, cond: Var, quota: int) -> tuple[Lowered, int]:
    """The node with that clock's work in slots, and the ticks that it takes."""
    region = Region(lowered.node, infer(lowered.node), cond, True)
    done = amortised(region, region.slots(quota), watched=True)
    groups = ((*(frozenset([g]) for g in done.gates), frozenset([done.done, cond])),)
    late = (0,) * (len(done.node.checks) - len(lowered.check_latency))
    changed = replace(
        lowered, node=done.node, clocks=infer(done.node), exclusive=groups,
        check_latency=(*lowered.check_latency, *late),
    )  # fmt: skip
    return changed, sum(slot.ticks for slot in done.slots)


def streams(node: Node, seed: int, ticks: int, apart: int) -> list[Array]:
    """Inputs; the condition holds so many ticks apart at least."""
    rng = np.random.default_rng((seed, 9))
    given = programs.random_inputs(node, seed, ticks)
    for k, v in enumerate(node.inputs):
        if v.name == "go":
            at = np.cumsum(rng.integers(apart, 2 * apart + 2, ticks))
            given[k] = np.isin(np.arange(ticks), at - int(rng.integers(1, apart + 1)))
    return given


def trial(seed: int, n: int | None) -> bool:
    """Whether a random program could be spread; asserts that it then keeps the bits of the reference, interpreted and as C."""
    node = grown(seed, n)
    if node is None:
        return False
    try:
        lowered = lower(node)
    except SeicheError:  # look-ahead on a sub-clock
        return False
    lowered = replace(lowered, node=distribute(lowered.node))
    lowered = replace(lowered, clocks=infer(lowered.node))
    merge = next(eq.rhs for eq in lowered.node.eqs if eq.outs[0].name == "kept")
    assert isinstance(merge, Merge)
    rng = np.random.default_rng((seed, 3))
    quota = int(4 ** rng.uniform(1, 5))
    try:
        changed, work = spread(lowered, merge.cond, quota)
    except SeicheError as error:
        assert error.code == "SE912"
        return False
    if n is not None and work >= n:
        return False
    wanted = program_of(node, lambda _: Interpreter(late(lowered, merge.cond)))
    arrays = streams(node, seed, 5 * (n or work + 2), work + 1)
    with np.errstate(all="ignore"):
        try:
            expected = wanted.run(*arrays)
        except SeicheError:  # a frame inside overflowed
            return False
        for target in (Interpreter, CProgram):
            program = program_of(node, lambda _, target=target: target(changed))
            program.lowered = changed
            _equal(expected, program.run(*arrays))
            if target is CProgram:
                _bytes(program)
    return True


@pytest.mark.cc
@pytest.mark.parametrize("seed", range(48))
def test_random_work_spread_over_ticks_keeps_its_bits(seed: int) -> None:
    """Half of the programs can be spread; so many must be among these."""
    trial(seed, (None, 12, 40)[seed % 3])


def test_random_programs_are_spread_at_all() -> None:
    assert sum(_spreads(seed) for seed in range(48)) >= 16


def _spreads(seed: int) -> bool:
    """As `trial`, without running anything."""
    n = (None, 12, 40)[seed % 3]
    node = grown(seed, n)
    try:
        lowered = lower(node) if node else None
        cond = (
            next(eq.rhs for eq in lowered.node.eqs if eq.outs[0].name == "kept").cond
            if lowered
            else None
        )
        return lowered is not None and spread(lowered, cond, 64)[1] < (n or 1000)
    except SeicheError:
        return False


# Learners.


def loss(w: Any, xs: Any, ys: Any) -> Any:
    def cell(x: Any, y: Any) -> Any:
        h = sc.state(np.zeros(4, np.float32))
        h.next = sc.tanh(w @ h + x)
        return sc.square(h.next - y).sum()

    return sc.over_time(cell)(xs, ys).mean()


def step(w: Any, xs: Any, ys: Any) -> Any:
    value, dw = sc.value_and_grad(loss)(w, xs, ys)
    w.next = w - 0.1 * dw
    return value


START = np.full((4, 4), 0.1, np.float32)


@sc.node
def learner(x: sc.f32[4], y: sc.f32[4], n: int = 16) -> Any:
    """The loss of each frame, the parameters after it, and a prediction with the latest."""
    w = sc.state(START)
    value = step(w, *sc.gather((x, y), n))
    return value, w.next, sc.hold(w.next, START) @ x


@sc.node
def late_learner(x: sc.f32[4], y: sc.f32[4], n: int = 16) -> Any:
    """The same; what leaves the frames leaves with the next close."""
    w = sc.state(START)
    value = step(w, *sc.gather((x, y), n))
    before, learned = sc.state(0.0), sc.state(START)
    before.next, learned.next = value, w.next
    return before, learned, sc.hold(learned, START) @ x


@sc.node
def episodes(x: sc.f32[4], y: sc.f32[4], done: sc.bool_) -> Any:
    """Frames of a length that is known late, with costates, a sum and a stack; a state of the frames' clock."""
    w = sc.state(np.zeros(4, np.float32))
    with sc.frame(max=24, until=done) as fr:
        ahead = sc.costate(0.0)
        ahead.prev = (x * y).sum() + 0.9 * ahead
        h = sc.state(np.zeros(4, np.float32))
        h.next = sc.tanh(0.5 * h + x + w)
        gain, rows = fr.sum(ahead.prev * h.next), fr.stack(h.next)
    w.next = w + 0.1 * gain + rows.sum(axis=0)
    return w.next, rows


@sc.node
def late_episodes(x: sc.f32[4], y: sc.f32[4], done: sc.bool_) -> Any:
    w, rows = episodes(x, y, done)
    learned, kept = sc.state(np.zeros(4, np.float32)), sc.state(np.zeros((24, 4), np.float32))
    learned.next, kept.next = w, rows
    return learned, kept


def rows(ticks: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(ticks, 4)).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


def closes(ticks: int, least: int, seed: int = 0) -> Array:
    """Frames of `least` to 24 ticks."""
    at = np.cumsum(np.random.default_rng(seed).integers(least, 25, ticks))
    return np.isin(np.arange(ticks), at)


def same(results: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Equal bits; the reference gives something at the first close, too."""
    for got, expected in zip(results, wanted, strict=True):
        if isinstance(expected, np.ndarray):
            assert same_bits(got, expected)
        else:
            assert got.ticks.tolist() == expected.ticks[1:].tolist()
            assert same_bits(got.values, expected.values[1:])


@pytest.mark.cc
@pytest.mark.parametrize("target", ["interp", "c"])
@pytest.mark.parametrize("deadline", ["1.8x", "2.5x", "5x"])
def test_a_learner_is_one_frame_late(target: Any, deadline: str) -> None:
    program = sc.compile(learner, target=target, deadline=deadline)
    assert program.lowered.deadline.spread
    same(program.run(*rows(100)), sc.compile(late_learner, target=target).run(*rows(100)))


@pytest.mark.cc
@pytest.mark.parametrize("n", [7, 13, 16])
def test_frames_of_any_length(n: int) -> None:
    program = sc.compile(learner, target="c", deadline="3x", n=n)
    same(program.run(*rows(100)), sc.compile(late_learner, n=n).run(*rows(100)))


@pytest.mark.cc
@pytest.mark.parametrize("target", ["interp", "c"])
@pytest.mark.parametrize("seed", range(4))
def test_frames_that_data_closes(target: Any, seed: int) -> None:
    program = sc.compile(episodes, target=target, deadline=700)
    (fact,) = program.lowered.deadline.spread
    assert fact.gap is None
    given = (*rows(200, seed), closes(200, fact.ticks + 1, seed))
    same(program.run(*given), sc.compile(late_episodes, target=target).run(*given))


@sc.node
def both(x: sc.f32[4], y: sc.f32[4], again: sc.bool_) -> Any:
    """Two learners with frames of their own, one of which is reset."""
    one = part(x, y, n=16, reset=again)
    two = part(y, x, n=20)
    return *one, *two, sc.hold(one[1], START) @ x


@sc.node
def part(x: sc.f32[4], y: sc.f32[4], n: int = 16) -> Any:
    w = sc.state(START)
    return step(w, *sc.gather((x, y), n)), w.next


@sc.node
def late_both(x: sc.f32[4], y: sc.f32[4], again: sc.bool_) -> Any:
    one, two = part(x, y, n=16, reset=again), part(y, x, n=20)
    kept = [sc.state(0.0), sc.state(START), sc.state(0.0), sc.state(START)]
    for memory, value in zip(kept, (*one, *two), strict=True):
        memory.next = value
    return *kept, sc.hold(kept[1], START) @ x


@pytest.mark.cc
@pytest.mark.parametrize("target", ["interp", "c"])
def test_frames_of_two_lengths_and_a_reset(target: Any) -> None:
    program = sc.compile(both, target=target, deadline=1200)
    assert [fact.gap for fact in program.lowered.deadline.spread] in ([16, 20], [20, 16])
    again = np.zeros(150, bool)
    again[[37, 90, 91, 130]] = True
    wanted = sc.compile(late_both, target=target).run(*rows(150), again)
    same(program.run(*rows(150), again), wanted)


def running(x: Any) -> Any:
    h = sc.state(np.zeros(4, np.float32))
    h.next = sc.tanh(START @ h + x)
    return h.next


@sc.node
def carried(x: sc.f32[4]) -> Any:
    """A scan that goes on where that of the frame before ended."""
    return sc.over_time(running, carry=True)(sc.gather(x, 16))


@sc.node
def late_carried(x: sc.f32[4]) -> Any:
    before = sc.state(np.zeros((16, 4), np.float32))
    before.next = carried(x)
    return before


@pytest.mark.cc
@pytest.mark.parametrize("target", ["interp", "c"])
def test_memory_that_goes_on_from_frame_to_frame(target: Any) -> None:
    program = sc.compile(carried, target=target, deadline="2.5x")
    (fact,) = program.lowered.deadline.spread
    assert fact.slots[0].rows and fact.states
    same([program.run(rows(100)[0])], [sc.compile(late_carried).run(rows(100)[0])])


def test_both_a_deadline_and_a_budget() -> None:
    fact = sc.compile(learner, deadline="2.5x").lowered.deadline
    program = sc.compile(learner, deadline="2.5x", memory=fact.bytes)
    assert program.lowered.deadline == fact
    with pytest.raises(SeicheError) as error:
        sc.compile(learner, deadline="2.5x", memory=fact.bytes // 3)
    assert error.value.code == "SE908"


@pytest.mark.cc
@pytest.mark.parametrize("target", ["interp", "c"])
def test_a_short_frame_is_no_error_where_the_work_before_was_short(target: Any) -> None:
    program = sc.compile(episodes, target=target, deadline=700)
    (fact,) = program.lowered.deadline.spread
    done = np.zeros(40, bool)
    done[[3, 3 + fact.ticks - 2, 23]] = True
    program.run(*rows(40), done)
    done[:] = False
    done[[23, 23 + fact.ticks]] = True
    with pytest.raises(SeicheError) as error:
        sc.compile(episodes, target=target, deadline=700).run(*rows(40), done)
    assert error.value.code == "SE913" and f"at tick {23 + fact.ticks}" in str(error.value)


@pytest.mark.long
@pytest.mark.cc
def test_saved_in_the_midst_of_the_work(tmp_path: Path) -> None:
    xs, ys = rows(100)
    whole = sc.compile(learner, target="c", deadline="2.5x").run(xs, ys)[2]
    for cut in (16, 21, 31, 40):
        one, two = (sc.compile(learner, target=t, deadline="2.5x") for t in ("c", "interp"))
        first = one.run(xs[:cut], ys[:cut])[2]
        one.state.save(tmp_path / "state.npz")
        two.state.load(tmp_path / "state.npz")
        assert same_bits(np.concatenate([first, two.run(xs[cut:], ys[cut:])[2]]), whole)


def test_xla_runs_what_is_spread() -> None:
    pytest.importorskip("jax")
    program = sc.compile(learner, target="xla", deadline="2.5x")
    wanted = sc.compile(late_learner).run(*rows(60))
    for got, expected in zip(program.run(*rows(60))[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(got.values, expected.values[1:], rtol=1e-4, atol=1e-6)


# Bounds.


def counted(program: Any, *streams: Array) -> Iterator[int]:
    """The operations of each tick, as the interpreter does them."""
    done = 0
    equation = Interpreted.equation

    def counting(self: Any, eq: Equation, env: Any, memory: Any) -> None:
        nonlocal done
        done += 0 if isinstance(eq.rhs, core.Scan) else cost(eq)
        equation(self, eq, env, memory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interpreted, "equation", counting)
        for given in zip(*streams, strict=True):
            done = 0
            program.step(*given)
            yield done


def test_no_tick_does_more_than_the_report_says() -> None:
    n = 64
    program, whole = (sc.compile(learner, deadline=d, n=n) for d in ("2.2x", None))
    work = np.array(list(counted(program, *rows(4 * n))))
    before = np.array(list(counted(whole, *rows(4 * n))))
    fact = program.lowered.deadline
    assert work.max() <= fact.worst <= fact.limit == int(2.2 * fact.mean_before)
    assert fact.worst_before >= before.max() > 20 * work.max()
    assert work.max() <= 2.5 * work[n:].mean()
    assert work[n:].mean() <= fact.mean <= 1.2 * fact.mean_before
    assert program.report().plan.operations == fact.worst


def test_only_the_rows_are_held_twice() -> None:
    """Tapes and parameters lie in states instead of scratch; inputs of the next frame, and results that wait, come on top."""
    fact = sc.compile(learner, deadline="2.5x", n=64).lowered.deadline
    inputs, results = 64 * 8 * 4, (16 + 1) * 4
    assert fact.bytes - fact.bytes_before <= 1.2 * (inputs + results)


def test_what_holds_is_left_as_it_is() -> None:
    plain, bound = sc.compile(learner), sc.compile(learner, deadline=10**9)
    assert len(bound.lowered.node.eqs) == len(plain.lowered.node.eqs)
    assert not bound.lowered.deadline.spread
    same(bound.run(*rows(40))[2:], plain.run(*rows(40))[2:])


def test_a_refusal_says_what_would_hold() -> None:
    with pytest.raises(SeicheError) as error:
        sc.compile(learner, deadline=200)
    least = int(str(error.value).split("deadline=")[-1].split(" ")[0])
    program = sc.compile(learner, deadline=least)
    assert program.lowered.deadline.worst <= least
    with pytest.raises(SeicheError):
        sc.compile(learner, deadline=least // 2)


@pytest.mark.parametrize("wrong", [0, -3, True, 2.5, "soon", "0x", "-1", "2.5 y"])
def test_a_deadline_is_a_number_of_operations(wrong: Any) -> None:
    with pytest.raises(SeicheError) as error:
        limit_of(wrong, 100.0)
    assert error.value.code == "SE912"


def test_multiples_need_a_mean() -> None:
    @sc.node
    def on_demand(x: sc.f32[8], k: sc.bool_) -> sc.f32:
        return sc.when(sc.tanh(x), k).sum()

    with pytest.raises(SeicheError) as error:
        sc.compile(on_demand, deadline="2x")
    assert "mean tick is not known" in str(error.value)


def test_streams_of_a_frame_cannot_wait() -> None:
    @sc.node
    def returns(x: sc.f32) -> sc.f32:
        with sc.frame(max=64):
            ahead = sc.costate(0.0)
            ahead.prev = x + 0.9 * ahead
        return ahead.prev

    with pytest.raises(SeicheError) as error:
        sc.compile(returns, deadline=100)
    assert error.value.code == "SE912" and "return to the ticks" in str(error.value)


def test_a_choice_must_have_something_else_to_take() -> None:
    @sc.node
    def either(x: sc.f32[4], y: sc.f32[4]) -> sc.f32:
        w = sc.state(START)
        with sc.frame(max=16) as fr:
            xs, ys = fr.stack(x), fr.stack(y)
        other = sc.tanh(sc.when(x[0], fr.closes, False))
        return sc.merge(fr.closes, step(w, xs, ys), other)

    sc.compile(either).run(*rows(40))
    with pytest.raises(SeicheError) as error:
        sc.compile(either, deadline="3x")
    assert error.value.code == "SE912" and "comes late" in str(error.value)


def test_the_report_tells_which_parameters_a_tick_sees() -> None:
    text = str(sc.compile(learner, deadline="2.5x").report())
    assert "see w as of frame f - 2" in text and "every 16 ticks" in text
    assert "worst tick" in text and "instead of" in text
