"""Clocks: when, merge, every, hold and activate, nested, against loops; resets latched on the way down."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from tests.lang import bits, ints, only, run

T = 24
XC = {"x": sc.i32, "a": sc.bool_, "b": sc.bool_, "c": sc.bool_}


@sc.node
def count(x: sc.i32) -> sc.i32:
    n = sc.state(0)
    n.next = n + x
    return n.next


def data(seed: int = 0) -> tuple[np.ndarray, ...]:
    return ints(seed, T), bits(seed + 1, T, 0.6), bits(seed + 2, T, 0.6), bits(seed + 3, T, 0.6)


def sums(x, on, reset=None):
    """A running sum over the ticks where `on`, with resets that wait for the next such tick; {tick: sum}."""
    out, s, waiting = {}, 0, False
    for t in range(len(x)):
        waiting = waiting or (reset is not None and bool(reset[t]))
        if on[t]:
            s = int(x[t]) if waiting else s + int(x[t])
            waiting = False
            out[t] = s
    return out


def kept(values: dict, init, on=None):
    """A hold at the ticks where `on` (all by default)."""
    out = {}
    for t in range(T):
        init = values.get(t, init)
        if on is None or on[t]:
            out[t] = init
    return out


def sparse(result) -> dict:
    return dict(zip(result.ticks.tolist(), result.values.tolist()))


def test_when_of_trees_constants_and_polarity():
    x, a, b, _ = data()

    def f(x, a, b, c):
        t = sc.when({"x": x, "k": 3}, a)
        return t["x"] + t["k"], sc.when(x, a, False), sc.when(sc.when(x, a), sc.when(b, a))

    p, n, two = run(f, x, a, b, b, **XC)
    assert sparse(p) == {t: x[t] + 3 for t in range(T) if a[t]}
    assert sparse(n) == {t: x[t] for t in range(T) if not a[t]}
    assert sparse(two) == {t: x[t] for t in range(T) if a[t] and b[t]}


def test_merge_of_trees_and_constants():
    x, a, b, c = data(1)

    def f(x, a, b, c):
        m = sc.merge(a, (sc.when(x, a), 1), (0, sc.when(x, a, False)))
        return m, sc.merge(
            b, sc.when(np.arange(2, dtype=np.int32), b), -sc.when(sc.stack([x, x]), b, False)
        )

    (p, q), wide = run(f, x, a, b, c, **XC)
    assert p.tolist() == np.where(a, x, 0).tolist()
    assert q.tolist() == np.where(a, 1, x).tolist()
    np.testing.assert_array_equal(wide, np.where(b[:, None], [0, 1], -np.stack([x, x], 1)))


def test_merge_with_a_scalar_branch_broadcasts_on_its_clock():
    x, a, *_ = data(1)
    got = run(
        lambda x, a: sc.merge(a, sc.when(sc.stack([x, x]), a), sc.when(x, a, False)),
        x,
        a,
        x=sc.i32,
        a=sc.bool_,
    )
    np.testing.assert_array_equal(got, np.stack([x, x], 1))


@pytest.mark.parametrize("seed", range(3))
def test_every_three_deep(seed):
    x, a, b, c = data(seed)

    def f(x, a, b, c):
        with sc.every(a):
            one = count(x)
            with sc.every(b):
                two = count(x)
                with sc.every(c):
                    three = count(x)
                inner = sc.hold(three, -1)
            with sc.every(c):
                other = count(one)
        return one, two, three, inner, other, sc.hold(three, -2), sc.hold(one, 0) + sc.hold(two, 0)

    one, two, three, inner, other, top, both = run(f, x, a, b, c, **XC)
    w1, w2, w3 = sums(x, a), sums(x, a & b), sums(x, a & b & c)
    assert (sparse(one), sparse(two), sparse(three)) == (w1, w2, w3)
    assert sparse(inner) == kept(w3, -1, a & b)
    ones = np.array([w1.get(t, 0) for t in range(T)])
    assert sparse(other) == sums(ones, a & c)
    assert dict(enumerate(top.tolist())) == kept(w3, -2)
    assert both.tolist() == [kept(w1, 0)[t] + kept(w2, 0)[t] for t in range(T)]


def test_results_of_a_closed_block_meet_again():
    """Streams of one activation are on one clock, in the block or after it."""
    x, a, b, _ = data(2)

    def f(x, a, b):
        with sc.every(a):
            u = count(x)
        v = u * 2 + 1
        with sc.every(a):
            w = v + u
        return v, w, count(w), sc.when(v, sc.when(b, a))

    v, w, n, s = run(f, x, a, b, x=sc.i32, a=sc.bool_, b=sc.bool_)
    u = sums(x, a)
    assert sparse(v) == {t: 2 * u[t] + 1 for t in u}
    assert sparse(w) == {t: 3 * u[t] + 1 for t in u}
    whole = np.array([3 * u.get(t, 0) + 1 for t in range(T)])
    assert sparse(n) == sums(whole, a)
    assert sparse(s) == {t: 2 * u[t] + 1 for t in u if b[t]}


def test_a_state_is_as_slow_as_what_it_takes():
    """Parameters at the top level, carried from gather to gather."""
    x = ints(1, 13, low=-4, high=4)

    def f(x):
        xs = sc.gather(x, 4)
        w = sc.state(1)
        w.next = w + xs.sum()
        return w, sc.hold(w, -1), sc.hold(w.next, 0)

    w, held, after = run(f, x, x=sc.i32)
    values, ticks, s = {}, {}, 1
    for k in range(3):
        values[4 * k + 3] = s
        s += int(x[4 * k : 4 * k + 4].sum())
        ticks[4 * k + 3] = s
    assert sparse(w) == values
    latest, latest_after = -1, 0
    for t in range(13):
        latest, latest_after = values.get(t, latest), ticks.get(t, latest_after)
        assert (held[t], after[t]) == (latest, latest_after)


def test_gather_of_gather():
    x = ints(2, 20)
    got = run(lambda x: sc.gather(sc.gather(x, 2), 3), x, x=sc.i32)
    assert got.ticks.tolist() == [5, 11, 17]
    np.testing.assert_array_equal(got.values, x[:18].reshape(3, 3, 2))
    held = run(lambda x: sc.hold(sc.gather(sc.gather(x, 2), 3).sum(), 0), x, x=sc.i32)
    assert held.tolist() == [
        int(x[6 * (t // 6) : 6 * (t // 6) + 6].sum()) if (t := u - 5) >= 0 else 0 for u in range(20)
    ]


def test_gather_of_trees_starts_again_at_a_reset():
    x, r = ints(3, T), bits(4, T, 0.15)

    @sc.node
    def rows(x: sc.i32) -> sc.i32[3, 2]:
        got = sc.gather({"a": x, "b": sc.stack([x, -x])}, 3)
        return got["b"] + 0 * got["a"][:, None]

    want, row = {}, []
    for t in range(T):
        row = [] if r[t] else row
        row = [*row, [x[t], -x[t]]]
        if len(row) == 3:
            want[t], row = np.array(row).tolist(), []
    assert sparse(run(lambda x, r: rows(x, reset=r), x, r, x=sc.i32, r=sc.bool_)) == want


@pytest.mark.parametrize("seed", range(4))
def test_a_reset_is_latched_on_the_way_down(seed):
    x, a, b, r = data(seed)
    r = bits(seed + 40, T, 0.15)

    @sc.node
    def inside(x: sc.i32, a: sc.bool_, b: sc.bool_):
        with sc.every(a), sc.every(b):
            n = count(x)
        return n

    def f(x, a, b, r):
        with sc.every(a):
            direct = count(x, reset=r)
        return inside(x, a, b, reset=r), direct, sc.activate(b, count, x, reset=r)

    got, direct, active = run(f, x, a, b, r, x=sc.i32, a=sc.bool_, b=sc.bool_, r=sc.bool_)
    assert sparse(got) == sums(x, a & b, r)
    assert sparse(direct) == sums(x, a, r)
    assert sparse(active) == sums(x, b, r)


def test_resets_of_two_clocks_add_up():
    """An instance with its own reset inside an activation inside a reset instance."""
    x, a, r, q = ints(1, T), bits(2, T, 0.5), bits(3, T, 0.15), bits(4, T, 0.15)

    @sc.node
    def inside(x: sc.i32, a: sc.bool_, q: sc.bool_) -> sc.i32:
        with sc.every(a):
            n = count(x, reset=q)
        return n

    got = run(
        lambda x, a, r, q: inside(x, a, q, reset=r),
        x,
        a,
        r,
        q,
        x=sc.i32,
        a=sc.bool_,
        r=sc.bool_,
        q=sc.bool_,
    )
    assert sparse(got) == sums(x, a, r | q)


def test_a_reset_reaches_states_whose_clock_is_inferred():
    x, r = ints(5, 21, low=-4, high=4), bits(6, 21, 0.1)

    def f(x, r):
        xs = sc.gather(x, 3)
        w = sc.state(1, reset=r)
        w.next = w + xs.sum()
        return w

    want, s, waiting = {}, 1, False
    for t in range(21):
        waiting |= bool(r[t])
        if t % 3 == 2:
            s = 1 if waiting else s
            waiting = False
            want[t] = s
            s += int(x[t - 2 : t + 1].sum())
    assert sparse(run(f, x, r, x=sc.i32, r=sc.bool_)) == want


@pytest.mark.parametrize("seed", range(4))
def test_a_reset_of_a_state_inside_an_activation_waits_too(seed):
    x, a, r, _ = data(seed)
    r = bits(seed + 40, T, 0.2)

    def f(x, a, r):
        with sc.every(a):
            n, m = sc.state(0, reset=r), sc.state(0, until=r)
            n.next, m.next = n + x, m + x
        return n.next, m.next, sc.fby(0, n.next, reset=r)

    n, m, before = run(f, x, a, r, x=sc.i32, a=sc.bool_, r=sc.bool_)
    assert before.ticks.tolist() == n.ticks.tolist() and before.values[0] == 0
    assert sparse(n) == sums(x, a, r)
    assert sparse(m) == sums(x, a, np.concatenate([[False], r[:-1]]))


def test_a_function_that_is_differentiated_is_reset_too():
    x, r, a = ints(1, T).astype(np.float32), bits(2, T, 0.2), bits(3, T, 0.5)

    @sc.node
    def mean(x: sc.f32) -> sc.f32:
        m = sc.state(0.0)
        m.next = 0.5 * (m + x)
        return m.next

    @sc.node
    def inside(x: sc.f32, a: sc.bool_):
        _, aux = sc.value_and_grad(lambda z: (z * z, mean(x)), has_aux=True)(x)[0]
        with sc.every(a):
            slow = sc.value_and_grad(lambda z: (z * z, mean(z)), has_aux=True)(x)[0][1]
        return aux, slow

    got, slow = run(
        lambda x, a, r: inside(x, a, reset=r), x, a, r, x=sc.f32, a=sc.bool_, r=sc.bool_
    )
    m, want = 0.0, []
    for t in range(T):
        m = 0.5 * ((0.0 if r[t] else m) + x[t])
        want.append(m)
    np.testing.assert_allclose(got, want)
    m, waiting, want = 0.0, False, {}
    for t in range(T):
        waiting |= bool(r[t])
        if a[t]:
            m = 0.5 * ((0.0 if waiting else m) + x[t])
            want[t], waiting = m, False
    assert slow.ticks.tolist() == list(want)
    np.testing.assert_allclose(slow.values, list(want.values()))


def test_constants_are_on_any_clock():
    x, a, *_ = data(1)

    def f(x, a):
        k = sc.constant(2) * 3
        with sc.every(a):
            inside = sc.ones(2, sc.i32).sum() + k
            n = sc.state(k)
            n.next = n + 1
        return k + x, sc.when(x, a) + k, inside + n, sc.hold(n, k)

    run(f, x, a, x=sc.i32, a=sc.bool_)


def test_a_declared_variable_may_be_slow():
    x, a, *_ = data(1)

    def f(x, a):
        y = sc.var(sc.i32)
        z = y + sc.when(x, a)
        y.define(sc.fby(0, z))
        return z, sc.hold(y, 7)

    z, held = run(f, x, a, x=sc.i32, a=sc.bool_)
    want = sums(x, a)
    assert sparse(z) == want
    before = dict(zip(want, [0, *want.values()]))
    assert dict(enumerate(held.tolist())) == kept(before, 7)


def ones(on):
    """A counter of the ticks where `on`, from 0."""
    return {t: k for k, t in enumerate(np.flatnonzero(on).tolist())}


def test_a_memory_of_constants_is_on_the_clock_of_its_block():
    """Nothing but the place where it was written says when it counts."""
    _, a, b, _ = data(4)

    @sc.node
    def counter() -> sc.i32:
        n = sc.state(0)
        n.next = n + 1
        return n

    def f(a, b):
        with sc.every(a):
            n = counter()
            flip = sc.state(True)
            flip.next = ~flip
            with sc.every(b):
                m = counter()
            one = sc.value_and_grad(lambda z: (z * z, counter()), has_aux=True)(sc.constant(1.0))[
                0
            ][1]
        with sc.automaton() as auto:
            with auto.mode("on") as mode:
                k = counter()
                mode.until(b, "off")
            with auto.mode("off") as mode:
                mode.until(~b, "on", history=True)
        return n, m, sc.hold(n, -1), sc.hold(m, -1), counter(), flip, one, sc.hold(k, -1)

    n, m, held, deep, base, flip, one, k = run(f, a, b, a=sc.bool_, b=sc.bool_)
    assert sparse(n) == sparse(one) == ones(a)
    assert sparse(m) == ones(a & b)
    assert dict(enumerate(held.tolist())) == kept(ones(a), -1)
    assert dict(enumerate(deep.tolist())) == kept(ones(a & b), -1)
    assert base.tolist() == list(range(T))
    assert sparse(flip) == {t: v % 2 == 0 for t, v in ones(a).items()}
    on = np.append(True, ~b[:-1])
    assert dict(enumerate(k.tolist())) == kept(ones(on), -1)


def test_an_instance_is_as_slow_as_its_arguments():
    x, r = ints(5, 24, low=-4, high=5), bits(6, 24, 0.1)

    @sc.node
    def inside(x: sc.i32) -> tuple[sc.i32, sc.i32, sc.i32, sc.i32]:
        with sc.every(x > 0):
            positive = count(x)
        with sc.automaton() as auto:
            with auto.mode("up") as m:
                m.emit(level=count(x))
                m.until(x < 0, "down")
            with auto.mode("down") as m:
                m.emit(level=-x)
                m.until(x > 0, "up")
        ticks = sc.state(0)
        ticks.next = ticks + 1
        return count(x), sc.hold(positive, 0), auto.level, ticks

    def f(x, r):
        return inside(sc.gather(x, 3).sum(), reset=r)

    total, positive, level, ticks = run(f, x, r, x=sc.i32, r=sc.bool_)
    rows, resets = x.reshape(8, 3).sum(1), r.reshape(8, 3).any(1)
    assert (
        ticks.ticks.tolist()
        == total.ticks.tolist()
        == positive.ticks.tolist()
        == level.ticks.tolist()
        == list(range(2, 24, 3))
    )
    s = p = n = u = 0
    up = True
    for k, (v, again) in enumerate(zip(rows.tolist(), resets)):
        if again:
            s, p, n, u, up = 0, 0, 0, 0, True
        s += v
        p += max(v, 0)
        n = n + v if up else n
        got = total.values[k], positive.values[k], level.values[k], ticks.values[k]
        assert got == (s, p, n if up else -v, u)
        u += 1
        if up and v < 0:
            up = False
        elif not up and v > 0:
            up, n = True, 0


@pytest.mark.parametrize(
    ("body", "what", "hint"),
    [
        (lambda x, a, b: x + sc.when(x, a), "`base on a`", "sc.when(x, a)"),
        (lambda x, a, b: sc.when(x, a) + sc.when(x, b), "`base on a`", "sc.hold"),
        (lambda x, a, b: sc.when(x, a) + sc.when(x, a, False), "`base on not a`", "sc.merge(a, "),
        (lambda x, a, b: sc.merge(a, x, 0), "`base on a`", "sc.when(x, a)"),
        (
            lambda x, a, b: sc.hold(x, 0),
            "hold of `x`, which is not on a slower clock",
            "hold takes",
        ),
        (lambda x, a, b: sc.hold(3, 0), "not on a slower clock", "hold takes"),
        (lambda x, a, b: read_inside(x, a), "`base on a`", ""),
    ],
)
def test_streams_on_different_clocks(body, what, hint):
    error = only(body, "SE301", x=sc.i32, a=sc.bool_, b=sc.bool_)
    assert what in str(error) and hint in error.hint, error
    assert error.where.file == __file__


def read_inside(x, a):
    s = sc.state(0)
    with sc.every(a):
        y = s + x
    s.next = y
    return s


def test_conditions_are_scalar_booleans():
    for body in (
        lambda x: sc.when(x, x), lambda x: sc.merge(True, x, x), lambda x: sc.when(x, sc.stack([x > 0, x > 1])),
        lambda x: entered(x),
    ):  # fmt: skip
        assert only(body, "SE302", x=sc.i32).where.file == __file__


def entered(x):
    with sc.every(x):
        return x + 1


def test_branches_that_do_not_fit():
    assert (
        "do not broadcast"
        in only(
            lambda x, a: sc.merge(a, np.zeros(2, int), np.zeros(3, int)),
            "SE201",
            x=sc.i32,
            a=sc.bool_,
        ).what
    )
    assert only(lambda x, a: sc.merge(a, 0.5, sc.when(x, a, False)), "SE203", x=sc.i32, a=sc.bool_)
    assert (
        "different forms"
        in only(lambda x, a: sc.merge(a, (1, 2), 1), "SE201", x=sc.i32, a=sc.bool_).what
    )
