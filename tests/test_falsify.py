"""Falsification: what is found, that it is simple and replays, that nothing is claimed that is not so; and what it draws from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche import bool_, f32, i32, node, signals, state
from seiche.backends.falsify.margin import with_margins
from seiche.backends.falsify.search import _Search
from seiche.backends.falsify.signals import Anything, Signal
from seiche.errors import NOWHERE, SeicheError
from seiche.ir.builder import Builder
from seiche.ir.core import Check, Contract, Node, Var
from seiche.numbers.formats import Type, bf16, f64, fixed, i8, u8
from tests.agreement import program_of
from tests.commands import call, runner_in

pytestmark = pytest.mark.cc


@node
def tank(inflow: f32) -> f32:
    sc.assume((inflow >= 0) & (inflow <= 2), "at most 2 litres come in")
    level = state(0.0)
    level.next = 0.5 * level + inflow
    sc.guarantee(level.next < 3.5, "the tank does not overflow")
    return level.next


@node
def presses(button: bool_, n: i32) -> i32:
    row = state(0)
    row.next = sc.where(button & (n != 3), row + 1, 0)
    sc.guarantee(row.next < 5, "not five in a row")
    return row.next


@node
def root(x: f32) -> f32:
    sc.assume(x >= 0, "x is not negative")
    return sc.sqrt(x)


@node
def gap(a: f32, b: f32) -> f32:
    return root(a - b)


@node
def aim(x: f32, y: f32) -> f32:
    near = sc.absolute(x - 7.3) + sc.absolute(y + 2.1)
    sc.guarantee(~(near < 0.01), "the point is never hit")
    return near


@node
def sound(x: f32) -> f32:
    y = sc.tanh(x)
    sc.guarantee((y >= -1) & (y <= 1), "a sigmoid is bounded")
    return y


POINT = {"x": signals.constant(-10, 10), "y": signals.constant(-10, 10)}


def inputs_of(found: sc.Falsification) -> dict[str, Any]:
    assert found.counterexample is not None
    return {name: x.tolist() for name, x in found.counterexample.inputs.items()}


# What is found.


@pytest.mark.parametrize("seed", range(3))
def test_the_fewest_ticks_and_the_simplest_values(seed: int) -> None:
    found = sc.falsify(presses, ticks=60, budget=3000, seed=seed)
    assert inputs_of(found) == {"button": [True] * 5, "n": [0] * 5}
    found = sc.falsify(tank, {"inflow": signals.free(0, 2)}, seed=seed, budget=3000)
    assert inputs_of(found) == {"inflow": [2.0, 2.0, 2.0]}
    assert found.counterexample.tick == 2 and found.counterexample.check.code == "SE804"


def test_inputs_keep_what_the_node_assumes_of_them() -> None:
    found = sc.falsify(tank, {"inflow": signals.free(-4, 4)}, budget=4000)
    assert inputs_of(found) == {"inflow": [2.0, 2.0, 2.0]} and found.refused > 0


def test_a_node_is_to_blame_for_how_it_uses_another() -> None:
    found = sc.falsify(gap, {"a": signals.free(0, 9), "b": signals.free(0, 9)})
    example = found.counterexample
    assert example is not None and example.check.code == "SE803" and example.tick == 0
    assert inputs_of(found) == {"a": [0.0], "b": [1.0]}
    assert "`gap/root` assumes" in str(example.error) and "`a`" in str(example.error)


def test_a_frame_that_overflows_is_found() -> None:
    @node
    def episodes(x: f32, done: bool_) -> f32:
        with sc.frame(max=4, until=done) as fr:
            return fr.sum(x)

    found = sc.falsify(episodes, ticks=30)
    assert found.counterexample.check.code == "SE602"
    assert inputs_of(found) == {"x": [0.0] * 5, "done": [False] * 5}


def test_a_sensor_that_breaks_is_found() -> None:
    @node
    def follow(x: f32) -> f32:
        mean = state(0.0)
        mean.next = mean + 0.1 * (x - mean)
        sc.guarantee(sc.absolute(mean) <= 10, "the mean is bounded")
        return mean

    assert not sc.falsify(follow, {"x": signals.free(-10, 10)}, budget=200)
    found = sc.falsify(follow, {"x": signals.faulty(signals.free(-10, 10))}, budget=200)
    values = np.array(inputs_of(found)["x"], np.float32)
    assert len(values) == 2 and not (np.isfinite(values[0]) and abs(values[0]) < 1e30)


def test_what_breaks_only_later_is_found_by_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search gets warmer: where draws alone find nothing, changes of the closest do."""
    guided = [sc.falsify(aim, POINT, ticks=3, budget=1500, seed=s) for s in range(2)]
    assert all(guided)
    monkeypatch.setattr(_Search, "changed", lambda self, of: self.drawn())
    assert not sc.falsify(aim, POINT, ticks=3, budget=max(found.runs for found in guided))


