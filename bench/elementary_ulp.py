"""Measures the elementary functions: largest error in units in the last place, and operations per element.

    PYTHONPATH=src python bench/elementary_ulp.py [samples]

f64 is compared with mpmath; f32 with mpmath on as many samples, and with the f64 functions on a thousand times as many.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from seiche.numbers.elementary import ELEMENTARY, evaluate
from seiche.numbers.formats import Format, f32, f64

Array = Any
mpmath.mp.prec = 200

REFERENCE: dict[str, Callable[..., Any]] = {
    "erfc": lambda x: mpmath.erfc(max(min(x, 40), -40)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)) if x < 2000 else x,
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log2": lambda x: mpmath.log(x, 2),
    "pow": lambda x, y: mpmath.mpf(x) ** y,
}

# Per function: intervals in which arguments are drawn, and whether from uniform magnitudes or exponents ("log").
RANGES: dict[str, list[tuple[float, float]]] = {
    "exp": [(-104, 89), (-1, 1)],
    "expm1": [(-20, 89), (-1, 1)],
    "exp2": [(-150, 128), (-1, 1)],
    "log": [(0.5, 2.0)], "log1p": [(-1, 2), (-0.5, 0.5)], "log2": [(0.5, 2.0)],
    "tanh": [(-1, 1), (-10, 10)],
    "sigmoid": [(-10, 10), (-104, 90)], "softplus": [(-10, 10), (-104, 90)],
    "sinh": [(-2, 2), (-89, 89)], "cosh": [(-2, 2), (-89, 89)],
    "sin": [(-4, 4), (-1e5, 1e5)], "cos": [(-4, 4), (-1e5, 1e5)], "tan": [(-4, 4), (-1e5, 1e5)],
    "asin": [(-1, 1)], "acos": [(-1, 1)], "atan": [(-4, 4)],
    "erf": [(-4, 4), (-1, 1)], "erfc": [(-4, 10), (0, 2)], "erfinv": [(-1, 1), (0.99, 1)],
    "atan2": [(-2, 2)], "pow": [(-20, 20)],
}  # fmt: skip
POSITIVE = {"log", "log2", "pow"}
# Beyond these magnitudes the function is constant, infinite, or not reduced accurately.
LIMITS = {
    "sin": (1e5, 1e9),
    "cos": (1e5, 1e9),
    "tan": (1e5, 1e9),
    "asin": (1, 1),
    "acos": (1, 1),
    "erfinv": (1 - 2.0**-25, 1 - 2.0**-54),
}


def samples(name: str, format: Format, count: int, rng: np.random.Generator) -> list[Array]:
    """One array per argument: the intervals of the function, and magnitudes from the whole range of exponents."""
    dtype = np.dtype(format.dtype)
    wide = {"f32": 1.0, "f64": 7.2}[format.name]
    arrays: list[Array] = []
    for low, high in RANGES[name]:
        stretch = wide if max(abs(low), abs(high)) > 50 and name not in LIMITS else 1.0
        stretch = 1e4 if wide > 1 and high == 1e5 else stretch
        arrays.append(rng.uniform(low * stretch, high * stretch, count))
    exponents = {"f32": (-149, 128), "f64": (-1074, 1024)}[format.name]
    limit = LIMITS.get(name, (np.inf, np.inf))[format is f64]
    whole = np.exp2(rng.uniform(*exponents, count)) * rng.choice([-1.0, 1.0], count)
    near = np.exp2(rng.uniform(-30, 5, count)) * rng.choice([-1.0, 1.0], count)
    x = np.concatenate([*arrays, whole, near])
    x = np.abs(x) if name in POSITIVE else x
    x = x[(np.abs(x) <= limit) & ((x > -1) if name == "log1p" else True)]
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    if ELEMENTARY[name].arity == 1:
        return [x[np.isfinite(x)]]
    other = rng.permutation(x).astype(dtype)
    if name == "pow":
        x, other = _powers(x, rng, dtype)
    both = np.isfinite(x) & np.isfinite(other)
    return [x[both], other[both]]


def _powers(x: Array, rng: np.random.Generator, dtype: Any) -> tuple[Array, Array]:
    """Pairs whose power spans the whole range: y = target / log2 x."""
    logs = np.log2(x.astype(float))
    bits = 150 if dtype.itemsize == 4 else 1080
    with np.errstate(all="ignore"):
        return x, (rng.uniform(-bits, bits * 0.86, x.size) / np.where(logs == 0, 1, logs)).astype(
            dtype
        )


def exact(name: str, arguments: list[Array]) -> list[Any]:
    """The values in 200 bits, in units of the last place handled by `ulps`."""
    function = REFERENCE.get(name) or getattr(mpmath, name)
    return [function(*map(mpmath.mpf, map(float, row))) for row in zip(*arguments, strict=True)]


def ulps(got: Array, want: list[Any], format: Format) -> Array:
    """|got - want| in the spacing of the format at want; an overflow counts from the largest finite value."""
    precision, lowest, highest = (24, -149, 128) if format is f32 else (53, -1074, 1024)
    out = np.zeros(len(want))
    for i, (g, w) in enumerate(zip(np.asarray(got, dtype=float), want, strict=True)):
        _, exponent = mpmath.frexp(w)
        unit = mpmath.ldexp(1, max(min(int(exponent), highest) - precision, lowest))
        if np.isinf(g):
            g = mpmath.sign(g) * mpmath.ldexp(1, highest)
            w = mpmath.sign(w) * min(abs(w), abs(g))
        out[i] = float(abs(mpmath.mpf(g) - w) / unit) if g == g else np.inf
    return out


def fast_ulps(name: str, arguments: list[Array]) -> Array:
    """Errors of f32 measured against the f64 function."""
    got = np.asarray(evaluate(name, *arguments), dtype=float)
    want = np.asarray(evaluate(name, *(a.astype(float) for a in arguments), format=f64))
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(want)
        unit = np.ldexp(1.0, np.maximum(np.minimum(exponent, 128) - 24, -149))
        top = 2.0**128
        error = (
            np.abs(np.where(np.isinf(got), np.sign(got) * top, got) - np.clip(want, -top, top))
            / unit
        )
    return np.where(np.isnan(got) != np.isnan(want), np.inf, np.nan_to_num(error, nan=0.0))


class Counted:
    """A value that only counts: each primitive applied to it is one operation; `let` makes it shared."""

    def __init__(self, kit: CountingKit) -> None:
        self.kit = kit

    def __bool__(self) -> bool:
        raise TypeError("a value of a kit has no truth value: use select")


def _operator(name: str) -> Callable[..., Counted]:
    def apply(self: Counted, *_: Any) -> Counted:
        return self.kit.count(name)

    return apply


for _name in ("add", "sub", "mul", "truediv", "and", "or", "xor", "lshift", "rshift"):
    setattr(Counted, f"__{_name}__", _operator(_name))
    setattr(Counted, f"__r{_name}__", _operator(_name))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "invert"):
    setattr(Counted, f"__{_name}__", _operator(_name))


class CountingKit:
    """Counts primitives; constants, `let` and the reading of bits cost nothing."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str) -> Counted:
        self.counts[name] += 1
        return Counted(self)

    def const(self, value: float, format: Format) -> Counted:
        return Counted(self)

    def select(self, cond: Any, yes: Any, no: Any) -> Counted:
        return self.count("select")

    def convert(self, x: Any, format: Format) -> Counted:
        return self.count("convert")

    def bits(self, x: Any) -> Counted:
        return Counted(self)

    from_bits = bits

    def sqrt(self, x: Any) -> Counted:
        return self.count("sqrt")

    def let(self, x: Any) -> Any:
        return x


