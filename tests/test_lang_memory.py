"""Memory: carried forward and back, in segments named at either end, against loops over whole histories."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from tests.lang import bits, ints, only, reals, run

T = 14
BOOL = {"x": sc.i32, "e": sc.bool_}


def opens(ticks: int, reset=None, until=None) -> list[bool]:
    """Where segments open: tick 0, `reset`, the tick after `until`."""
    return [
        t == 0 or (reset is not None and reset[t]) or (until is not None and until[t - 1])
        for t in range(ticks)
    ]


def closes(ticks: int, reset=None, until=None) -> list[bool]:
    """Where segments close: before the next opening, and at the end."""
    return [*opens(ticks, reset, until)[1:], True]


def fby(init, x, opened):
    return [init if opened[t] else x[t - 1] for t in range(len(x))]


def post(x, final, closed):
    return [final if closed[t] else x[t + 1] for t in range(len(x))]


def ends(kind: str, e: np.ndarray) -> dict:
    return {} if kind == "none" else {kind: e}


def shifted(e: np.ndarray, by: int) -> np.ndarray:
    out = np.zeros_like(e)
    for t in range(len(e)):
        if 0 <= t - by < len(e):
            out[t] = e[t - by]
    return out


each_end = pytest.mark.parametrize("kind", ["none", "reset", "until"])


@each_end
@pytest.mark.parametrize("seed", range(4))
def test_fby_and_post(kind, seed):
    x, e = ints(seed, T), bits(seed + 50, T)
    got = run(
        lambda x, e: (sc.fby(7, x, **ends(kind, e)), sc.post(x, 7, **ends(kind, e))), x, e, **BOOL
    )
    assert got[0].tolist() == fby(7, x, opens(T, **ends(kind, e)))
    assert got[1].tolist() == post(x, 7, closes(T, **ends(kind, e)))


@pytest.mark.parametrize("kind", ["reset", "until"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_shifted_end_is_noticed(kind, by):
    x, e = ints(3, T), bits(4, T)

    def f(x, e):
        s = sc.state(0, **ends(kind, e))
        s.next = s + x
        return sc.fby(7, x, **ends(kind, e)), sc.post(x, 7, **ends(kind, e)), s

    right, wrong = run(f, x, e, **BOOL), run(f, x, shifted(e, by), **BOOL)
    assert all(a.tolist() != b.tolist() for a, b in zip(right, wrong))


@each_end
def test_state_and_its_next(kind):
    x, e = ints(5, T), bits(6, T)

    def f(x, e):
        s = sc.state(100, **ends(kind, e))
        s.next = s + x
        return s, s.next

    before, after = [], []
    opened, s = opens(T, **ends(kind, e)), 0
    for t in range(T):
        s = 100 if opened[t] else s
        before.append(s)
        s += x[t]
        after.append(s)
    got = run(f, x, e, **BOOL)
    assert [g.tolist() for g in got] == [before, after]


def test_until_is_reset_by_the_tick_before():
    x, e = ints(5, T), bits(6, T)

    def f(x, e):
        a, b = sc.state(0, until=e), sc.state(0, reset=sc.fby(True, e))
        a.next, b.next = a + x, b + x
        return a, b

    a, b = run(f, x, e, **BOOL)
    assert a.tolist() == b.tolist()


def test_both_ends_at_once():
    x, e, r = ints(5, T), bits(6, T, 0.2), bits(7, T, 0.2)
    got = run(lambda x, e, r: sc.fby(0, x, until=e, reset=r), x, e, r, **BOOL, r=sc.bool_)
    assert got.tolist() == fby(0, x, opens(T, r, e))


def test_costate_in_a_scanned_node():
    @sc.node
    def discounted(x: sc.i32, e: sc.bool_) -> tuple[sc.i32, sc.i32]:
        ahead = sc.costate(0, until=e)
        ahead.prev = x + 2 * ahead
        final = sc.last(x, until=e)
        return ahead.prev, final

    x, e = ints(8, 5, T, low=-3, high=3), np.stack([bits(9 + i, T) for i in range(5)])
    got, final = run(lambda x, e: sc.over_time(discounted)(x, e), x, e, x=sc.i32[T], e=sc.bool_[T])
    for n in range(5):
        closed, want, last, ahead, at_end = closes(T, until=e[n]), [0] * T, [0] * T, 0, 0
        for t in reversed(range(T)):
            ahead, at_end = (0, x[n, t]) if closed[t] else (ahead, at_end)
            ahead = x[n, t] + 2 * ahead
            want[t], last[t] = ahead, at_end
        assert got[n].tolist() == want and final[n].tolist() == last


def test_pre_arrow_and_first():
    from seiche.lang.memory import first

    x, r = ints(1, T), bits(2, T)

    @sc.node
    def inside(x: sc.i32) -> tuple[sc.i32, sc.bool_]:
        return sc.arrow(x, sc.pre(x)), first()

    got = run(lambda x, r: inside(x, reset=r), x, r, x=sc.i32, r=sc.bool_)
    opened = opens(T, r)
    assert got[0].tolist() == [x[t] if opened[t] else x[t - 1] for t in range(T)]
    assert got[1].tolist() == opened


def test_the_first_value_may_be_a_stream():
    x, y, r = ints(1, T), ints(2, T), bits(3, T)

    def f(x, y, r):
        s = sc.state(y, reset=r)
        s.next = x
        return s

    got = run(f, x, y, r, x=sc.i32, y=sc.i32, r=sc.bool_)
    assert got.tolist() == [y[t] if t == 0 or r[t] else x[t - 1] for t in range(T)]


def test_variables_are_order_free():
    x = ints(1, T)

    def f(x):
        a, b = sc.var(sc.i32), sc.var(sc.i32[2])
        s = sc.state(0)
        s.next = a - b[0]
        b.define(sc.stack([a, s]))
        a.define(x + sc.fby(0, b)[1])
        return a, b

    a, b, s, before = [], [], 0, 0
    for v in x:
        a.append(v + before)
        b.append([a[-1], s])
        s, before = a[-1] - b[-1][0], s
    got = run(f, x, x=sc.i32)
    assert got[0].tolist() == a and got[1].tolist() == b


def test_a_variable_that_is_an_input_keeps_the_inputs_name():
    def f(x):
        y = sc.var(sc.i32)
        z = y + 1
        y.define(x)
        return z, y

    program = sc.compile(sc.node(f), x=sc.i32)
    assert [v.name for v in program.node.inputs] == ["x"]
    assert program.run([1, 2])[0].tolist() == [2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_hold(seed):
    x, c = ints(seed, T), bits(seed + 9, T)

    def f(x, c):
        return (
            sc.hold(sc.when(x, c), -1),
            sc.hold(sc.when(x, c, False), -1),
            sc.hold({"a": sc.when(x, c)}, 5)["a"],
        )

    def kept(x, c, init):
        out = []
        for v, on in zip(x, c):
            init = v if on else init
            out.append(init)
        return out

    got = run(f, x, c, x=sc.i32, c=sc.bool_)
    assert [g.tolist() for g in got] == [kept(x, c, -1), kept(x, ~c, -1), kept(x, c, 5)]


def test_hold_forgets_at_a_reset():
    x, c, r = ints(1, T), bits(2, T, 0.3), bits(3, T, 0.3)

    @sc.node
    def kept(x: sc.i32, c: sc.bool_) -> sc.i32:
        return sc.hold(sc.when(x, c), -1)

    out, k = [], -1
    for t in range(T):
        k = -1 if r[t] else k
        k = x[t] if c[t] else k
        out.append(k)
    got = run(lambda x, c, r: kept(x, c, reset=r), x, c, r, x=sc.i32, c=sc.bool_, r=sc.bool_)
    assert got.tolist() == out


def test_formats_of_memories():
    def f(x):
        a = sc.state(0, format=sc.bf16)
        a.next = a + x.to(sc.bf16)
        b = sc.state({"n": 0, "go": True}, format=sc.f64)
        b.next = {"n": b["n"] + 1, "go": b["go"]}
        c = sc.state(np.zeros(2, np.int64))
        c.next = c + 1
        assert (a.format, b["n"].format, b["go"].format, c.format) == (
            sc.bf16,
            sc.f64,
            sc.bool_,
            sc.i32,
        )
        return a, b["n"], c

    run(f, reals(1, 4), x=sc.f32)


@pytest.mark.parametrize(
    ("body", "code", "what"),
    [
        (lambda x: sc.state(0) + x, "SE102", "the state `state` has no equation"),
        (lambda x: sc.state(0).next + x, "SE102", "`state` is read before its equation is written"),
        (lambda x: sc.var(sc.i32) + x, "SE106", "the variable `var` has no equation"),
        (lambda x: twice(x), "SE103", "the state `s` is defined twice"),
        (lambda x: redefined(x), "SE103", "the variable `v` is defined twice"),
        (lambda x: itself(x), "SE401", "`v` is defined as itself"),
        (
            lambda x: sc.state(0.5, format=sc.i32),
            "SE203",
            "a first value of f32 in a memory of i32",
        ),
        (lambda x: assigned(x, x.to(sc.f32)), "SE203", "`s` holds i32, the value is f32"),
        (lambda x: assigned(x, sc.stack([x, x])), "SE201", "`s` holds i32, the value is i32[2]"),
        (lambda x: assigned(x, [x]), "SE201", "a list of streams is no tensor"),
        (lambda x: sc.fby(0, x, reset=x), "SE302", "the condition of reset"),
        (lambda x: sc.fby(0, x, until=True), "SE302", "the condition of until"),
        (lambda x: grown(x), "SE201", ".next is a tree of another form"),
    ],
)
def test_faults(body, code, what):
    error = only(body, code, x=sc.i32)
    assert what in error.what, error
    assert error.where.file == __file__


def twice(x):
    s = sc.state(0)
    s.next = x
    s.next = x + 1
    return s


def redefined(x):
    v = sc.var(sc.i32)
    v.define(x)
    v.define(x + 1)
    return v


def itself(x):
    v, w = sc.var(sc.i32), sc.var(sc.i32)
    v.define(w)
    w.define(v)
    return v + x


def assigned(x, value):
    s = sc.state(0)
    s.next = value
    return s


def grown(x):
    s = sc.state({"a": 0})
    s.next = {"a": x, "b": x}
    return s
