"""Elementary functions: errors against mpmath, special values, dtypes, and the kit's restrictions."""

from __future__ import annotations

import doctest
import warnings
from typing import Any

import numpy as np
import pytest

from bench import elementary_ulp as bench
from seiche.numbers import carriers, elementary, exponential, integral, special, trigonometric
from seiche.numbers.elementary import ELEMENTARY, evaluate
from seiche.numbers.formats import Format, bf16, f32, f64

SEED = 20240607
INF, NAN = float("inf"), float("nan")
APPROXIMATE = [name for name, record in ELEMENTARY.items() if not record.exact]
# Units in the last place; measured maxima are in bench/elementary_ulp.py.
BOUND = {("erfc", "f32"): 2.2, ("erfc", "f64"): 2.6, ("erfinv", "f64"): 3.0}


@pytest.mark.parametrize(
    "module", [carriers, elementary, exponential, integral, special, trigonometric]
)
def test_doctests(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("format", [f32, f64], ids=str)
@pytest.mark.parametrize("name", APPROXIMATE)
def test_error_against_mpmath(name: str, format: Format) -> None:
    print("seed", SEED)
    arguments = bench.samples(name, format, 150, np.random.default_rng(SEED))
    errors = bench.ulps(
        evaluate(name, *arguments, format=format), bench.exact(name, arguments), format
    )
    worst = int(np.argmax(errors))
    assert errors[worst] <= BOUND.get((name, format.name), 2.0), [a[worst] for a in arguments]


@pytest.mark.parametrize("name", APPROXIMATE)
def test_dense_f32_against_f64(name: str) -> None:
    print("seed", SEED)
    arguments = bench.samples(name, f32, 20_000, np.random.default_rng(SEED))
    errors = bench.fast_ulps(name, arguments)
    worst = int(np.argmax(errors))
    assert errors[worst] <= BOUND.get((name, "f32"), 2.0), [a[worst] for a in arguments]


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_every_near_multiple_of_half_pi(name: str) -> None:
    x = (np.arange(1, 63663) * (np.pi / 2)).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(INF))])
    assert bench.fast_ulps(name, [x]).max() <= 2.0


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("format", [f32, f64], ids=str)
def test_large_angles_stay_bounded(name: str, format: Format) -> None:
    x = np.exp2(np.linspace(16, 127 if format is f32 else 1023, 10_000)).astype(format.dtype)
    assert np.all(np.abs(evaluate(name, x, format=format)) <= 1)


SPECIAL: dict[str, list[tuple[float, ...]]] = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (1e4, INF), (-1e4, -1.0)],
    "exp2": [(0.0, 1.0), (3.0, 8.0), (-1.0, 0.5), (INF, INF), (-INF, 0.0), (2e3, INF), (-2e3, 0.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, NAN), (-INF, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN)],
    "log2": [(1.0, 0.0), (8.0, 3.0), (0.25, -2.0), (0.0, -INF), (INF, INF), (-1.0, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (30.0, 1.0)],
    "sigmoid": [(0.0, 0.5), (INF, 1.0), (-INF, 0.0)],
    "softplus": [(INF, INF), (-INF, 0.0), (800.0, 800.0)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1e4, INF)],
    "cosh": [(0.0, 1.0), (INF, INF), (-INF, INF), (1e4, INF)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1.0), (INF, NAN), (-INF, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.5, NAN), (INF, NAN)],
    "acos": [(1.0, 0.0), (-1.5, NAN), (INF, NAN)],
    "atan": [(0.0, 0.0), (-0.0, -0.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0)],
    "erfc": [(0.0, 1.0), (INF, 0.0), (-INF, 2.0)],
    "erfinv": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (INF, NAN)],
    "pow": [
        (NAN, 0.0, 1.0), (1.0, NAN, 1.0), (0.0, -1.0, INF), (-0.0, -1.0, -INF), (-0.0, -2.0, INF), (0.0, 2.0, 0.0),
        (-0.0, 3.0, -0.0), (-0.0, 2.0, 0.0), (-1.0, INF, 1.0), (0.5, INF, 0.0), (2.0, INF, INF), (2.0, -INF, 0.0),
        (0.5, -INF, INF), (INF, 2.0, INF), (INF, -2.0, 0.0), (-INF, 3.0, -INF), (-INF, 2.0, INF), (-INF, -3.0, -0.0),
        (-2.0, 3.0, -8.0), (-2.0, 2.0, 4.0), (-2.0, 0.5, NAN), (-INF, 0.5, INF), (NAN, 1.0, NAN), (2.0, NAN, NAN),
        (2.0, 1e30, INF), (-2.0, 1e30, INF), (3.0, 2.0, 9.0), (10.0, -INF, 0.0), (0.0, INF, 0.0), (0.0, -INF, INF),
    ],
    "atan2": [(0.0, 1.0, 0.0), (-0.0, 1.0, -0.0), (1.0, INF, 0.0), (-1.0, INF, -0.0), (0.0, 0.0, 0.0), (-0.0, 0.0, -0.0)],
}  # fmt: skip
ANGLES: dict[str, list[tuple[float, ...]]] = {
    "atan": [(INF, 0.5), (-INF, -0.5), (1.0, 0.25)],
    "asin": [(1.0, 0.5), (-1.0, -0.5)],
    "acos": [(0.0, 0.5), (-1.0, 1.0)],
    "atan2": [
        (0.0, -1.0, 1.0), (-0.0, -1.0, -1.0), (0.0, -0.0, 1.0), (-0.0, -0.0, -1.0), (1.0, 0.0, 0.5), (-1.0, 0.0, -0.5),
        (INF, 1.0, 0.5), (1.0, -INF, 1.0), (-1.0, -INF, -1.0), (INF, INF, 0.25), (INF, -INF, 0.75), (-INF, -INF, -0.75),
        (1e38, 1e38, 0.25), (3e38, -3e38, 0.75),
    ],
}  # fmt: skip