def operations(name: str, format: Format) -> Counter[str]:
    """Primitives per element."""
    kit = CountingKit()
    record = ELEMENTARY[name]
    record.function(kit, *(Counted(kit) for _ in range(record.arity)), format)
    return kit.counts


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(
        f"{'function':10} {'format':6} {'ulp':>6} {'dense':>6} {'at':>14} {'ops':>4} {'div':>3} {'sqrt':>4}"
    )
    for name, record in ELEMENTARY.items():
        for format in (f32, f64):
            counts = operations(name, format)
            tail = f"{sum(counts.values()):4} {counts['truediv']:3} {counts['sqrt']:4}"
            if record.exact:
                print(f"{name:10} {format.name:6} {'exact':>6} {'':21} {tail}")
                continue
            rng = np.random.default_rng(0)
            arguments = samples(name, format, count, rng)
            errors = ulps(evaluate(name, *arguments, format=format), exact(name, arguments), format)
            worst, dense = arguments[0][int(np.argmax(errors))], ""
            if format is f32:
                arguments = samples(name, format, 300 * count, rng)
                fast = fast_ulps(name, arguments)
                worst, dense = arguments[0][int(np.argmax(fast))], f"{fast.max():.3f}"
            print(f"{name:10} {format.name:6} {errors.max():6.3f} {dense:>6} {worst:14.7g} {tail}")


if __name__ == "__main__":
    main()
