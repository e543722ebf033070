"""Formats: weak constants, programs in any format, rounding after each op against the exact scalar rule, no conversion unasked."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import seiche as sc
from seiche.numbers.rounding import round_exact
from tests.lang import compiled, only, reals, run

SMALL = [sc.f16, sc.bf16, sc.e4m3, sc.e5m2, sc.float_(4, 7), sc.fixed(4, 8), sc.fixed(8, 0)]
WIDE = [sc.f32, sc.f64]
each_small = pytest.mark.parametrize("format", SMALL, ids=str)


def rounded(values, format) -> np.ndarray:
    flat = [round_exact(float(v), format) for v in np.asarray(values).ravel()]
    return np.array(flat, format.dtype).reshape(np.shape(values))


@each_small
def test_every_op_is_rounded(format):
    """A dot product and a recurrence, step by step in exact arithmetic, rounded after each."""
    x, y = rounded(reals(1, 6), format), rounded(reals(2, 6), format)

    def f(x, y):
        s = sc.state(0.0, format=format)
        p = x * y
        s.next = s + p
        return p, s.next, x / (y * y + 1)

    p, s, q = run(f, x, y, x=format, y=format)
    state, one = Fraction(0), Fraction(1)

    def exact(v: Fraction) -> float:
        return float(rounded(float(v), format))

    for t in range(6):
        a, b = Fraction(float(x[t])), Fraction(float(y[t]))
        assert p[t] == exact(a * b)
        state = Fraction(exact(state + Fraction(float(p[t]))))
        assert s[t] == float(state)
        below = Fraction(exact(Fraction(exact(b * b)) + one))
        assert q[t] == exact(a / below)


@pytest.mark.parametrize("format", SMALL + WIDE, ids=str)
def test_a_weak_constant_adopts_the_format(format):
    def f(x):
        y = 0.3 * x + 1 - np.float64(0.1) + np.array(0.7) * np.float32(0.5)
        assert (
            y.format == format
            and sc.where(x > 0, x, 0).format == format
            and sc.maximum(0, x).format == format
        )
        return y, sc.constant(0.3, format), sc.stack([x, 0.3])

    _, k, both = run(f, rounded(reals(1, 3), format), x=format)
    assert k[0] == rounded(0.3, format) and both[0, 1] == rounded(0.3, format)


def test_constants_alone():
    def f():
        assert sc.where(sc.constant(True), 1.0, 0).format == sc.f32
        assert sc.concatenate([[1, 2], [0.5]]).format == sc.f32
        assert (sc.constant(3) * 0 + np.int8(4)).format == sc.i32
        assert (
            sc.constant(np.int8(4)).format == sc.i8 and sc.constant(np.float16(1)).format == sc.f16
        )
        return sc.constant(1, sc.u64)

    assert compiled(f).run(ticks=1).dtype == np.uint64


def test_f64_programs():
    x = np.random.default_rng(1).normal(size=20)

    def f(x: sc.f64) -> sc.f64:
        m = sc.state(0.0, format=sc.f64)
        m.next = 0.9 * m + 0.1 * sc.sin(x)
        return m.next

    m, want = 0.0, []
    for v in x:
        m = 0.9 * m + 0.1 * np.sin(v)
        want.append(m)
    got = run(f, x)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda x, i, c: x + i, "SE203"),
        (lambda x, i, c: i + 0.5, "SE203"),
        (lambda x, i, c: i / 2.0, "SE203"),
        (lambda x, i, c: x + x.to(sc.f64), "SE203"),
        (lambda x, i, c: x.to(sc.bf16) * x.to(sc.f16), "SE203"),
        (lambda x, i, c: c + 1, "SE203"),
        (lambda x, i, c: x + True, "SE203"),
        (lambda x, i, c: sc.where(c, x, i), "SE203"),
        (lambda x, i, c: sc.constant(0.5, sc.i32), "SE203"),
        (lambda x, i, c: sc.constant(1, sc.bool_), "SE203"),
        (lambda x, i, c: i + 2**40, "SE201"),
        (lambda x, i, c: i.to(sc.u8) + 256, "SE201"),
        (lambda x, i, c: i.to(sc.u8) + -1, "SE201"),
        (lambda x, i, c: sc.constant(2**40), "SE201"),
        (lambda x, i, c: i + 2**80, "SE201"),
        (lambda x, i, c: x + 1j, "SE109"),
        (lambda x, i, c: x + "a", "SE109"),
        (lambda x, i, c: x + None, "SE109"),
    ],
)
def test_nothing_is_converted_unasked(wrong, code):
    error = only(wrong, code, x=sc.f32, i=sc.i32, c=sc.bool_)
    assert error.where.file == __file__ and str(error)


def test_the_hint_of_a_mixture_is_a_program():
    hint = only(lambda x, y: x + y, "SE203", x=sc.fixed(4, 12), y=sc.float_(4, 7)).hint
    assert "`y.to(sc.fixed(4, 12))`" in hint
    assert (
        "x.to(sc.float_(4, 7))"
        in only(lambda x, y: y + x, "SE203", x=sc.fixed(4, 12), y=sc.float_(4, 7)).hint
    )


def test_conversions():
    x = np.array([1.7, -1.7, 3e9, -3e9, np.nan, 300.0, -1.0, 0.1], np.float32)

    def f(x):
        return (
            x.to(sc.i32), x.to(sc.u8), x.to(sc.i8), x.to(sc.bool_), x.to(sc.bf16), x.to(sc.f64), x.to(sc.f32),
            x.to(sc.i32).to(sc.f32), (x > 0).to(sc.f32), sc.convert(x, sc.e4m3),
        )  # fmt: skip

    i, u8, i8, b, bf, d, same, back, c, e4 = run(f, x, x=sc.f32)
    np.testing.assert_array_equal(b, x != 0)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(back, i.astype(np.float32))
    assert i.tolist() == [1, -1, 2**31 - 1, -(2**31), 0, 300, -1, 0]
    assert u8.tolist() == [1, 0, 255, 0, 0, 255, 0, 0]
    assert i8.tolist() == [1, -1, 127, -128, 0, 127, -1, 0]
    np.testing.assert_array_equal(bf, rounded(x, sc.bf16))
    np.testing.assert_array_equal(e4, rounded(x, sc.e4m3))
    np.testing.assert_array_equal(d, x.astype(np.float64))
    assert c.tolist() == [1, 0, 1, 0, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "format", [sc.i8, sc.i16, sc.i32, sc.i64, sc.u8, sc.u16, sc.u32, sc.u64], ids=str
)
def test_integers_wrap(format):
    info = np.iinfo(format.dtype)
    x = np.array([info.max, info.min, info.max // 2 + 1, 1], format.dtype)
    add, mul, neg, less = run(lambda x: (x + 1, x * 3, -x, x - 2), x, x=format)
    bits = 2**format.bits

    def wrap(v):
        v %= bits
        return v - bits if format.kind == "int" and v >= bits // 2 else v

    for t, v in enumerate(x.tolist()):
        assert [int(add[t]), int(mul[t]), int(neg[t]), int(less[t])] == [
            wrap(v + 1),
            wrap(3 * v),
            wrap(-v),
            wrap(v - 2),
        ]


def test_division_of_integers_traps_nothing():
    x, y = np.array([7, -7, 5, 0], np.int32), np.array([2, 2, 0, 0], np.int32)
    q, r = run(lambda x, y: (x // y, x % y), x, y, x=sc.i32, y=sc.i32)
    assert q.tolist() == [3, -4, 0, 0] and r.tolist() == [1, 1, 5, 0]
    assert "real formats" in str(only(lambda x: x / x, "SE201", x=sc.i32))


def test_stochastic_rounding():
    """Between two neighbours of bf16, up with the probability of the distance."""
    low, high = 1.0, 1.0 + 2**-7
    x = np.float32(low + 0.25 * (high - low))

    def f():
        step = sc.state(0)
        step.next = step + 1
        draws = sc.random.bits(sc.random.fold_in(sc.random.key(3), step), (4000,))
        return sc.round_stochastic(np.full(4000, x), draws, sc.bf16)

    got = compiled(f).run(ticks=2)
    assert set(np.unique(got).tolist()) == {low, high}
    assert abs((got == high).mean() - 0.25) < 0.02
    assert (got[0] != got[1]).any()
    exact = compiled(
        lambda: sc.round_stochastic(np.full(4, 1.5), np.arange(4, dtype=np.uint32) * 2**30, sc.bf16)
    ).run(ticks=1)
    assert (exact == 1.5).all()


def test_bits_are_reread():
    x = np.array([1.0, -2.5], np.float32)
    got = run(lambda x: sc.bitcast(sc.bitcast(x, sc.u32) ^ 0x80000000, sc.f32), x, x=sc.f32)
    np.testing.assert_array_equal(got, -x)
