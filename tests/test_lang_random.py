"""Random draws: the same key gives the same bits, different keys different ones; the distributions are what they say."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from tests.lang import run


def draw(function, seed=0):
    """What a function of a key gives."""
    return sc.compile(sc.node(lambda: function(sc.random.key(seed)))).run(ticks=1)


def one(function, seed=0):
    return draw(function, seed)[0]


def test_the_same_key_gives_the_same_bits():
    a, b = draw(lambda k: (sc.random.bits(k, (8,)), sc.random.bits(k, (8,))))
    assert a.tolist() == b.tolist() == draw(lambda k: sc.random.bits(k, (8,))).tolist()
    assert one(lambda k: sc.random.bits(k, (8,)), 1).tolist() != a[0].tolist()
    assert (
        one(lambda k: sc.random.bits(k, (8,)), 2**40 + 1).tolist()
        != one(lambda k: sc.random.bits(k, (8,)), 1).tolist()
    )


def test_keys_may_be_streams():
    keys = np.array([[1, 2], [1, 2], [3, 4]], np.uint32)
    got = run(lambda k: (sc.random.bits(k, (4,)), sc.random.fold_in(k, 7)), keys, k=sc.u32[2])
    assert got[0][0].tolist() == got[0][1].tolist() != got[0][2].tolist()
    fixed = sc.compile(sc.node(lambda: sc.random.bits(keys[2], (4,)))).run(ticks=1)
    assert fixed[0].tolist() == got[0][2].tolist()


def test_splits_and_folds_are_distinct():
    def f(key):
        parts = [
            *sc.random.split(key, 20),
            *(sc.random.fold_in(key, i) for i in range(20, 40)),
            key,
        ]
        deeper = [sc.random.fold_in(parts[0], i) for i in range(5)]
        return sc.stack([*parts, *deeper]), sc.stack(
            [sc.random.bits(k, (2,)) for k in [*parts, *deeper]]
        )

    keys, bits = draw(f)
    assert len({tuple(k) for k in keys[0].tolist()}) == 46
    assert len({tuple(b) for b in bits[0].tolist()}) == 46


def test_a_counter_gives_fresh_draws_each_tick():
    def f(x: sc.f32):
        t = sc.state(0)
        t.next = t + 1
        return sc.random.uniform(sc.random.fold_in(sc.random.key(5), t), (3,)), x

    draws, _ = run(f, np.zeros(50, np.float32))
    assert len(np.unique(draws)) == 150


def test_folding_a_stream_is_folding_its_number():
    steps = np.arange(5, dtype=np.int32)
    streams = run(lambda t: sc.random.fold_in(sc.random.key(3), t), steps, t=sc.i32)
    fixed = one(lambda k: sc.stack([sc.random.fold_in(k, i) for i in range(5)]), 3)
    np.testing.assert_array_equal(streams, fixed)


@pytest.mark.parametrize("format", [sc.f32, sc.f64], ids=str)
def test_distributions(format):
    n = 20_000

    def f(key):
        a, b, c, d, e, g, h = sc.random.split(key, 7)
        return (
            sc.random.uniform(a, (n,), format=format), sc.random.uniform(b, (n,), -2.0, 6.0, format=format),
            sc.random.normal(c, (n,), format=format), sc.random.bernoulli(d, 0.3, (n,)), sc.random.randint(e, 6, (n,)),
            sc.random.permutation(g, 100), sc.stack([sc.random.categorical(k, np.log([0.2, 0.8])) for k in sc.random.split(h, 60)]),
        )  # fmt: skip

    u, wide, normal, coin, die, order, pick = (x[0] for x in draw(f, 11))
    assert u.dtype == np.dtype(format.dtype) and 0 <= u.min() and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.005
    assert -2 <= wide.min() and wide.max() <= 6 and abs(wide.mean() - 2) < 0.1
    assert (
        abs(normal.mean()) < 0.03
        and abs(normal.std() - 1) < 0.02
        and abs((normal**4).mean() - 3) < 0.3
    )
    assert abs(coin.mean() - 0.3) < 0.015
    assert (
        sorted(np.unique(die).tolist()) == list(range(6)) and np.bincount(die).min() > n / 6 * 0.9
    )
    assert sorted(order.tolist()) == list(range(100)) and order.tolist() != list(range(100))
    assert 0.6 < pick.mean() < 0.97