def test_where_nothing_is_wrong_nothing_is_found() -> None:
    found = sc.falsify(sound, budget=300, ticks=20)
    assert not found and found.counterexample is None
    assert (found.runs, found.ticks, found.refused) == (300, 6000, 0)
    ((said, margin),) = found.margins.items()
    assert 0 <= margin < 1e-3 and "guarantee of sound" in said
    assert "no duty was broken in 300 runs" in str(found) and said in str(found)


def test_a_search_repeats_on_both_targets() -> None:
    ways = {"a": signals.walk(0, 4, 0.5), "b": signals.free(0, 9)}
    first = sc.falsify(gap, ways, ticks=8, seed=1)
    for target in ("c", "interp"):
        again = sc.falsify(gap, ways, ticks=8, seed=1, target=target)
        assert inputs_of(again) == inputs_of(first) and again.runs == first.runs


def test_a_node_without_inputs() -> None:
    @node
    def clock() -> i32:
        n = state(0)
        n.next = n + 1
        sc.guarantee(n < 7, "it ends")
        return n

    found = sc.falsify(clock, ticks=20)
    assert found.counterexample.tick == 7 and inputs_of(found) == {}
    assert not sc.falsify(clock, ticks=7)


def test_inputs_that_are_trees() -> None:
    tree = {"a": f32[2], "b": i32}

    @node
    def pair(p: tree) -> f32:  # type: ignore[valid-type]
        sc.guarantee(p["a"][1] < 3 + p["b"].to(f32), "the second is small")
        return p["a"][0]

    found = sc.falsify(pair, {"p": signals.free(0, 5), "p['b']": signals.constant(1, 4)})
    assert inputs_of(found) == {"p['a']": [[0.0, 4.0]], "p['b']": [1]}


def test_a_given_signal_is_left_alone() -> None:
    xs = np.arange(50, dtype=np.float32)

    @node
    def below(x: f32, y: f32) -> f32:
        sc.guarantee(x + y < 20, "the sum is below 20")
        return x

    found = sc.falsify(below, {"x": signals.given(xs), "y": signals.free(-1, 1)}, ticks=50)
    assert inputs_of(found)["x"] == xs[: found.counterexample.tick + 1].tolist()


@pytest.mark.parametrize(
    ("call_", "code"),
    [
        (lambda: sc.falsify(node(lambda x: x), x=f32), "SE906"),
        (lambda: sc.falsify(tank, {"inflw": signals.free(0, 1)}), "SE903"),
        (lambda: sc.falsify(tank, {"inflow": 3}), "SE903"),  # type: ignore[dict-item]
        (lambda: sc.falsify(tank, {"inflow": signals.given([1.0])}), "SE903"),
        (lambda: sc.falsify(tank, target="hdl"), "SE904"),
        (lambda: sc.falsify(tank, ticks=0), "SE903"),
        (lambda: signals.free(1, 0), "SE903"),
        (lambda: signals.free(0, np.inf), "SE903"),
        (lambda: signals.steps(0, 1, hold=(0, 3)), "SE903"),
    ],
)
def test_what_is_refused(call_: Any, code: str) -> None:
    with pytest.raises(SeicheError) as caught:
        call_()
    assert caught.value.code == code


# Replay.


def test_a_counterexample_replays_as_a_table_a_file_and_a_run(
    tmp_path: Path, monkeypatch: Any
) -> None:
    found = sc.falsify(tank, {"inflow": signals.free(0, 2)}).counterexample
    rows = found.recording.table().splitlines()
    line = tank.where.line
    assert rows[0].split() == ["tick", "inflow", "level_next", f"guarantee_{line + 4}"]
    assert rows[-1].split() == ["2", "2.", "3.5", "False"]
    program = sc.compile(tank)
    with pytest.raises(SeicheError) as caught:
        program.run(**found.inputs)
    assert str(caught.value) == str(found.error) and program.stopped.tick == found.tick
    runner = runner_in(tmp_path, monkeypatch, {"tank.py": TANK})
    found.save(tmp_path / "example.npz")
    said = call(runner, "run", "tank.py", "--data", "example.npz", code=1)
    assert "error[SE804]" in said and "at tick 2" in said


TANK = """
import seiche as sc

@sc.node
def tank(inflow: sc.f32, least: float = 3.5) -> sc.f32:
    sc.assume((inflow >= 0) & (inflow <= 2), "at most 2 litres come in")
    level = sc.state(0.0)
    level.next = 0.5 * level + inflow
    sc.guarantee(level.next < least, "the tank does not overflow")
    return level.next
"""


def test_the_command(tmp_path: Path, monkeypatch: Any) -> None:
    runner = runner_in(tmp_path, monkeypatch, {"tank.py": TANK})
    spoken = ("falsify", "tank.py", "--input", "inflow=steps(0, 2, hold=(1, 3))", "--budget", "500")
    said = call(
        runner,
        *spoken,
        "--save",
        "e.npz",
        "--vcd",
        "e.vcd",
        "--mcap",
        "e.mcap",
        "--watch",
        "level",
        code=1,
    )
    assert "the tank does not overflow" in said and "level" in said and "found in" in said
    assert np.load(tmp_path / "e.npz")["inflow"].tolist() == [2.0, 2.0, 2.0]
    assert "level" in (tmp_path / "e.vcd").read_text() and (tmp_path / "e.mcap").stat().st_size > 0
    assert "no duty was broken" in call(runner, *spoken, "--set", "least=4.5")
    for wrong in ("inflow", "inflow=ramp(0, 1)", "inflow=free(0)", "inflow=3", "=free(0, 1)"):
        assert "SE903" in call(runner, "falsify", "tank.py", "--input", wrong, code=1)


