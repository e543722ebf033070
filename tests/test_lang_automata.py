"""Automata against a simulator of their semantics (Colaco, Pagano & Pouzet 2005): at each tick at most one strong
transition, then the body of the mode, then at most one weak one. Random automata are built twice: as nodes and as Python.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import seiche as sc
from tests.lang import bits, ints, only, run

T = 36


@dataclass
class Spec:
    """An automaton as data. A condition is (input, remainder): the input's remainder modulo 4 is that, or with an input of
    None: the mode's own counter, modulo 5, is that."""

    modes: list[ModeSpec]
    strong: list[tuple[int, tuple, int, bool]]


@dataclass
class ModeSpec:
    step: int
    weak: list[tuple[tuple, int, bool]]
    inner: Spec | None = None
    emits: bool = True
    memory: list[int] = field(default_factory=list)


def random_spec(rng: random.Random, depth: int = 0) -> Spec:
    n = rng.randint(1 + (depth == 0), 5 - 2 * depth)

    def cond(own: bool) -> tuple:
        return (
            (None, rng.randrange(5))
            if own and rng.random() < 0.4
            else (rng.randrange(2), rng.randrange(4))
        )

    modes = [
        ModeSpec(
            step=rng.randint(1, 3),
            weak=[
                (cond(True), rng.randrange(n), rng.random() < 0.5) for _ in range(rng.randrange(3))
            ],
            inner=random_spec(rng, depth + 1) if depth < 2 and rng.random() < 0.3 else None,
            emits=rng.random() < 0.8,
        )
        for _ in range(n)
    ]
    strong = [
        (rng.randrange(n), cond(False), rng.randrange(n), rng.random() < 0.5)
        for _ in range(rng.randrange(4))
    ]
    return Spec(modes, strong)


def built(spec: Spec, inputs: tuple[sc.Stream, ...]) -> tuple[sc.Stream, sc.Stream]:
    """The automaton as equations: (the index of its mode, what it emits)."""

    def holds(cond: tuple, count: Any) -> sc.Stream:
        source, value = cond
        return count % 5 == value if source is None else inputs[source] % 4 == value

    with sc.automaton() as auto:
        auto.default(level=-7)
        for k, mode in enumerate(spec.modes):
            with auto.mode(f"m{k}") as m:
                count = sc.state(0)
                count.next = count + mode.step
                level = count + 100 * k
                if mode.inner is not None:
                    index, inner = built(mode.inner, inputs)
                    level = level + 1000 * inner + 7 * index
                if mode.emits or not k:
                    m.emit(level=level)
                for cond, target, history in mode.weak:
                    m.until(holds(cond, count), f"m{target}", history=history)
        for source, cond, target, history in spec.strong:
            auto.unless(f"m{source}", holds(cond, None), f"m{target}", history=history)
    return auto.current, auto.level


