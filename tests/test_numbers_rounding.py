"""Rounding: the vectorised twin against the exact specification, codes, and the published formats."""

from __future__ import annotations

import doctest
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seiche.numbers import rounding
from seiche.numbers.formats import (
    Format,
    bf16,
    bool_,
    e4m3,
    e5m2,
    f16,
    f32,
    f64,
    fixed,
    float_,
    i8,
    i32,
    u16,
)  # fmt: skip
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import (
    decode,
    encode,
    largest,
    round_exact,
    round_nearest,
    round_stochastic,
)

SEED = 77
FORMATS = [
    bf16, f16, e4m3, e5m2, float_(4, 3), float_(2, 1), float_(3, 2), float_(8, 2), float_(7, 10), float_(6, 20), float_(8, 12),
    float_(11, 20), float_(11, 10), float_(10, 51), fixed(4, 12), fixed(1, 7), fixed(8, 0), fixed(2, 24),
]  # fmt: skip
ids = [str(f) for f in FORMATS]


def same(got: Any, want: Any) -> bool:
    with np.errstate(invalid="ignore"):
        got, want = np.asarray(got, float), np.asarray(want, float)
    return np.array_equal(got, want, equal_nan=True) and np.array_equal(
        np.signbit(got)[got == got], np.signbit(want)[want == want]
    )


def twin(x: Any, format: Format, bits: Any = None, saturate: bool = False) -> Any:
    with np.errstate(all="ignore"):
        if bits is None:
            return round_nearest(NUMPY, x, format, saturate)
        return round_stochastic(NUMPY, x, format, bits, saturate)


def all_values(format: Format) -> Any:
    return decode(np.arange(1 << format.bits, dtype=np.uint64), format)


def around(format: Format, rng: np.random.Generator, count: int) -> Any:
    """Carrier values near the format's: values, midpoints, their neighbours; magnitudes of the whole carrier; extremes."""
    dtype = np.dtype(format.dtype)
    bits = rng.integers(0, 1 << format.bits, count, dtype=np.uint64)
    values = decode(bits, format).astype(float)
    top = largest(format)
    with np.errstate(all="ignore"):
        step = np.exp2(np.floor(np.log2(np.abs(values) + 1e-300)) - format.mantissa)
        middle = values + step * rng.choice([0.0, 0.5, 0.25, 0.75], count)
        wide = rng.normal(size=count) * np.exp2(rng.uniform(-60, 60, count))
        ends = [
            0.0,
            -0.0,
            math.inf,
            -math.inf,
            math.nan,
            top,
            -top,
            top * 1.03,
            top * 1.07,
            top * 1.2,
            -top * 5,
            1e-45,
            -1e-320,
        ]
        x = np.concatenate([values, middle, wide, rng.uniform(-2, 2, count), ends]).astype(dtype)
        moves = [x, np.nextafter(x, dtype.type(math.inf)), np.nextafter(x, dtype.type(-math.inf))]
    return np.concatenate(moves)


def test_doctests() -> None:
    result = doctest.testmod(rounding)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("format", FORMATS, ids=ids)
def test_nearest_equals_specification(format: Format, saturate: bool) -> None:
    print("seed", SEED)
    x = around(format, np.random.default_rng(SEED), 300)
    want = [round_exact(float(v), format, saturate=saturate) for v in x]
    assert same(twin(x, format, saturate=saturate), want)


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("format", FORMATS, ids=ids)
def test_stochastic_equals_specification(format: Format, saturate: bool) -> None:
    print("seed", SEED)
    rng = np.random.default_rng(SEED)
    x = around(format, rng, 300)
    bits = rng.integers(0, 1 << 32, x.size, dtype=np.uint64).astype(np.uint32)
    bits[::7], bits[::11] = 0, 2**32 - 1
    want = [
        round_exact(float(v), format, "stochastic", int(r), saturate)
        for v, r in zip(x, bits, strict=True)
    ]
    assert same(twin(x, format, bits, saturate), want)


@pytest.mark.parametrize("format", FORMATS, ids=ids)
def test_twin_keeps_the_carrier(format: Format) -> None:
    x = np.ones(3, format.dtype)
    assert twin(x, format).dtype == np.dtype(format.dtype)
    assert twin(x, format, np.zeros(3, np.uint32)).dtype == np.dtype(format.dtype)


