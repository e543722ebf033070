"""Threefry against the published vectors; distributions, keys and their layout of counters."""

from __future__ import annotations

import doctest

import mpmath
import numpy as np
import pytest

from seiche.numbers import random
from seiche.numbers.formats import Format, bf16, e4m3, f16, f32, f64, fixed
from seiche.numbers.kit import NUMPY
from seiche.numbers.random import Key, normal, precision, threefry2x32, uniform01
from seiche.numbers.rounding import round_nearest

# Random123 1.09, tests/kat_vectors, threefry2x32 20 rounds: counter, key, result.
VECTORS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def test_doctests() -> None:
    result = doctest.testmod(random)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(("counter", "key", "want"), VECTORS)
def test_known_answers(
    counter: tuple[int, int], key: tuple[int, int], want: tuple[int, int]
) -> None:
    words = [np.array([w], np.uint32) for w in (*key, *counter)]
    got = threefry2x32(NUMPY, *words)
    assert tuple(int(w[0]) for w in got) == want
    assert all(w.dtype == np.uint32 for w in got)


def test_layout_of_counters() -> None:
    key = Key.of(2**40 + 123)
    i = np.arange(6, dtype=np.uint32)
    full = lambda v: np.full(6, v, np.uint32)
    first, _ = threefry2x32(NUMPY, full(key.key0), full(key.key1), i, full(0))
    assert np.array_equal(key.bits((2, 3)), first.reshape(2, 3))
    x, y = threefry2x32(NUMPY, full(key.key0), full(key.key1), i, full(1))
    assert key.split(6) == tuple(Key(int(a), int(b)) for a, b in zip(x, y, strict=True))
    x, y = threefry2x32(NUMPY, full(key.key0), full(key.key1), i, full(2))
    assert key.fold_in(5) == Key(int(x[5]), int(y[5]))
    assert np.array_equal(key.words, [key.key0, key.key1])
    assert np.array_equal(key.uniform(6), uniform01(NUMPY, first, f32))
    assert np.array_equal(key.normal(6), normal(NUMPY, first, f32))


def test_a_prefix_does_not_depend_on_the_shape() -> None:
    assert np.array_equal(Key.of(3).bits(10)[:4], Key.of(3).bits(4))
    assert Key.of(3).bits(()).shape == ()


@pytest.mark.parametrize("format", [f32, f64, bf16, f16, e4m3, fixed(4, 12), fixed(1, 20)], ids=str)
def test_uniform_is_exact_and_below_one(format: Format) -> None:
    bits = np.concatenate([Key.of(5).bits(20_000), np.array([0, 1, 2**31, 2**32 - 1], np.uint32)])
    u = uniform01(NUMPY, bits, format)
    assert u.dtype == np.dtype(format.dtype)
    assert u.min() >= 0
    assert u.max() == 1 - 2.0 ** -precision(format)
    assert np.array_equal(round_nearest(NUMPY, u, format), u)
    assert abs(float(u.mean(dtype=float)) - 0.5) < 0.01 + 2.0 ** -precision(format)


@pytest.mark.parametrize("format", [f32, f64, bf16], ids=str)
def test_normal_moments(format: Format) -> None:
    z = Key.of(9).normal((400, 500), format).astype(float)
    assert z.shape == (400, 500)
    moments = [float((z**p).mean()) for p in (1, 2, 3, 4)]
    assert np.allclose(moments, [0, 1, 0, 3], atol=[0.01, 0.02, 0.03, 0.1])


@pytest.mark.parametrize(("format", "top"), [(f32, 24), (f64, 32)], ids=["f32", "f64"])
def test_normal_is_the_inverse_distribution(format: Format, top: int) -> None:
    bits = np.array([0, 1, 2**8, 2**20, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 1], np.uint32)
    with np.errstate(all="ignore"):
        z = normal(NUMPY, bits, format)
    assert np.all(np.diff(z) >= 0)
    assert z[0] == -z[-1]
    for b, got in zip(bits, z, strict=True):
        x = mpmath.mpf(2 * (int(b) >> (32 - top)) + 1) / 2**top - 1
        want = mpmath.sqrt(2) * mpmath.erfinv(x)
        assert abs(float(got) - float(want)) <= 2.0 ** (3 - (24 if top == 24 else 50)) * max(
            abs(float(want)), 1e-12
        )


def test_streams_of_children_are_uncorrelated() -> None:
    a, b = (k.uniform(100_000, f64) for k in Key.of(1).split(2))
    assert abs(float(np.corrcoef(a, b)[0, 1])) < 0.01
