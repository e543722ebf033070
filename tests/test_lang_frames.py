"""Frames and scanned nodes against loops: ends, parameters, slow results, returning streams, resets, overflow."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from tests.lang import bits, compiled, ints, only, reals, run

T = 20
PAIR = {"x": sc.i32, "y": sc.i32[2]}
XE = {"x": sc.i32, "e": sc.bool_}


def closing(seed: int, longest: int) -> np.ndarray:
    """Ends of frames of 1 to `longest` ticks."""
    rng, e, at = np.random.default_rng(seed), np.zeros(T, bool), -1
    while True:
        at += rng.integers(1, longest + 1)
        if at >= T:
            return e
        e[at] = True


def frames(e: np.ndarray, cut: bool = True) -> list[range]:
    """The ticks of each frame; the one that the end of input cuts comes last."""
    opens, found = 0, []
    for t in range(len(e)):
        if e[t]:
            found.append(range(opens, t + 1))
            opens = t + 1
    return [*found, range(opens, len(e))] if cut and opens < len(e) else found


def sparse(result) -> dict:
    return dict(zip(result.ticks.tolist(), result.values.tolist()))


def backward(x, frame, gain=1):
    """s[t] = x[t] + gain * s[t + 1] within a frame."""
    out, s = {}, 0
    for t in reversed(frame):
        s = int(x[t]) + gain * s
        out[t] = s
    return out


@pytest.mark.parametrize("seed", range(4))
def test_a_costate_in_a_frame_that_data_close(seed):
    x, e = ints(seed, T, low=-3, high=4), closing(seed, 5)

    def f(x, e):
        with sc.frame(max=5, until=e) as fr:
            ahead = sc.costate(0)
            ahead.prev = x + 2 * ahead
            later = sc.post(x, 99)
        return ahead.prev, later, fr.last(ahead.prev), fr.sum(x), fr.stack(x), fr.last(ahead)

    back, later, last, total, stack, at_end = run(f, x, e, **XE)
    want, want_later = {}, {}
    for fr in frames(e):
        want |= backward(x, fr, 2)
        want_later |= {t: x[t + 1] if t + 1 in fr else 99 for t in fr}
    assert back.tolist() == [want[t] for t in range(T)]
    assert later.tolist() == [want_later[t] for t in range(T)]
    closed = frames(e, cut=False)
    assert sparse(last) == {fr[-1]: x[fr[-1]] for fr in closed}
    assert sparse(total) == {fr[-1]: sum(x[t] for t in fr) for fr in closed}
    assert sparse(stack) == {
        fr[-1]: [*x[fr[0] : fr[-1] + 1], *[0] * (5 - len(fr))] for fr in closed
    }
    assert set(at_end.values.tolist()) <= {0}


def test_a_frame_is_closed_a_tick_before_its_reset():
    x, r = ints(1, T), bits(2, T, 0.35)

    def f(x, r):
        with sc.frame(max=T, reset=r) as fr:
            ahead = sc.costate(0)
            ahead.prev = x + ahead
        with sc.frame(max=T, until=sc.post(r, True)) as other:
            other.sum(x)
        return ahead.prev, fr.sum(x), other.sum(x)

    back, total, same = run(f, x, r, x=sc.i32, r=sc.bool_)
    e = np.append(r[1:], True)
    want = {}
    for fr in frames(e):
        want |= backward(x, fr)
    assert back.tolist() == [want[t] for t in range(T)]
    assert sparse(total) == sparse(same) == {fr[-1]: sum(x[t] for t in fr) for fr in frames(e)}
    shifted = np.append(r[2:], [True, True])
    assert back.tolist() != [
        v for fr in frames(shifted) for v in dict(sorted(backward(x, fr).items())).values()
    ]


def test_a_frame_of_a_fixed_number_of_ticks():
    x = ints(3, T)

    def f(x):
        with sc.frame(max=6) as fr:
            n = sc.state(0)
            n.next = n + 1
            left = sc.costate(0)
            left.prev = left + 1
            weighted = fr.sum(x * n)
        return n, left, fr.sum(x), sc.hold(weighted, -1)

    n, left, total, held = run(f, x, x=sc.i32)
    assert n.tolist() == [t % 6 for t in range(T)]
    assert left.tolist() == [min(5 - t % 6, T - 1 - t) for t in range(T)]
    assert sparse(total) == {t: int(x[t - 5 : t + 1].sum()) for t in (5, 11, 17)}
    sums = {t: int((x[t - 5 : t + 1] * np.arange(6)).sum()) for t in (5, 11, 17)}
    kept, want = -1, []
    for t in range(T):
        kept = sums.get(t, kept)
        want.append(kept)
    assert held.tolist() == want


def test_memory_opens_with_each_frame_and_segments_inside_it():
    x, e, r = ints(4, T), closing(5, 6), bits(6, T, 0.3)

    def f(x, e, r):
        with sc.frame(max=6, until=e):
            s = sc.state(0, reset=r)
            s.next = s + x
            after = sc.fby(-1, x, until=r)
            last = sc.last(x, until=r)
        return s.next, after, last

    s, after, last = run(f, x, e, r, **XE, r=sc.bool_)
    for fr in frames(e):
        total = 0
        for t in fr:
            total = int(x[t]) if r[t] else total + int(x[t])
            assert s[t] == total
            assert after[t] == (-1 if t == fr[0] or r[t - 1] else x[t - 1])
            end = next((u for u in fr if u >= t and r[u]), fr[-1])
            assert last[t] == x[end]


def test_parameters_are_constant_in_a_frame():
    """A training loop: a state on the frame's clock, used at each tick, changed by a gradient swept back over them."""
    x, e = reals(7, T), closing(8, 4)

    def f(x: sc.f32, e: sc.bool_):
        w = sc.state(0.5)
        with sc.frame(max=4, until=e) as fr:
            h = sc.state(0.0)
            h.next = 0.5 * h + w * x
            adjoint = sc.costate(0.0)
            adjoint.prev = 2.0 * h.next + 0.5 * adjoint
            dw = fr.sum(adjoint.prev * x)
        w.next = w - 0.125 * dw
        return h.next, w, dw, sc.hold(w.next, 0.5)

    h, w, dw, held = run(f, x, e)
    weight = 0.5
    ws, hs, dws = {}, [], {}
    for fr in frames(e):
        state, values = 0.0, {}
        for t in fr:
            state = 0.5 * state + weight * x[t]
            values[t] = state
        hs += values.values()
        adjoint, total = 0.0, 0.0
        for t in reversed(fr):
            adjoint = 2.0 * values[t] + 0.5 * adjoint
            total += adjoint * x[t]
        if e[fr[-1]]:
            ws[fr[-1]], dws[fr[-1]] = weight, total
            weight -= 0.125 * total
    # The frame that the end of input cuts takes the last parameters that there were.
    closed = len(frames(e, cut=False)[-1:]) and frames(e, cut=False)[-1][-1] + 1
    np.testing.assert_allclose(h[:closed], hs[:closed], rtol=1e-4, atol=1e-5)
    assert w.ticks.tolist() == list(ws)
    assert held[0] == 0.5 and abs(held[-1] - weight) < 1e-4
    np.testing.assert_allclose(w.values, list(ws.values()), rtol=1e-4)
    np.testing.assert_allclose(dw.values, list(dws.values()), rtol=1e-3, atol=1e-5)


