"""The target "xla" against the interpreter: every op, programs by hand and at random, gradients, states, devices."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

import seiche as sc
from seiche import bool_, costate, f32, f64, i32, learn, node, state
from seiche.backends.program import Sparse
from seiche.backends.xla import table
from seiche.backends.xla.executor import XlaProgram
from seiche.backends.xla.library import jax, wide
from seiche.errors import NOWHERE, SeicheError
from seiche.ir.op import OPS, Use
from seiche.ir.op import use as use_of
from seiche.numbers.formats import Format
from seiche.schedule.fold import value
from tests.choices import base, chosen
from tests.laws import Disagreement
from tests.laws_xla import (
    NOISY_RUNS,
    TURNS_MAX,
    flushed,
    judge_xla,
    noisy,
    outcome,
    tolerance,
)
from tests.learning import close
from tests.programs import random_program
from tests.test_ops import cases

ROOT = Path(__file__).parent.parent


# The table.


def test_the_table_has_every_op() -> None:
    assert set(table.TABLE) == set(OPS)


def test_a_missing_op_is_an_error_with_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(table.TABLE, "tanh")

    @node
    def squash(x: f32) -> f32:
        return sc.tanh(x)

    program = sc.compile(squash, target="xla")
    with pytest.raises(
        SeicheError, match=r"test_xla.py:\d+: error\[SE904\]: the target \"xla\" has no `tanh`"
    ):
        program.step(1.0)


COARSE = {
    "erfinv": 1e-9,
    "normal01": 1e-9,
    "exp2": 1e-5,
    "solve": 1e-4,
    "triangular_solve": 1e-4,
    "cholesky": 1e-4,
}
"""Where XLA's own function is less accurate than ours, relative; in f32 1e-5 is expected, in f64 1e-12."""


def off_by(format: Format, name: str) -> float:
    own = 1e-5 if format.carrier == "f32" else 1e-12
    return max(own, COARSE.get(name, 0), 0 if format.exact else 2.0**-format.mantissa)


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_on_its_samples(name: str) -> None:
    """Integers, booleans and moves in bits; reals to a tolerance. Subnormals are flushed; circular functions where they are ours."""
    every = list(cases(name))
    given = [tuple(map(flushed, arrays)) for _, arrays in every]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = [flushed(value(name, arrays, use)) for (use, _), arrays in zip(every, given)]
    if name in ("sin", "cos", "tan"):
        given = [
            tuple(np.where(np.abs(x) < TURNS_MAX, x, x.dtype.type(1)) for x in xs) for xs in given
        ]
        wanted = [value(name, arrays, use) for (use, _), arrays in zip(every, given)]

    def all_cases(inputs: list[tuple[Any, ...]]) -> list[Any]:
        return [table.value(name, xs, use, NOWHERE) for (use, _), xs in zip(every, inputs)]

    with wide():
        results = [np.asarray(y) for y in jax.jit(all_cases)(given)]
    for (use, _), xs, mine, theirs in zip(every, given, wanted, results, strict=True):
        same(name, use, xs, mine, flushed(theirs))


ROWS_OF_ONE = {
    "index": (((4, 3), ()), {"axis": 0}),
    "take": (((4, 3), (1,)), {"axis": 0}),
    "take_along": (((1, 4), (1, 1)), {"axis": 1}),
    "update": (((1, 4, 3), (1, 3), (1,)), {"axis": 1, "batch": 1}),
    "scatter_add": (((4, 3), (1,), (1, 3)), {"axis": 0}),
}
"""Shapes and settings where one row is read or written; the index is the operand of integers."""


@pytest.mark.parametrize("at", [-9, 0, 2, 9])
@pytest.mark.parametrize("name", sorted(ROWS_OF_ONE))
def test_of_one_row_xla_makes_no_slice_of_its_own(name: str, at: int) -> None:
    """Its `dynamic-slice.7` and JAX's `dynamic_slice.7` are one function to its emitters: a fusion of both gave a wrong number."""
    shapes, params = ROWS_OF_ONE[name]
    index = 2 if name == "update" else 1
    types = tuple((i32 if k == index else f32)[shape] for k, shape in enumerate(shapes))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    arrays[index] = np.full(shapes[index], at, np.int32)
    one = use_of(name, types, params)
    program = jax.jit(lambda *xs: table.value(name, xs, one, NOWHERE)).lower(*arrays).compile()
    np.testing.assert_array_equal(program(*arrays), value(name, tuple(arrays), one))
    assert not re.search(r"%dynamic-(update-)?slice[.\d]* =", program.as_text())