def _same(got: Any, want: float) -> bool:
    return bool(
        np.isnan(got) if np.isnan(want) else got == want and np.signbit(got) == np.signbit(want)
    )


@pytest.mark.parametrize("format", [f32, f64], ids=str)
@pytest.mark.parametrize("name", APPROXIMATE)
def test_special_values(name: str, format: Format) -> None:
    for *arguments, want in SPECIAL[name]:
        assert _same(evaluate(name, *arguments, format=format), want), (arguments, want)
    for *arguments, turns in ANGLES.get(name, []):
        want = float(np.dtype(format.dtype).type(np.pi * turns))
        assert _same(evaluate(name, *arguments, format=format), want), (arguments, want)
    if name != "pow":
        assert np.isnan(evaluate(name, *[NAN] * ELEMENTARY[name].arity, format=format))


@pytest.mark.parametrize("format", [f32, f64], ids=str)
@pytest.mark.parametrize("name", list(ELEMENTARY))
def test_carrier_and_warnings(name: str, format: Format) -> None:
    extremes = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e-320, 3e38, 1e308, INF, -INF, NAN, 1e-30, 0.5, -7.25]
    with np.errstate(over="ignore"):
        x = np.array(extremes).astype(format.dtype)
    y = np.repeat(x, x.size) if ELEMENTARY[name].arity == 2 else x
    arguments = [y, np.tile(x, x.size)][: ELEMENTARY[name].arity]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = evaluate(name, *arguments, format=format)
        single = np.array(
            [evaluate(name, *row, format=format) for row in zip(*arguments, strict=True)]
        )
    assert whole.dtype == (np.bool_ if name.startswith("is") else np.dtype(format.dtype))
    assert np.array_equal(whole, single, equal_nan=whole.dtype != np.bool_)


@pytest.mark.parametrize("name", list(ELEMENTARY))
def test_uses_only_the_primitives(name: str) -> None:
    assert sum(bench.operations(name, f32).values()) > 0


def test_small_formats_use_their_carrier() -> None:
    assert evaluate("exp", 1.0, format=bf16).dtype == np.float32


@pytest.mark.parametrize("format", [f32, f64], ids=str)
def test_rounding_to_integers_equals_numpy(format: Format) -> None:
    rng = np.random.default_rng(SEED)
    x = np.concatenate(
        [rng.uniform(-10, 10, 2000), rng.integers(-20, 20, 100) / 2, rng.normal(size=500) * 1e9]
    )
    x = np.concatenate([x, [INF, -INF, NAN, 0.0, -0.0, 2.0**23 - 0.5, 2.0**52 - 0.5]]).astype(
        format.dtype
    )
    for name, function in (
        ("round", np.round),
        ("trunc", np.trunc),
        ("floor", np.floor),
        ("ceil", np.ceil),
    ):
        got, want = evaluate(name, x, format=format), function(x)
        assert np.array_equal(got, want, equal_nan=True), name
        assert np.array_equal(np.signbit(got), np.signbit(want)), name


@pytest.mark.parametrize("format", [f32, f64], ids=str)
def test_mod_equals_numpy(format: Format) -> None:
    rng = np.random.default_rng(SEED)
    x = (rng.normal(size=20_000) * np.exp2(rng.uniform(-10, 10, 20_000))).astype(format.dtype)
    y = (rng.normal(size=20_000) * np.exp2(rng.uniform(-10, 10, 20_000))).astype(format.dtype)
    x[:5000], y[:5000] = np.round(x[:5000]), np.round(y[:5000])
    ends = np.array(
        [0.0, -0.0, 1.0, -1.0, 3.0, INF, -INF, NAN, 1e-30, 3e38, -3e38], dtype=format.dtype
    )
    x, y = (
        np.concatenate([x, np.repeat(ends, ends.size)]),
        np.concatenate([y, np.tile(ends, ends.size)]),
    )
    with np.errstate(all="ignore"):
        want, quotient = np.mod(x, y), np.abs(x / y)
    near = ~(quotient >= 2.0 ** (22 if format is f32 else 51)) | np.isinf(x) | (y == 0)
    got = evaluate("mod", x, y, format=format)
    assert np.array_equal(got[near], want[near], equal_nan=True)
    assert np.all((got[~near] == 0) | np.isnan(got[~near]))


def test_minimum_and_maximum_propagate_nan() -> None:
    x, y = [1.0, NAN, 1.0, NAN], [2.0, 1.0, NAN, NAN]
    assert np.array_equal(evaluate("maximum", x, y), np.maximum(x, y), equal_nan=True)
    assert np.array_equal(evaluate("minimum", x, y), np.minimum(x, y), equal_nan=True)