def test_two_frames_that_need_each_other():
    x, e = ints(9, T, low=-3, high=3), closing(10, 4)

    def f(x, e):
        w = sc.state(1)
        with sc.frame(max=4, until=e) as one:
            a = one.sum(x * w)
        with sc.frame(max=4, until=e) as two:
            b = two.sum(x + a)
        w.next = w + b % 3
        return a, b, w

    a, b, w = run(f, x, e, **XE)
    weight = 1
    for k, fr in enumerate(frames(e, cut=False)):
        total = sum(int(x[t]) for t in fr)
        assert (a.values[k], b.values[k], w.values[k]) == (
            total * weight,
            total + len(fr) * total * weight,
            weight,
        )
        weight += (total + len(fr) * total * weight) % 3


def test_frames_on_a_slow_clock():
    """Of gathered rows: a frame whose ticks are gathers, with slow results only."""
    x = ints(11, 24)

    def f(x):
        rows = sc.gather(x, 2)
        with sc.frame(max=3) as fr:
            s = sc.state(0)
            s.next = s + rows.sum()
        return fr.last(s.next), fr.stack(rows)

    last, stack = run(f, x, x=sc.i32)
    assert sparse(last) == {t: int(x[t - 5 : t + 1].sum()) for t in (5, 11, 17, 23)}
    np.testing.assert_array_equal(stack.values, x.reshape(4, 3, 2))