def test_a_row_beside_rows_of_the_input_is_itself() -> None:
    """The folded stack in which such a fusion was found."""
    assert judge_xla(chosen(base(182714), 182714), 182714) == "ok"


@pytest.mark.parametrize(("constant", "x"), [(1e30, 0.0), (1e-30, 1e25)])
def test_constants_are_not_multiplied_with_each_other(constant: float, x: float) -> None:
    """XLA makes (x x) (c c) of (x c) (x c), also where c c is out of range."""

    @node
    def product(x: f32[2]) -> f32[2]:
        scaled = x * np.array([constant, 2.0], np.float32)
        return scaled * scaled

    xs = np.array([[x, 3.0]], np.float32)
    wanted = sc.compile(product).run(xs)
    np.testing.assert_allclose(sc.compile(product, target="xla").run(xs), wanted, rtol=1e-6)
    assert np.isfinite(wanted).all()


def same(
    name: str, use: Use, xs: tuple[np.ndarray, ...], mine: np.ndarray, theirs: np.ndarray
) -> None:
    what = f"{name}{use.types} {dict(use.params)}\nof {xs}"
    assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), what
    if mine.dtype.kind != "f" or OPS[name].family == "moves":
        np.testing.assert_array_equal(theirs, mine, what)
        return
    with np.errstate(all="ignore"):
        scale = np.abs(np.where(np.isfinite(mine), mine, 0))
        if OPS[name].family in ("linalg", "reduce", "cumulative") and scale.size:
            terms = max(
                (
                    float(np.abs(x[np.isfinite(x)]).max(initial=0))
                    for x in xs
                    if x.dtype.kind == "f"
                ),
                default=0,
            )
            scale = np.maximum(
                scale, np.maximum(scale.max(), terms if name in ("sum", "cumsum", "matmul") else 0)
            )
        tiny = 4 * np.finfo(mine.dtype).tiny
        near = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
        near |= np.abs(mine - theirs) <= off_by(use.out.format, name) * scale + tiny
    assert near.all(), f"{what}\n{theirs}\nis not\n{mine}"