@given(
    st.floats(width=32),
    st.sampled_from([f for f in FORMATS if f.carrier == "f32"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=500, deadline=None)
def test_random_f32(x: float, format: Format, bits: int) -> None:
    v = np.array([x], np.float32)
    assert same(twin(v, format), [round_exact(x, format)])
    assert same(
        twin(v, format, np.array([bits], np.uint32)), [round_exact(x, format, "stochastic", bits)]
    )


@given(
    st.floats(),
    st.sampled_from([f for f in FORMATS if f.carrier == "f64"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=500, deadline=None)
def test_random_f64(x: float, format: Format, bits: int) -> None:
    v = np.array([x])
    assert same(twin(v, format), [round_exact(x, format)])
    assert same(
        twin(v, format, np.array([bits], np.uint32)), [round_exact(x, format, "stochastic", bits)]
    )


@pytest.mark.parametrize("format", [f for f in FORMATS if f.bits <= 16], ids=str)
def test_every_code_is_a_fixed_point(format: Format) -> None:
    codes = np.arange(1 << format.bits, dtype=np.uint64)
    values = all_values(format)
    finite = values == values
    assert same(twin(values, format), values)
    assert same(twin(values, format, np.zeros(values.size, np.uint32)), values)
    assert np.array_equal(
        encode(values, format)[finite], codes[finite].astype(rounding.code_dtype(format))
    )
    assert np.isnan(decode(encode(values, format), format)[~finite]).all()
    for mode in ("nearest", "zero"):
        sample = values[:: max(1, values.size // 500)]
        assert same([round_exact(float(v), format, mode) for v in sample], sample)


def test_every_bf16_pattern_between_values() -> None:
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    for low in (0x7FFF, 0x8000, 0x8001):
        x = (upper | np.uint32(low)).view(np.float32)
        some = x[::37]
        assert same(twin(some, bf16), [round_exact(float(v), bf16) for v in some])


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float8_e5m2", "float8_e4m3fn"])
def test_equals_ml_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    format = {"bfloat16": bf16, "float16": f16, "float8_e5m2": e5m2, "float8_e4m3fn": e4m3}[name]
    other = np.dtype(np.float16) if name == "float16" else np.dtype(getattr(ml_dtypes, name))
    x = around(format, np.random.default_rng(SEED), 3000)
    x = np.concatenate(
        [
            x,
            np.random.default_rng(1)
            .integers(0, 1 << 32, 50_000, dtype=np.uint64)
            .astype(np.uint32)
            .view(np.float32),
        ]
    )
    with np.errstate(all="ignore"):
        cast = x.astype(other)
        widened = cast.astype(np.float32)
    assert same(twin(x, format), widened)
    codes = np.arange(1 << format.bits).astype(rounding.code_dtype(format))
    with np.errstate(invalid="ignore"):
        want = codes.view(other).astype(np.float32)
    assert same(decode(codes, format), want)
    finite = x == x
    got = encode(twin(x, format), format)
    assert np.array_equal(got[finite], cast.view(got.dtype)[finite])


def test_published_extremes() -> None:
    # OCP 8-bit floating point specification, revision 1.0, table 1; IEEE 754-2019 binary16.
    assert [decode([c], e4m3)[0] for c in (0x7E, 0x08, 0x07, 0x01)] == [
        448,
        2**-6,
        0.875 * 2**-6,
        2**-9,
    ]
    assert [decode([c], e5m2)[0] for c in (0x7B, 0x04, 0x03, 0x01, 0x7C)] == [
        57344,
        2**-14,
        0.75 * 2**-14,
        2**-16,
        math.inf,
    ]
    assert [decode([c], f16)[0] for c in (0x7BFF, 0x0001)] == [65504, 2**-24]
    assert round_exact(464.0, e4m3) == 448
    assert math.isnan(round_exact(464.1, e4m3))
    assert round_exact(1e9, e4m3, saturate=True) == round_exact(1e9, e4m3, "zero") == 448
    assert round_exact(65519.9, f16) == 65504
    assert round_exact(65520.0, f16) == math.inf
    assert round_exact(-1e9, f16, "zero") == -65504


def test_stochastic_is_unbiased() -> None:
    bits = (np.arange(4096, dtype=np.uint64) << 20).astype(np.uint32)
    for format in (bf16, e4m3, fixed(4, 4)):
        for value in (1.03, -1.03, 0.001, -0.013):
            x = np.full(bits.size, value).astype(format.dtype)
            mean = float(np.mean(twin(x, format, bits), dtype=float))
            assert abs(mean - float(x[0])) < 1e-4 * max(1, abs(value))


@pytest.mark.parametrize("format", [f32, f64, i8, i32, u16, bool_], ids=str)
def test_exact_formats_keep_values_and_codes(format: Format) -> None:
    x = np.array([[0, 1], [1, 1]]).astype(format.dtype)
    codes = encode(x, format)
    assert codes.dtype == rounding.code_dtype(format)
    assert np.array_equal(decode(codes, format), x)
    assert twin(x, format) is x
