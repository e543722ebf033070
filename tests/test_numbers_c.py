"""The functions of `numbers`, printed as C by the smallest possible kit, give the bits of numpy."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seiche.backends.c.build import find_compiler
from seiche.numbers.elementary import ELEMENTARY, evaluate
from seiche.numbers.formats import (
    Format,
    bf16,
    bool_,
    e4m3,
    e5m2,
    f32,
    f64,
    fixed,
    float_,
    u32,
    u64,
)
from seiche.numbers.kit import NUMPY
from seiche.numbers.random import normal, threefry2x32, uniform01
from seiche.numbers.rounding import format_of, round_nearest, round_stochastic

SEED = 5
C_NAMES = {"f32": "float", "f64": "double", "u32": "uint32_t", "u64": "uint64_t", "bool": "bool"}
PRELUDE = """
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
static inline uint32_t bits_f32(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static inline uint64_t bits_f64(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
static inline float from_u32(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
static inline double from_u64(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }
"""


def literal(value: Any, format: Format) -> str:
    if format.kind == "float":
        number = float(np.dtype(format.dtype).type(value))
        text = (
            "NAN"
            if number != number
            else "INFINITY"
            if abs(number) == np.inf
            else abs(number).hex()
        )
        text += "f" if format is f32 and text.startswith("0x") else ""
        return f"({'-' if np.signbit(number) and number == number else ''}{text})"
    if format.kind == "bool":
        return str(bool(value)).lower()
    assert 0 <= value < 1 << format.bits
    return f"{value}{'ULL' if format is u64 else 'U'}"


class Expression:
    """C text with its format."""

    def __init__(self, text: str, format: Format) -> None:
        self.text, self.format = text, format

    def __bool__(self) -> bool:
        raise TypeError("a value of a kit has no truth value")

    def operand(self, other: Any) -> str:
        if not isinstance(other, Expression):
            return literal(other, self.format)
        assert other.format is self.format, (self.format, other.format)
        return other.text

    def __neg__(self) -> Expression:
        return Expression(f"(-{self.text})", self.format)

    def __invert__(self) -> Expression:
        return Expression(f"({'!' if self.format is bool_ else '~'}{self.text})", self.format)


def _binary(symbol: str, swapped: bool, compares: bool) -> Callable[[Expression, Any], Expression]:
    def apply(self: Expression, other: Any) -> Expression:
        if symbol in ("<<", ">>"):
            shift = other.text if isinstance(other, Expression) else str(other)
            return Expression(f"({self.text} {symbol} {shift})", self.format)
        pair = (self.operand(other), self.text) if swapped else (self.text, self.operand(other))
        return Expression(f"({pair[0]} {symbol} {pair[1]})", bool_ if compares else self.format)

    return apply


for _name, _symbol in {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "and": "&",
    "or": "|",
    "xor": "^",
}.items():
    setattr(Expression, f"__{_name}__", _binary(_symbol, False, False))
    setattr(Expression, f"__r{_name}__", _binary(_symbol, True, False))
for _name, _symbol in {"lshift": "<<", "rshift": ">>"}.items():
    setattr(Expression, f"__{_name}__", _binary(_symbol, False, False))
for _name, _symbol in {
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
}.items():
    setattr(Expression, f"__{_name}__", _binary(_symbol, False, True))


class CKit:
    """Emits a statement for every `let`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def const(self, value: Any, format: Format) -> Expression:
        return Expression(literal(value, format), format)

    def select(self, cond: Expression, yes: Expression, no: Expression) -> Expression:
        assert cond.format is bool_
        return Expression(f"({cond.text} ? {yes.text} : {yes.operand(no)})", yes.format)

    def convert(self, x: Expression, format: Format) -> Expression:
        return Expression(f"(({C_NAMES[format.name]}){x.text})", format)

    def bits(self, x: Expression) -> Expression:
        return Expression(f"bits_{x.format}({x.text})", u32 if x.format is f32 else u64)

    def from_bits(self, u: Expression) -> Expression:
        return Expression(f"from_{u.format}({u.text})", f32 if u.format is u32 else f64)

    def sqrt(self, x: Expression) -> Expression:
        return Expression(f"{'sqrtf' if x.format is f32 else 'sqrt'}({x.text})", x.format)

    def let(self, x: Any) -> Any:
        if not isinstance(x, Expression) or x.text.isidentifier():
            return x
        name = f"t{len(self.lines)}"
        self.lines.append(f"const {C_NAMES[x.format.name]} {name} = {x.text};")
        return Expression(name, x.format)


Case = tuple[str, Callable[..., Any], tuple[Format, ...]]
SMALL = [bf16, e4m3, e5m2, float_(7, 10), float_(11, 20), float_(6, 20), fixed(4, 12)]


def cases() -> list[Case]:
    out: list[Case] = []
    for format in (f32, f64):
        for name, record in ELEMENTARY.items():
            body = lambda k, *v, f=record.function, format=format: f(k, *v, format)
            out.append((f"{name}_{format}", body, (format,) * record.arity))
        out.append((f"uniform_{format}", lambda k, u, f=format: uniform01(k, u, f), (u32,)))
        out.append((f"normal_{format}", lambda k, u, f=format: normal(k, u, f), (u32,)))
    for i, format in enumerate(SMALL):
        for saturate in (False, True):
            nearest = lambda k, x, f=format, s=saturate: round_nearest(k, x, f, s)
            stochastic = lambda k, x, r, f=format, s=saturate: round_stochastic(k, x, f, r, s)
            carrier = format_of(format)
            out.append((f"nearest_{i}_{saturate}", nearest, (carrier,)))
            out.append((f"stochastic_{i}_{saturate}", stochastic, (carrier, u32)))
    for word in (0, 1):
        out.append((f"threefry_{word}", lambda k, *v, w=word: threefry2x32(k, *v)[w], (u32,) * 4))
    return out


def function(case: Case) -> tuple[str, Format]:
    """The text of a C function over arrays, and the format of its result."""
    name, body, formats = case
    kit = CKit()
    values = [Expression(f"x{i}", f) for i, f in enumerate(formats)]
    result = body(kit, *values)
    result = kit.convert(result, u32) if result.format is bool_ else result
    arguments = "".join(f", const {C_NAMES[f.name]} *a{i}" for i, f in enumerate(formats))
    reads = [f"const {C_NAMES[f.name]} x{i} = a{i}[j];" for i, f in enumerate(formats)]
    inner = "\n    ".join([*reads, *kit.lines, f"y[j] = {result.text};"])
    text = f"void {name}(int n, {C_NAMES[result.format.name]} *y{arguments}) {{\n"
    return f"{text}  for (int j = 0; j < n; j++) {{\n    {inner}\n  }}\n}}\n", result.format


def draws(format: Format, count: int, rng: np.random.Generator) -> Any:
    """Values of the carrier: half by bits, half of ordinary size, and extremes."""
    width = 32 if format.bits <= 32 else 64
    raw = (
        rng.integers(0, 1 << width, count, dtype=np.uint64, endpoint=False)
        if width == 32
        else rng.integers(0, (1 << 64) - 1, count, dtype=np.uint64, endpoint=True)
    )
    raw = raw.astype(f"uint{width}")
    if format.kind != "float":
        raw[:3] = [0, 1, (1 << width) - 1]
        return raw
    x = raw.view(format.dtype).copy()
    x[: count // 2] = rng.normal(size=count // 2) * 3
    x[:9] = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, 88.0]
    return rng.permutation(x)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, dict[str, Format]]:
    folder: Path = tmp_path_factory.mktemp("numbers")
    texts = {case[0]: function(case) for case in cases()}
    (folder / "numbers.c").write_text(PRELUDE + "\n".join(text for text, _ in texts.values()))
    flags = [
        "-O2",
        "-std=c99",
        "-ffp-contract=off",
        "-Wall",
        "-Werror",
        "-Wno-unused-variable",
        "-Wno-bitwise-instead-of-logical",
        "-shared",
        "-fPIC",
    ]
    subprocess.run(
        [*find_compiler().command, *flags, "numbers.c", "-o", "numbers.so", "-lm"],
        cwd=folder,
        check=True,
    )
    return ctypes.CDLL(str(folder / "numbers.so")), {
        name: format for name, (_, format) in texts.items()
    }


@pytest.mark.cc
@pytest.mark.parametrize("case", cases(), ids=lambda case: case[0])
def test_c_gives_the_same_bits(case: Case, library: tuple[ctypes.CDLL, dict[str, Format]]) -> None:
    name, body, formats = case
    rng = np.random.default_rng(SEED)
    print("seed", SEED)
    arguments = [draws(f, 4000, rng) for f in formats]
    with np.errstate(all="ignore"):
        want = np.asarray(body(NUMPY, *arguments))
    loaded, results = library
    got = np.empty(4000, results[name].dtype)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (got, *arguments)]
    getattr(loaded, name)(ctypes.c_int(4000), *pointers)
    want = want.astype(got.dtype) if want.dtype == np.bool_ else want
    assert want.dtype == got.dtype
    both_nan = (got != got) & (want != want)
    raw = f"u{got.dtype.itemsize}"
    assert np.array_equal(got.view(raw)[~both_nan], want.view(raw)[~both_nan])


def test_text_stays_short() -> None:
    # A value that is used twice without `let` doubles the text at each level.
    for case in cases():
        assert len(function(case)[0]) < 40_000, case[0]
    assert evaluate("exp", 0.0) == 1.0