def test_random_bits_are_equal_in_bits() -> None:
    @node
    def draws(key: sc.u32[2]) -> Any:
        a, b = sc.random.split(key)
        return a, b, sc.random.bits(a, (5, 3)), sc.random.uniform(b, (7,))

    keys = np.random.default_rng(0).integers(0, 2**32, (4, 2), dtype=np.uint32)
    both = [sc.compile(draws, target=t).run(keys) for t in ("interp", "xla")]
    for mine, theirs in zip(*both, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# Programs by hand.


def agree(function: Any, *inputs: np.ndarray, tolerance: float = 1e-5, **static: Any) -> Any:
    """Runs on both targets, whole and by steps; results, presence and states must agree."""
    mine, theirs = sc.compile(function, **static), sc.compile(function, target="xla", **static)
    wanted = mine.run(*inputs)
    compare(wanted, theirs.run(*inputs), tolerance)
    states(mine, theirs, tolerance)
    mine.reset(), theirs.reset()
    for t in range(min(6, len(inputs[0]))):
        compare(mine.step(*(x[t] for x in inputs)), theirs.step(*(x[t] for x in inputs)), tolerance)
    states(mine, theirs, tolerance)
    return theirs


def leaves(x: Any) -> list[Any]:
    if isinstance(x, dict):
        return [y for v in x.values() for y in leaves(v)]
    return [y for v in x for y in leaves(v)] if isinstance(x, tuple | list) else [x]


def compare(mine: Any, theirs: Any, tolerance: float) -> None:
    for a, b in zip(leaves(mine), leaves(theirs), strict=True):
        assert (a is None) == (b is None)
        if isinstance(a, Sparse):
            np.testing.assert_array_equal(a.ticks, b.ticks)
            a, b = a.values, b.values
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


def states(mine: Any, theirs: Any, tolerance: float) -> None:
    assert list(mine.state) == list(theirs.state)
    for name in mine.state:
        np.testing.assert_allclose(
            theirs.state[name], mine.state[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def some(ticks: int, share: float = 0.4, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random(ticks) < share


def test_a_mean_with_a_reset() -> None:
    @node
    def mean(x: f32[3], again: bool_) -> Any:
        m = state(sc.zeros((3,), f32), reset=again)
        m.next = m + 0.25 * (x - m)
        return m.next, sc.when(m, again)

    agree(mean, normal(40, 3), some(40))


def test_look_ahead_and_advantage() -> None:
    @node
    def advantage(reward: f32, worth: f32, done: bool_) -> Any:
        with sc.frame(max=9, until=done):
            later = sc.post(worth, 0.0)
            ahead = costate(0.0)
            ahead.prev = reward + 0.9 * later - worth + 0.8 * ahead
            return ahead.prev

    done = some(50) | (np.arange(50) % 7 == 6)
    program = agree(advantage, normal(50), normal(50, seed=2), done)
    assert program.latency > 0


def test_clocks_nested_in_clocks() -> None:
    @node
    def counts(x: f32, a: bool_, b: bool_) -> Any:
        with sc.every(a):
            n = state(0)
            n.next = n + 1
            y = sc.when(x, a)
            inner = sc.when(b, a)
            with sc.every(inner):
                m = state(0.0)
                m.next = m + sc.when(y, inner)
                total = m.next
        return n.next, total

    agree(counts, normal(30), some(30, 0.6), some(30, 0.5, seed=3))


def test_an_automaton() -> None:
    @node
    def drive(x: f32) -> Any:
        with sc.automaton() as control:
            with control.mode("up") as m:
                h = state(0.0)
                h.next = h + 1.0
                m.emit(y=h)
                m.until(x > 0.8, "down")
            with control.mode("down") as m:
                m.emit(y=-x)
                m.until(x < -0.8, "up")
        return control.y, control.current

    agree(drive, normal(60))


def test_heavy_work_under_a_clock_is_a_branch() -> None:
    w = normal(64, 64)

    @node
    def sometimes(x: f32[64], go: bool_) -> Any:
        with sc.every(go):
            h = state(sc.zeros((64,), f32))
            h.next = sc.tanh(sc.matmul(h, w * 0.1) + sc.matmul(sc.when(x, go), w * 0.1))
            return h.next

    program = agree(sometimes, normal(20, 64), some(20), tolerance=1e-4)
    executor = program.executor
    assert isinstance(executor, XlaProgram)
    traced = jax.make_jaxpr(executor._tick)(executor.state, [], [normal(64), np.True_])
    assert "cond" in str(traced)


def test_an_overflow_stops_at_the_same_tick_and_leaves_the_state() -> None:
    @node
    def framed(x: f32, done: bool_) -> f32:
        with sc.frame(max=4, until=done):
            ahead = costate(0.0)
            ahead.prev = x + 0.5 * ahead
            return ahead.prev

    done = np.zeros(12, bool)
    done[[2, 5]] = True
    said: list[str] = []
    for target in ("interp", "xla"):
        program = sc.compile(framed, target=target)
        with pytest.raises(SeicheError, match="SE602") as error:
            program.run(normal(12), done)
        said.append(str(error.value))
        with pytest.raises(SeicheError, match="SE602"):
            program.step(1.0, False)
        kept = dict(program.state)
        program.reset()
        tick = int(said[-1].split("at tick ")[1].split()[0])
        program.run(normal(12)[:tick], done[:tick])
        for name, x in program.state.items():
            np.testing.assert_allclose(kept[name], x, rtol=1e-6, err_msg=name)
    assert said[0] == said[1]


@node
def divides_twice(x: f32[4], y: f32[4]) -> Any:
    """Quotients of quotients."""
    return x / (x / y), (x / y) / y, (x / y) / (x / y), 1 / (x / y)


def test_quotients_are_divided_as_written() -> None:
    """XLA would multiply first, and overflow or vanish: 1e30 / (1e30 / 1e30) was infinite."""
    for x in (1e30, 1e-30, 3.0):
        row = np.full((1, 4), x, np.float32)
        mine, theirs = (
            sc.compile(divides_twice, target=t).run(row, row) for t in ("interp", "xla")
        )
        for m, t in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(t, m, rtol=1e-6)


@node
def rounds_and_divides(x: f64) -> Any:
    """The quotient of one by a number that came of rounding."""
    tiny = (x * 0.0078125).to(sc.fixed(2, 6))
    return tiny, 1.0 / tiny


def test_zero_of_fixed_point_has_no_sign() -> None:
    """A small negative number was rounded to -0, of which one is minus the greatest (random seed 31928)."""
    x = np.array([-0.5, 0.25, -0.25, 0.0])
    mine, theirs = (sc.compile(rounds_and_divides, target=t).run(x) for t in ("interp", "xla"))
    assert mine[1].tolist() == theirs[1].tolist() == [1.984375] * 4
    assert not np.signbit(theirs[0]).any()


def test_wide_types_leave_the_users_setting_alone() -> None:
    @node
    def wide_mean(x: f64, n: sc.i64) -> Any:
        m = state(sc.constant(0.0, f64))
        m.next = m + (x - m) / 3.0
        return m.next, n * 3_000_000_000

    before = jax.numpy.zeros(1).dtype
    agree(wide_mean, np.random.default_rng(0).normal(size=20), np.arange(20), tolerance=1e-13)
    assert jax.numpy.zeros(1).dtype == before


def test_empty_runs_and_nodes_without_inputs() -> None:
    @node
    def count() -> i32:
        n = state(0)
        n.next = n + 1
        return n

    program = sc.compile(count, target="xla")
    assert program.run(ticks=0).tolist() == []
    assert program.run(ticks=20).tolist() == list(range(20))
    assert program.step() == 20


# Gradients, learning.


def through_time(ticks: int, rate: float = 0.1) -> Any:
    gru, head = learn.GRU(3, 8), learn.Dense(8, 2)

    def loss(w: Any, xs: Any, ys: Any) -> Any:
        h = sc.over_time(lambda x: gru(w["gru"], x))(xs)
        return ((sc.over_time(lambda h: head(w["head"], h))(h) - ys) ** 2).mean()

    @node
    def learner(xs: f32[ticks, 3], ys: f32[ticks, 2]) -> Any:
        w = state({"gru": gru.init(key=0), "head": head.init(key=1)})
        value, dw = sc.value_and_grad(loss)(w, xs, ys)
        w.next = {k: {n: w[k][n] - rate * dw[k][n] for n in dw[k]} for k in dw}
        return value, dw

    return learner


def test_gradients_through_time() -> None:
    agree(through_time(12), normal(6, 12, 3), normal(6, 12, 2), tolerance=1e-4)


def test_sums_and_products_leave_the_loop() -> None:
    """The gradients of the weights are one product over the ticks, the inputs of the cell another."""
    program = sc.compile(through_time(12), target="xla")
    bodies = list(program.executor.layout.equations.bodies.values())
    parts = [work.split for b in bodies for work in b.works]
    assert sum(len(split.sums) for split in parts) >= 2
    assert any(split.before for split in parts) and any(split.late for split in parts)


def test_digits_learn_alike() -> None:
    pytest.importorskip("sklearn")
    from examples.digits.data import stream
    from examples.digits.learner import digits

    data = stream(40, 0)
    mine, theirs = (sc.compile(digits, seed=0, target=t) for t in ("interp", "xla"))
    wanted, got = (p.run(data.rows, data.labels) for p in (mine, theirs))
    for name in wanted:
        np.testing.assert_array_equal(wanted[name].ticks, got[name].ticks)
        np.testing.assert_allclose(
            got[name].values.astype(float), wanted[name].values.astype(float), atol=1e-4
        )
    for name, x in mine.state.items():
        np.testing.assert_allclose(theirs.state[name], x, rtol=1e-3, atol=1e-3, err_msg=name)


# States.


@pytest.mark.parametrize("other", ["interp", pytest.param("c", marks=pytest.mark.cc)])
def test_a_state_goes_on_on_another_target(other: str, tmp_path: Path) -> None:
    xs, ys = normal(6, 12, 3), normal(6, 12, 2)
    for source, target in ((other, "xla"), ("xla", other)):
        first, second, whole = (
            sc.compile(through_time(12), target=t) for t in (source, target, target)
        )
        first.run(xs[:3], ys[:3])
        first.state.save(tmp_path / "state.npz")
        second.state.load(tmp_path / "state.npz")
        assert second.ticks == 3
        whole.run(xs[:3], ys[:3])
        compare(whole.run(xs[3:], ys[3:]), second.run(xs[3:], ys[3:]), 1e-4)


def test_states_are_read_set_and_reset() -> None:
    program = sc.compile(through_time(4), target="xla")
    start = dict(program.state)
    program.run(normal(2, 4, 3), normal(2, 4, 2))
    moved = dict(program.state)
    assert any((start[k] != moved[k]).any() for k in start)
    program.reset()
    close(dict(program.state), start, 1e-9)
    program.state = moved
    close(dict(program.state), moved, 1e-9)


# Random programs.

PROGRAMS, PER_TEST, UNSTABLE_MAX = 60, 5, 0.2
seen: Counter[str] = Counter()


@pytest.mark.parametrize("first", range(0, PROGRAMS, PER_TEST))
def test_random_programs_agree(first: int) -> None:
    verdicts = Counter(
        judge_xla(random_program(seed), seed) for seed in range(first, first + PER_TEST)
    )
    seen.update(verdicts)
    print(f"programs {first} to {first + PER_TEST - 1}: {dict(verdicts)}")
    if sum(seen.values()) == PROGRAMS:
        assert seen["unstable"] < UNSTABLE_MAX * PROGRAMS, seen


def test_the_law_notices_a_wrong_function(monkeypatch: pytest.MonkeyPatch) -> None:
    tanh = table.TABLE["tanh"]
    monkeypatch.setitem(table.TABLE, "tanh", lambda use, x: tanh(use, x) * 1.0005)
    for seed in range(400):
        program = random_program(seed, 12)
        if "tanh" in str(program):
            try:
                judge_xla(program, seed)
            except Disagreement:
                return
    raise AssertionError("no program of these seeds notices a tanh that is wrong by 0.05 %")


def test_the_law_lets_a_sum_be_off_by_what_its_terms_are_rounded_by() -> None:
    """Of terms that cancel a tiny sum is left; any order of adding them is right to an ulp of the terms, none to one of the sum."""
    terms = np.random.default_rng(0).uniform(1, 2, 200).astype(np.float32)
    terms[100:] = -terms[:100] * np.float32(1 + 2**-10)

    @node
    def left(x: f32[200]) -> tuple[f32, f32]:
        return x.sum(), x @ np.ones(200, np.float32)

    program = sc.compile(left)
    wanted = outcome(program, [terms[None]])
    others = []
    for k in range(NOISY_RUNS):
        with noisy(np.random.default_rng(k)):
            others.append(outcome(program, [terms[None]]))
    for name, wants in wanted.values.items():
        allowed = tolerance(wants, [o.values[name] for o in others], wanted.formats[name])
        exact = np.sum(terms, dtype=np.float64)
        for order in (terms, terms[::-1], np.sort(terms)):
            off = abs(np.cumsum(order)[-1] - exact)
            assert off < allowed < 4e-6 * np.abs(terms).sum(), (name, off, allowed, exact)


# Devices.

SHARDED = """
import numpy as np
import seiche as sc
from seiche import f32, node, state

@node
def fleet(x: f32[8, 5]) -> f32[8, 5]:
    w = state(sc.zeros((8, 5), f32))
    mean = w.mean(axis=0)                      # an exchange between the devices
    w.next = w + 0.1 * (x - w) + 0.05 * (sc.broadcast_to(mean, (8, 5)) - w)
    return w.next

xs = np.random.default_rng(0).normal(size=(20, 8, 5)).astype(np.float32)
one = sc.compile(fleet, target="xla")
four = sc.compile(fleet, target="xla", devices=4, shard={"x": 0, "w": 0})
np.testing.assert_allclose(one.run(xs), four.run(xs), rtol=1e-5, atol=1e-6)
(w,) = four.executor.state
assert len(w.sharding.device_set) == 4 and w.addressable_shards[0].data.shape == (2, 5), w.sharding
np.testing.assert_allclose(one.step(xs[0]), four.step(xs[0]), rtol=1e-5, atol=1e-6)
print("equal on", len(w.sharding.device_set), "devices")
"""


def test_four_devices_give_what_one_gives(tmp_path: Path) -> None:
    flags = "--xla_force_host_platform_device_count=4"
    (tmp_path / "sharded.py").write_text(SHARDED)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "sharded.py")], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "equal on 4 devices" in done.stdout


@node
def plain(x: f32[6]) -> f32[6]:
    return 2 * x


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": "c", "devices": 2}, "the target 'c' does not choose devices"),
        ({"target": "xla", "shard": {"x": 0}}, "`shard` needs `devices`"),
        ({"target": "xla", "devices": 1, "shard": {"y": 0}}, "`shard` names no stream: 'y'"),
        ({"target": "xla", "devices": 1, "shard": {"x": 1}}, "axis 1 of `x`"),
        ({"target": "xla", "devices": 99}, "99 devices were asked for"),
        ({"target": "xla", "devices": 0}, "devices=0 is no number of devices"),
        ({"target": "xla", "devices": -1}, "devices=-1 is no number of devices"),
        ({"target": "xla", "devices": "4"}, "devices='4' is no number of devices"),
        ({"target": "xla", "device": "abacus"}, "JAX has no 'abacus'"),
    ],
)
def test_devices_that_cannot_be(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SeicheError) as error:
        sc.compile(plain, **options)
    assert error.value.code == "SE904" and text in str(error.value)


def test_the_report_is_that_of_other_targets() -> None:
    assert str(sc.compile(plain, target="xla").report()) == str(sc.compile(plain).report())