def test_a_frame_inside_an_activation():
    x, c, e = ints(12, T), bits(13, T, 0.6), bits(14, T, 0.4)

    def f(x, c, e):
        with sc.every(c), sc.frame(max=T, until=e) as fr:
            total = fr.sum(x)
        return total

    want, rows = {}, []
    for t in range(T):
        if c[t]:
            rows.append(int(x[t]))
            if e[t]:
                want[t], rows = sum(rows), []
    assert sparse(run(f, x, c, e, x=sc.i32, c=sc.bool_, e=sc.bool_)) == want


@sc.node
def running(x: sc.i32) -> sc.i32:
    s = sc.state(0)
    s.next = s + x
    return s.next


def test_nested_use_of_over_time():
    """Rows of rows inside a frame's tick."""
    x, e = ints(15, T, 2, 3), closing(16, 3)

    @sc.node
    def rows(x: sc.i32[3]) -> sc.i32:
        return running(sc.over_time(running)(x)[-1])

    def f(x, e):
        with sc.frame(max=3, until=e) as fr:
            inner = sc.over_time(rows)(x)
            outer = running(inner[1])
        return inner, fr.last(outer)

    inner, outer = run(f, x, e, x=sc.i32[2, 3], e=sc.bool_)
    want = np.cumsum(x.sum(2), axis=1)
    np.testing.assert_array_equal(inner, want)
    assert sparse(outer) == {
        fr[-1]: int(want[fr[0] : fr[-1] + 1, 1].sum()) for fr in frames(e, cut=False)
    }


def test_over_time_of_trees_reversed_and_closed_over():
    x, y, k = ints(1, 4, 5), ints(2, 4, 5, 2), ints(3, 4)

    def f(x, y, k):
        @sc.node
        def cell(t: PAIR):
            ahead = sc.costate(0)
            ahead.prev = t["x"] * k + ahead
            return running(t["x"]) + k, ahead.prev, t["y"] + k

        return sc.over_time(cell)({"x": x, "y": y}), sc.over_time(cell, reverse=True)(
            {"x": x, "y": y}
        )

    one, other = run(f, x, y, k, x=sc.i32[5], y=sc.i32[5, 2], k=sc.i32)
    prefix, suffix = np.cumsum(x, 1), np.cumsum(x[:, ::-1], 1)[:, ::-1]
    col = k[:, None]
    np.testing.assert_array_equal(one[0], prefix + col)
    np.testing.assert_array_equal(one[1], suffix * col)
    np.testing.assert_array_equal(one[2], y + k[:, None, None])
    np.testing.assert_array_equal(other[0], suffix + col)
    np.testing.assert_array_equal(other[1], prefix * col)