class Simulator:
    """The same automaton, run."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.inner = [m.inner and Simulator(m.inner) for m in spec.modes]
        self.reset()

    def reset(self) -> None:
        self.mode, self.fresh = 0, False
        self.counts = [0] * len(self.spec.modes)
        for inner in self.inner:
            if inner:
                inner.reset()

    def open(self, k: int) -> None:
        self.counts[k] = 0
        if self.inner[k]:
            self.inner[k].reset()

    def tick(self, inputs: tuple[int, int]) -> tuple[int, int]:
        def holds(cond: tuple, count: int) -> bool:
            source, value = cond
            return count % 5 == value if source is None else inputs[source] % 4 == value

        entering = self.fresh
        for source, cond, target, history in self.spec.strong:
            if source == self.mode and holds(cond, 0):
                self.mode, entering = target, not history
                break
        k = self.mode
        if entering:
            self.open(k)
        mode, count = self.spec.modes[k], self.counts[k]
        level = count + 100 * k
        if mode.inner is not None:
            index, inner = self.inner[k].tick(inputs)
            level += 1000 * inner + 7 * index
        if not (mode.emits or not k):
            level = -7
        self.counts[k] += mode.step
        self.fresh = False
        for cond, target, history in mode.weak:
            if holds(cond, count):
                self.mode, self.fresh = target, not history
                break
        return k, level


def wrapped(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize("seed", range(40))
def test_random_automata(seed):
    rng = random.Random(seed)
    spec = random_spec(rng)
    x, y, r = (
        ints(seed, T, low=0, high=9),
        ints(seed + 1, T, low=0, high=9),
        bits(seed + 2, T, 0.05 * (seed % 2)),
    )

    @sc.node
    def machine(x: sc.i32, y: sc.i32):
        return built(spec, (x, y))

    mode, level = run(
        lambda x, y, r: machine(x, y, reset=r), x, y, r, x=sc.i32, y=sc.i32, r=sc.bool_
    )
    simulator, want = Simulator(spec), []
    for t in range(T):
        if r[t]:
            simulator.reset()
        want.append(simulator.tick((int(x[t]), int(y[t]))))
    assert mode.tolist() == [k for k, _ in want]
    assert level.tolist() == [wrapped(v) for _, v in want]


@pytest.mark.parametrize("seed", range(6))
def test_random_automata_inside_an_activation(seed):
    spec = random_spec(random.Random(seed + 100))
    x, y = ints(seed, T, low=0, high=9), ints(seed + 1, T, low=0, high=9)
    c, r = bits(seed + 2, T, 0.6), bits(seed + 3, T, 0.1)

    @sc.node
    def machine(x: sc.i32, y: sc.i32, c: sc.bool_):
        with sc.every(c):
            mode, level = built(spec, (x, y))
        return mode, level

    mode, level = run(
        lambda x, y, c, r: machine(x, y, c, reset=r),
        x,
        y,
        c,
        r,
        x=sc.i32,
        y=sc.i32,
        c=sc.bool_,
        r=sc.bool_,
    )
    simulator, want, waiting = Simulator(spec), {}, False
    for t in range(T):
        waiting |= bool(r[t])
        if c[t]:
            if waiting:
                simulator.reset()
            waiting = False
            want[t] = simulator.tick((int(x[t]), int(y[t])))
    assert mode.ticks.tolist() == list(want)
    assert mode.values.tolist() == [k for k, _ in want.values()]
    assert level.values.tolist() == [wrapped(v) for _, v in want.values()]


@pytest.mark.parametrize(
    ("history", "want"), [(False, [0, 1, 10, 11, 0, 1, 10]), (True, [0, 1, 10, 11, 2, 12, 3])]
)
def test_entry_by_reset_and_by_history(history, want):
    """Both modes leave when their count is 1 or more; by history it goes on."""

    def f(x):
        with sc.automaton() as auto:
            for name, other, base in (("up", "down", 0), ("down", "up", 10)):
                with auto.mode(name) as m:
                    n = sc.state(0)
                    n.next = n + 1
                    m.emit(level=n + base)
                    m.until(n >= 1, other, history=history)
        return auto.level + 0 * x

    assert run(f, np.zeros(7, np.int32), x=sc.i32).tolist() == want


def test_strong_and_weak_in_one_tick():
    """The strong one is taken first; the weak one of the mode that it enters may follow at once."""

    def f(jump, leave):
        with sc.automaton() as auto:
            with auto.mode("a") as m:
                m.emit(level=1)
                m.until(leave, "c")
            with auto.mode("b") as m:
                m.emit(level=2)
                m.until(leave, "c")
            with auto.mode("c") as m:
                m.emit(level=3)
                m.until(leave, "a")
            auto.unless("a", jump, "b")
            auto.unless("a", leave, "c")
            auto.unless("b", jump, "a")
        return auto.level, auto.current, auto.on("c")

    jump, leave = np.array([1, 0, 0, 1, 1, 1, 0], bool), np.array([1, 0, 1, 0, 0, 1, 1], bool)
    level, current, on = run(f, jump, leave, jump=sc.bool_, leave=sc.bool_)
    # a->b, b leaves to c | c | c leaves to a | a->b | b->a | a->b, leaves to c | c leaves
    assert level.tolist() == [2, 3, 3, 2, 1, 2, 3]
    assert current.tolist() == [v - 1 for v in level] and on.tolist() == [v == 3 for v in level]


@pytest.mark.parametrize("strong", [False, True])
def test_a_transition_to_itself_opens_the_mode_again(strong):
    x = bits(1, T, 0.3)

    def f(x):
        with sc.automaton() as auto:
            with auto.mode("only") as m:
                n = sc.state(0)
                n.next = n + 1
                m.emit(n=n)
                if not strong:
                    m.until(x, "only")
            if strong:
                auto.unless("only", x, "only")
        return auto.n

    opened = x if strong else np.append(False, x[:-1])
    want, n = [], 0
    for t in range(T):
        n = 0 if opened[t] else n
        want.append(n)
        n += 1
    assert run(f, x, x=sc.bool_).tolist() == want


def test_what_modes_emit():
    """Trees, constants of either kind, streams of around, shapes that broadcast, defaults."""
    x, c = ints(1, 9).astype(np.float32), bits(2, 9)

    def f(x, c):
        with sc.automaton() as auto:
            auto.default(other=x)
            with auto.mode("a") as m:
                m.emit(level=x, pair=(0, np.zeros(2)), other=1)
                m.until(c, "b")
            with auto.mode("b") as m:
                m.emit(level=0, pair=(x + 1, 1.5))
                m.until(c, "a")
        assert auto.modes == ("a", "b")
        return auto.level, auto.pair, auto.other

    level, (first, second), other = run(f, x, c, x=sc.f32, c=sc.bool_)
    on_a, a = [], True
    for t in range(9):
        on_a.append(a)
        a = a != c[t]
    on_a = np.array(on_a)
    assert level.tolist() == np.where(on_a, x, 0).tolist()
    assert first.tolist() == np.where(on_a, 0, x + 1).tolist()
    np.testing.assert_array_equal(second, np.where(on_a[:, None], 0, np.full((9, 2), 1.5)))
    assert other.tolist() == np.where(on_a, 1, x).tolist()


def test_a_strong_condition_may_read_what_was_emitted():
    def f(x):
        before = sc.var(sc.i32)
        with sc.automaton() as auto:
            with auto.mode("up") as m:
                n = sc.state(0)
                n.next = n + x
                m.emit(level=n)
            with auto.mode("down") as m:
                m.emit(level=0)
            auto.unless("up", before > 5, "down")
            auto.unless("down", before == 0, "up")
        before.define(sc.fby(1, auto.level))
        return auto.level

    x = np.full(9, 3, np.int32)
    assert run(f, x, x=sc.i32).tolist() == [0, 3, 6, 0, 0, 3, 6, 0, 0]


def test_state_of_around_is_shared_by_the_modes():
    def f(c):
        total = sc.state(0)
        with sc.automaton() as auto:
            with auto.mode("up") as m:
                m.emit(total=total + 1)
                m.until(c, "down")
            with auto.mode("down") as m:
                m.emit(total=total - 1)
                m.until(c, "up")
        total.next = auto.total
        return auto.total

    c = bits(3, T)
    want, s, up = [], 0, 1
    for v in c:
        s += up
        want.append(s)
        up = -up if v else up
    assert run(f, c, c=sc.bool_).tolist() == want


def test_faults():
    def automaton(write):
        def f(x: sc.i32):
            with sc.automaton() as auto:
                with auto.mode("a") as m:
                    m.emit(level=x)
                    m.until(x > 0, "b")
                with auto.mode("b") as m:
                    m.emit(level=-x)
                    write(auto, m, x)
            return auto.level

        return f

    def again(auto, m, x):
        with auto.mode("a"):
            pass

    cases = [
        (lambda auto, m, x: m.until(x > 0, "nowhere"), "SE801", "no mode 'nowhere'"),
        (lambda auto, m, x: auto.unless("nowhere", x > 0, "a"), "SE801", "no mode 'nowhere'"),
        (again, "SE801", "mode 'a' is written twice"),
        (lambda auto, m, x: m.emit(other=x), "SE802", "mode 'a' does not emit `other`"),
        (lambda auto, m, x: m.emit(level=x), "SE103", "mode 'b' emits `level` twice"),
        (lambda auto, m, x: m.until(x, "a"), "SE302", "the condition of until"),
        (lambda auto, m, x: auto.unless("a", True, "b"), "SE302", "the condition of unless"),
    ]
    for write, code, what in cases:
        error = only(automaton(write), code)
        assert what in error.what and error.where.file == __file__, error

    def empty(x: sc.i32):
        with sc.automaton():
            pass
        return x

    def mixed(x: sc.i32, y: sc.f32):
        with sc.automaton() as auto:
            with auto.mode("a") as m:
                m.emit(v=x)
            with auto.mode("b") as m:
                m.emit(v=y)
        return auto.v

    assert only(empty, "SE801").what == "an automaton without modes"
    assert only(mixed, "SE203").where.file == __file__
    with pytest.raises(AttributeError, match="emits no 'x'; it emits level"):
        sc.compile(sc.node(lambda x: named(x)), sc.i32)


def named(x):
    with sc.automaton() as auto, auto.mode("a") as m:
        m.emit(level=x)
    return auto.x