# Signals.

SIGNALS = [
    signals.free(-3, 2.5), signals.steps(-3, 2.5), signals.walk(-3, 3, 0.75), signals.constant(0.5, 2), Anything(),
    signals.faulty(signals.walk(-3, 3, 0.75), 0.3),
]  # fmt: skip


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("format", [bool_, i8, u8, i32, f32, f64, bf16, fixed(6, 10)], ids=str)
def test_draws_are_values_of_their_signal_and_type(signal: Signal, format: Any) -> None:
    for shape in ((), (2, 3)):
        type = format[shape] if shape else Type(format)
        x = signal.draw(np.random.default_rng(3), type, 40)
        assert x.shape == (40, *shape) and x.dtype == np.dtype(format.dtype)
        assert signal.fits(x, type), x
        if not format.exact:  # what is drawn is a value of the format
            from seiche.lang.stream import represent

            assert np.array_equal(represent(x, format), x, equal_nan=True)


REAL = Type(f32)


def test_signals_know_their_own() -> None:
    ramp = np.linspace(0, 1, 11, dtype=np.float32)
    assert signals.walk(0, 1, 0.11).fits(ramp, REAL) and not signals.walk(0, 1, 0.09).fits(
        ramp, REAL
    )
    assert signals.free(0, 1).fits(ramp, REAL) and not signals.free(0, 0.9).fits(ramp, REAL)
    assert signals.constant(0, 1).fits(ramp[:1], REAL) and not signals.constant(0, 1).fits(
        ramp, REAL
    )
    assert signals.given(ramp).fits(ramp[:5], REAL) and not signals.given(ramp).fits(ramp[1:], REAL)
    broken = np.float32([0, np.nan, 1])
    assert signals.faulty(signals.free(0, 1)).fits(broken, REAL) and not signals.free(0, 1).fits(
        broken, REAL
    )
    assert not signals.faulty(signals.free(0, 1)).fits(np.float32([0, np.inf, 2]), REAL)


# Margins.


def condition(
    b: Builder, rng: np.random.Generator, depth: int, shape: tuple[int, ...], reals: Any
) -> Var:
    """A random condition of that shape, over streams that are there at every tick."""
    x, y = (reals[shape][int(i)] for i in rng.integers(len(reals[shape]), size=2))
    kind = int(rng.integers(10)) if depth else int(rng.integers(6))
    if kind < 6:
        return b.apply(("lt", "le", "gt", "ge", "eq", "ne")[kind], x, y)
    if kind == 6:
        return b.logical_not(condition(b, rng, depth - 1, shape, reals))
    if kind == 9 and not shape:
        rows = condition(b, rng, depth - 1, (3,), reals)
        return b.apply(("all", "any")[int(rng.integers(2))], rows, axes=(0,))
    op = "logical_and" if kind == 7 else "logical_or"
    return b.apply(op, *(condition(b, rng, depth - 1, shape, reals) for _ in range(2)))


def test_the_sign_of_a_margin_is_the_truth_of_its_condition() -> None:
    """At 0 and where there is no number, either may be."""
    signs: set[float] = set()
    for seed in range(40):
        rng, b = np.random.default_rng(seed), Builder(NOWHERE)
        inputs = tuple(Var(f"x{k}", f32[(3,) if k > 3 else ()]) for k in range(8))
        reals = {(): inputs[:4], (3,): inputs[4:]}
        conds = [condition(b, rng, 3, (), reals) for _ in range(4)]
        key = b.lt(inputs[0], inputs[1])
        conds += [
            b.when(conds[0], key),
            b.merge(key, b.when(conds[1], key), b.when(conds[2], key, False)),
        ]
        conds.append(b.logical_xor(conds[0], conds[1]))
        duties = tuple(Check(c, "SE804", "", NOWHERE, Contract("guarantee")) for c in conds)
        node = Node("conditions", inputs, tuple(conds), b.eqs)
        xs = [rng.integers(-2, 3, (12, *v.type.shape)).astype(np.float32) for v in inputs]
        truths = program_of(node).run(*xs)
        margins = program_of(with_margins(node, duties)).run(*xs)
        for truth, margin in zip(truths, margins, strict=True):
            a, m = (np.asarray(getattr(v, "values", v)) for v in (truth, margin))
            assert np.array_equal(a[m != 0], m[m != 0] > 0), (seed, a, m)
            signs |= set(np.sign(m).tolist())
    assert signs == {-1.0, 0.0, 1.0}
