"""Ends of loops: a stack of which one end is read keeps that row alone, a value that one row uses is computed once; bits stay."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from tests.learning import random

ROWS, WIDTH = 6, 50
XS = random(1, 9, ROWS, WIDTH)


def running(x):
    total = sc.state(np.zeros(WIDTH, np.float32))
    total.next = 0.5 * total + x
    return total.next


def program(read, target="interp"):
    @sc.node
    def node(xs: sc.f32[ROWS, WIDTH]):
        return read(sc.over_time(running)(xs))

    return sc.compile(node, target=target)


def whole(read):
    """The same by numpy, from all rows."""
    totals, out = np.zeros((9, WIDTH), np.float32), []
    for t in range(ROWS):
        totals = np.float32(0.5) * totals + XS[:, t]
        out.append(totals)
    return np.stack([read(rows) for rows in np.stack(out, axis=1)])


READS = {
    "last": (lambda y: y[-1], 1),
    "first": (lambda y: y[0], 1),
    "part of the last": (lambda y: y[-1, 3:9], 1),
    "the last as rows": (lambda y: y[-1:] * 2, 1),
    "one row twice": (lambda y: y[-1] + y[ROWS - 1] * 2, 1),
    "both ends": (lambda y: y[0] + y[-1], ROWS),
    "in between": (lambda y: y[2], ROWS),
    "two rows": (lambda y: y[-2:].sum(0), ROWS),
    "all": (lambda y: y, ROWS),
    "all and the last": (lambda y: y.sum(0) + y[-1], ROWS),
}


@pytest.mark.cc
@pytest.mark.parametrize("name", READS)
def test_what_is_kept_is_what_is_read(name: str) -> None:
    read, rows = READS[name]
    interpreted, compiled = program(read), program(read, "c")
    mine = interpreted.run(XS)
    np.testing.assert_allclose(mine, whole(read), rtol=1e-5, atol=1e-5)
    assert mine.tobytes() == compiled.run(XS).tobytes()
    stacked = [
        v for eq in interpreted.lowered.node.eqs for v in eq.outs if v.type.shape == (ROWS, WIDTH)
    ]
    assert bool(stacked) == (rows == ROWS)


@pytest.mark.cc
def test_updates_in_a_loop_do_not_multiply_the_weights() -> None:
    @sc.node
    def learner(xs: sc.f32[ROWS, WIDTH]):
        w = sc.state(np.zeros(WIDTH, np.float32))

        def update(x):
            now = sc.state(w)
            now.next = now - 0.1 * sc.grad(lambda w: sc.square(w - x).sum())(now)
            return now.next

        w.next = sc.over_time(update)(xs)[-1]
        return w.next

    small = sc.compile(learner, target="c")
    assert small.report().plan.scratch_bytes < 3 * WIDTH * 4
    w = np.zeros(WIDTH)
    for xs in XS:
        for x in xs:
            w = w - 0.2 * (w - x)
    np.testing.assert_allclose(small.run(XS)[-1], w, rtol=1e-4, atol=1e-6)


def test_a_loop_inside_a_loop() -> None:
    @sc.node
    def nested(xs: sc.f32[ROWS, WIDTH]):
        return sc.over_time(lambda x: sc.over_time(running)(sc.stack([x, 2 * x, x]))[-1])(xs)[-1]

    x = XS[:, -1]
    np.testing.assert_allclose(sc.compile(nested).run(XS), x + x + x / 4, rtol=1e-6)


def test_a_loop_of_one_row_takes_no_more_than_of_two() -> None:
    def made(rows):
        @sc.node
        def node(xs: sc.f32[rows, WIDTH]):
            total = sc.state(np.zeros(WIDTH, np.float32))

            def step(x):
                inner = sc.state(total)
                inner.next = 0.5 * inner + x
                return inner.next

            total.next = sc.over_time(step)(xs)[-1]
            return total.next

        return sc.compile(node)

    one, two = made(1), made(2)
    assert one.report().plan.struct_bytes <= two.report().plan.struct_bytes
    single = one.run(XS.reshape(54, 1, WIDTH))
    np.testing.assert_array_equal(single[1::2], two.run(XS.reshape(27, 2, WIDTH)))


# What one row uses.


def edged(xs, gain):
    def cell(x):
        begun = sc.state(sc.exp(gain * x))
        begun.next = begun * x
        ahead = sc.costate(sc.tanh(gain + x))
        ahead.prev = 0.5 * ahead + x
        return begun + ahead.prev

    return sc.over_time(cell)(xs)


def counted(rows):
    @sc.node
    def node(xs: sc.f32[rows, WIDTH], gain: sc.f32[WIDTH]):
        return edged(xs, gain)

    plan = sc.compile(node).report().plan
    return {w: sum(e.trips for e in plan.equations if e.what == w) for w in ("exp", "tanh")}


def test_what_one_row_uses_is_computed_once() -> None:
    assert counted(2) == counted(9)
    assert set(counted(9).values()) == {1}


@pytest.mark.cc
@pytest.mark.parametrize("target", ["interp", "c"])
def test_first_and_final_values_are_those_of_their_rows(target: str) -> None:
    @sc.node
    def node(xs: sc.f32[ROWS, WIDTH], gain: sc.f32[WIDTH]):
        return edged(xs, gain)

    gains = random(2, 9, WIDTH)
    found = sc.compile(node, target=target).run(XS, gains)
    for x, gain, y in zip(XS, gains, found, strict=True):
        begun, ahead, wanted = np.exp(gain * x[0]), np.tanh(gain + x[-1]), np.zeros_like(x)
        for t in range(ROWS):
            wanted[t] += begun
            begun = begun * x[t]
        for t in reversed(range(ROWS)):
            ahead = 0.5 * ahead + x[t]
            wanted[t] += ahead
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


def test_what_rows_need_themselves_stays_with_them() -> None:
    @sc.node
    def node(xs: sc.f32[ROWS]):
        def cell(x):
            y = sc.exp(x)
            ahead = sc.costate(y)
            ahead.prev = 0.5 * ahead + y
            return ahead.prev

        return sc.over_time(cell)(xs)

    plan = sc.compile(node).report().plan
    assert [e.trips for e in plan.equations if e.what == "exp"] == [ROWS]


@pytest.mark.cc
def test_the_last_row_of_a_frame_is_where_it_closes() -> None:
    @sc.node
    def node(x: sc.f32, done: sc.bool_):
        with sc.frame(max=5, until=done):
            ahead = sc.costate(sc.exp(x) + 1)
            ahead.prev = 0.5 * ahead + x
            return ahead.prev

    rng = np.random.default_rng(4)
    x, done = rng.normal(size=40).astype(np.float32), np.arange(40) % 5 > 2
    wanted, ahead = np.zeros(40), 0.0
    for t in reversed(range(40)):
        ahead = np.exp(x[t]) + 1 if done[t] or t == 39 else ahead
        ahead = wanted[t] = 0.5 * ahead + x[t]
    for target in ("interp", "c"):
        found = sc.compile(node, target=target).run(x, done)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