def test_over_time_starts_afresh_at_each_tick():
    x = ints(1, 3, 4)
    np.testing.assert_array_equal(
        run(lambda x: sc.over_time(running)(x), x, x=sc.i32[4]), np.cumsum(x, 1)
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_reset_discards_a_frame_and_closes_its_streams(seed):
    x, e, r = ints(seed, T, low=-3, high=4), closing(seed + 20, 5), bits(seed + 30, T, 0.15)

    @sc.node
    def inside(x: sc.i32, e: sc.bool_):
        with sc.frame(max=5, until=e) as fr:
            ahead = sc.costate(0)
            ahead.prev = x + ahead
        return ahead.prev, fr.sum(x)

    def f(x, e, r):
        back, total = inside(x, e, reset=r)
        with sc.frame(max=5, until=e) as fr:
            unhurt = fr.sum(x)
        return back, total, unhurt

    back, total, unhurt = run(f, x, e, r, **XE, r=sc.bool_)
    want, sums, rows = {}, {}, []
    for t in range(T):
        if r[t]:
            want |= backward(x, rows)
            rows = []
        rows.append(t)
        if e[t] or t == T - 1:
            want |= backward(x, rows)
            if e[t]:
                sums[t] = sum(int(x[u]) for u in rows)
            rows = []
    assert back.tolist() == [want[t] for t in range(T)]
    assert sparse(total) == sums
    assert sparse(unhurt) == {fr[-1]: sum(int(x[t]) for t in fr) for fr in frames(e, cut=False)}


def test_results_may_be_held_while_the_body_is_still_written():
    x, e = ints(1, T), closing(2, 4)

    @sc.node
    def inside(x: sc.i32, e: sc.bool_) -> sc.i32:
        with sc.frame(max=4, until=e) as fr:
            return sc.hold(fr.sum(x), 0)

    want, kept = [], 0
    totals = {fr[-1]: sum(int(x[t]) for t in fr) for fr in frames(e, cut=False)}
    for t in range(T):
        kept = totals.get(t, kept)
        want.append(kept)
    assert run(inside, x, e).tolist() == want


def test_trees_leave_a_frame():
    x, e = ints(1, T), closing(2, 4)

    def f(x, e):
        with sc.frame(max=4, until=e) as fr:
            both = {"a": x, "b": (x + 1, 7)}
        return fr.last(both), fr.sum({"x": x, "one": 1}), fr.stack((x,)), sc.when(x, fr.closes)

    last, total, stack, at = run(f, x, e, **XE)
    closed = frames(e, cut=False)
    assert stack[0].values[0].tolist() == [*x[list(closed[0])], *[0] * (4 - len(closed[0]))]
    assert sparse(last["b"][0]) == {fr[-1]: x[fr[-1]] + 1 for fr in closed}
    assert sparse(total["one"]) == {fr[-1]: len(fr) for fr in closed}
    assert sparse(at) == sparse(last["a"])


def test_overflow_names_the_tick_and_the_line():
    def f(x: sc.i32, e: sc.bool_):
        with sc.frame(max=3, until=e) as fr:
            total = fr.sum(x)
        return total

    program = compiled(f)
    e = np.array([0, 0, 1, 0, 0, 0, 0, 1], bool)
    with pytest.raises(sc.SeicheError) as caught:
        program.run(np.ones(8, np.int32), e)
    (error,) = caught.value.diagnostics
    assert error.code == "SE602" and "at tick 6" in error.what
    assert error.where.file == __file__ and "sc.frame(max=3" in error.where.source


@pytest.mark.parametrize("extent", [0, -1, 2.0, True, None, "8"])
def test_a_maximum_is_a_positive_integer(extent):
    def f(x):
        with sc.frame(max=extent):
            return x + 1

    assert only(f, "SE601", x=sc.i32).where.file == __file__


def test_other_faults():
    def both(x, e):
        with sc.frame(max=3, until=e, reset=e):
            return x + 1

    def slow_inside(x, e):
        with sc.frame(max=3, until=e), sc.every(x > 0):
            y = x + 1
        return y

    def nested(x, e):
        with sc.frame(max=3, until=e), sc.frame(max=2) as fr:
            y = fr.sum(x)
        return y

    def ragged(x, e):
        return sc.over_time(running)(sc.stack([x, x]), sc.stack([x, x, x]))

    assert only(both, "SE601", **XE)
    assert "sub-clock inside the frame" in only(slow_inside, "SE603", **XE).what
    assert only(ragged, "SE201", **XE)
    assert only(lambda x, e: sc.over_time(running)(x), "SE201", **XE)
    assert only(lambda x, e: sc.gather(x, 0), "SE601", **XE)
    assert only(nested, "SE603", **XE)


def test_what_returned_to_its_ticks_does_not_enter_its_frame_again():
    def f(x, e):
        with sc.frame(max=3, until=e) as fr:
            n = sc.state(0)
            n.next = n + 1
        return fr.sum(x * n)

    assert "`n`" in str(only(f, "SE402", **XE))


def test_parameters_of_a_frame_that_only_counts() -> None:
    """`until` comes from states alone, and the parameter's clock from the frame's own result."""

    @sc.node
    def learner(x: sc.f32) -> sc.f32:
        w = sc.state(1.0)
        with sc.frame(max=2) as fr:
            y = w * x
        w.next = fr.sum(y)
        return fr.sum(y)

    found = sc.compile(learner).run([1.0, 2.0, 3.0, 4.0])
    assert found.ticks.tolist() == [1, 3] and found.values.tolist() == [3.0, 21.0]
