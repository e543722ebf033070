"""Stacks of which one end is read: the loop keeps that row alone, and results keep their bits."""

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
