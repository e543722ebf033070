"""Every operator of the table, tested from its record alone.

For each op and sample: the value has the type that the signature says; its `code`, run by a slow evaluator of the imperative
IR, equals the value in bits; the value equals an independent oracle; the derivative equals central differences.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import seiche.ir.ops  # noqa: F401  (fills the table)
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Lit, Var
from seiche.ir.loops import Array, Buffer, Load, Writer, integer
from seiche.ir.op import OPS, Element, Kernel, NoGradient, Op, Sample, SignatureError, Use, use
from seiche.ir.ops.define import caller, draw, draw_extremes, same_bits
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Type
from seiche.numbers.kit import NUMPY
from seiche.numbers.rounding import largest, round_nearest, smallest_exponent
from tests import loops_eval
from tests.op_oracles import ORACLES, ULPS

NAMES = sorted(OPS)


def generator(name: str, number: int) -> np.random.Generator:
    """Random numbers of a sample: the same in every run."""
    return np.random.default_rng([zlib.crc32(name.encode()), number])


def cases(name: str) -> Iterator[tuple[Use, tuple[np.ndarray, ...]]]:
    """Every sample's use of the op, with values; samples without a maker get moderate values, then extremes."""
    for number, sample in enumerate(OPS[name].samples):
        rng = generator(name, number)
        application = use(name, sample.types, sample.params)
        if sample.values is not None:
            yield application, tuple(sample.values(rng))
        else:
            yield application, tuple(draw(rng, t) for t in sample.types)
            yield application, tuple(draw_extremes(rng, t) for t in sample.types)


# Records.


@pytest.mark.parametrize("name", NAMES)
def test_record_is_whole(name: str) -> None:
    op = OPS[name]
    assert op.name == name and op.family and op.doc.strip()
    assert op.samples, "no sample"
    assert op.laws, "no law"
    assert len({law.name for law in op.laws}) == len(op.laws)


@pytest.mark.parametrize("name", NAMES)
def test_laws(name: str) -> None:
    for law in OPS[name].laws:
        law.check(caller(name), generator(name, -1 % 1000))


@pytest.mark.parametrize("name", NAMES)
def test_signature_rejects(name: str) -> None:
    """Other numbers of arguments and unknown parameters are errors that name the op or a type, never crashes."""
    for sample in OPS[name].samples[:3]:
        with pytest.raises(SignatureError):
            use(name, sample.types, {**sample.params, "no_such_parameter": 1})
        if name != "concat":
            with pytest.raises(SignatureError):
                use(name, (*sample.types, fmt.f32[()]), sample.params)


# Values.


@pytest.mark.parametrize("name", NAMES)
def test_value_has_the_type_of_the_signature(name: str) -> None:
    for application, arrays in cases(name):
        for a, t in zip(arrays, application.types, strict=True):
            assert a.dtype == t.format.dtype and a.shape == t.shape, (
                "the sample's values are not of its types"
            )
        before = [a.copy() for a in arrays]
        value = OPS[name].value(arrays, application)
        assert isinstance(value, np.ndarray)
        assert value.dtype == application.out.format.dtype, application
        assert value.shape == application.out.shape, application
        assert all(map(same_bits, arrays, before)), "the arguments were changed"
        cost = OPS[name].cost(application)
        assert isinstance(cost, int) and cost >= 0


class Reading:
    """An argument in a buffer, as a kernel reads it; `None` may not be read."""

    def __init__(self, type: Type, buffer: Buffer | None) -> None:
        self.type, self.buffer = type, buffer

    def __call__(self, *index: Any) -> Load:
        assert self.buffer is not None, (
            "the argument that is overwritten in place is read through `out.get`"
        )
        assert len(index) == len(self.type.shape)
        return Load(self.buffer, tuple(map(integer, index)))


def run_code(op: Op, application: Use, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """What the op's code computes."""
    types, w = application.types, Writer()
    buffers = [Buffer(f"x{i}", t, "in") for i, t in enumerate(types)]
    out = Buffer("out", application.out, "out")
    memory = {b: a.copy() for b, a in zip(buffers, arrays, strict=True)} | {
        out: loops_eval.undefined(out)
    }
    code, start = op.code, None
    if isinstance(code, Kernel) and code.in_place is not None:
        start = code.in_place
        memory[out] = arrays[start].copy()
    args = tuple(
        Reading(t, None if i == start else b) for i, (t, b) in enumerate(zip(types, buffers))
    )
    match code:
        case Element(at):
            with w.loops(out.type.shape) as index:
                w.store(out, index, at(w, index, args, application))
        case Kernel(fill):
            fill(w, Array(w, out), args, application)
    evaluator = loops_eval.run(w.block, memory)
    if start is None:
        assert len(evaluator.stored.get(out, ())) == out.type.size, "not every element was stored"
    for b, a in zip(buffers, arrays, strict=True):
        assert same_bits(memory[b], a), "an argument was changed"
    return memory[out]


@pytest.mark.parametrize("name", NAMES)
def test_code_equals_value(name: str) -> None:
    for application, arrays in cases(name):
        expected = OPS[name].value(arrays, application)
        got = run_code(OPS[name], application, arrays)
        assert same_bits(got, expected), describe(name, application, arrays, got, expected)


def describe(
    name: str, application: Use, arrays: Any, got: np.ndarray, expected: np.ndarray
) -> str:
    """The first element that differs."""
    if got.shape == expected.shape:
        for at in np.ndindex(*got.shape):
            if not same_bits(got[at], expected[at]):
                here = [a[at] if a.shape == got.shape else a for a in arrays]
                return f"{name}{application.types} {dict(application.params)} at {at} of {here}: {got[at]!r}, not {expected[at]!r}"
    return f"{name}{application.types} {dict(application.params)}: {got!r}, not {expected!r}"


def close(got: np.ndarray, expected: np.ndarray, ulps: float) -> np.ndarray:
    """Where they agree: in bits, or within so many units in the last place of the expected (normal) number."""
    same = np.array(
        [same_bits(g, e) for g, e in zip(got.reshape(-1), expected.reshape(-1))], bool
    ).reshape(got.shape)
    if got.dtype.kind != "f" or not ulps:
        return same
    tiny = np.finfo(got.dtype).smallest_normal
    with np.errstate(all="ignore"):
        unit = np.spacing(np.maximum(np.abs(expected), tiny).astype(got.dtype)).astype(np.float64)
        near = np.abs(got.astype(np.float64) - expected.astype(np.float64)) <= ulps * unit
    return same | near


@pytest.mark.parametrize("name", NAMES)
def test_value_equals_oracle(name: str) -> None:
    if name not in ORACLES:
        pytest.fail("no oracle")
    for application, arrays in cases(name):
        got = OPS[name].value(arrays, application)
        with np.errstate(all="ignore"):
            raw = ORACLES[name](arrays, dict(application.params), application.out)
        known = (
            ~np.ma.getmaskarray(raw)
            if isinstance(raw, np.ma.MaskedArray)
            else np.ones(got.shape, bool)
        )
        expected = np.asarray(np.ma.getdata(raw))
        assert expected.dtype == got.dtype and expected.shape == got.shape, (
            application,
            expected.dtype,
            expected.shape,
        )
        agree = close(got, expected, ULPS.get(name, 0)) | ~known
        assert agree.all(), describe(
            name, application, arrays, np.where(agree, expected, got), expected
        )


# Conversions to small formats: the caller rounds from the carrier, and yet there is one rounding.

INTO = (fmt.bf16, fmt.f16, fmt.e5m2, fmt.float_(8, 10), fmt.float_(5, 4))


@pytest.mark.parametrize("target", INTO, ids=str)
@pytest.mark.parametrize("source", (fmt.f64, fmt.f32, fmt.i32, fmt.i64, fmt.u64), ids=str)
def test_convert_rounds_once(source: Format, target: Format) -> None:
    rng = np.random.default_rng(7)
    if source.is_float:
        halfway = (rng.integers(1, 2**11, 300) + 0.5) * 2.0 ** rng.integers(-30, 8, 300)
        x = np.concatenate(
            [halfway * (1 + d) for d in (0, 2.0**-40, -(2.0**-40), 2.0**-20)]
        ).astype(source.dtype)
    else:
        top = rng.integers(1, 2**12, 300) * 2 + 1
        up = rng.integers(0, (source.bits - 15), 300)
        x = np.concatenate([(top << up) + d for d in (0, 1, -1)]).astype(source.dtype)
    carried = caller("convert")(x, format=target)
    got = round_nearest(NUMPY, carried, target)
    expected = [_rounded(v.item(), target) for v in x]
    np.testing.assert_array_equal(got.astype(np.float64), expected)


def _rounded(value: float | int, format: Format) -> float:
    """The nearest value of a float format, ties to even, of a Python number of any size."""
    exact = abs(Fraction(value))
    if not exact:
        return 0.0
    power = exact.numerator.bit_length() - exact.denominator.bit_length()
    power -= exact < Fraction(2) ** power
    quantum = Fraction(2) ** (max(power, smallest_exponent(format)) - format.mantissa)
    result = round(exact / quantum) * quantum
    size = math.inf if result > Fraction(largest(format)) else float(result)
    return math.copysign(size, value)


# Derivatives.


def as_double(thing: Any) -> Any:
    """f64 in place of every other real format."""
    match thing:
        case Type(format=format, shape=shape):
            return Type(as_double(format), shape)
        case Format():
            return fmt.f64 if thing.is_float else thing
        case _:
            return thing


DOMAINS: dict[str, tuple[float, float]] = {
    "sqrt": (0.3, 3), "log": (0.3, 3), "log1p": (-0.6, 2), "log2": (0.3, 3), "asin": (-0.8, 0.8), "acos": (-0.8, 0.8),
    "erfinv": (-0.8, 0.8), "pow": (0.3, 2), "div": (0.4, 2), "reciprocal": (0.4, 2), "tan": (-1.2, 1.2), "mod": (0.31, 0.39),
}  # fmt: skip
STRUCTURED = {"cholesky", "triangular_solve", "solve"}


def smooth(name: str, sample: Sample, number: int) -> tuple[np.ndarray, ...]:
    """Arguments in f64 at which the op is smooth; indices and structured matrices as the sample makes them."""
    rng = generator(name, number)
    made = sample.values(rng) if sample.values is not None else [draw(rng, t) for t in sample.types]
    arrays: list[np.ndarray] = []
    for a, t in zip(made, sample.types, strict=True):
        if not t.format.is_float:
            arrays.append(a)
        elif name in STRUCTURED:
            arrays.append(a.astype(np.float64))
        else:
            low, high = DOMAINS.get(name, (-2, 2))
            arrays.append(np.asarray(rng.uniform(low, high, t.shape)))
    return tuple(arrays)


def evaluate(b: Builder, known: dict[Var, np.ndarray], wanted: list[Var]) -> list[np.ndarray]:
    """The values of stateless equations, each computed when it is first asked for."""
    equations = {eq.out: eq.rhs for eq in b.eqs}

    def value(v: Var) -> np.ndarray:
        if v not in known:
            match equations[v]:
                case Lit(constant):
                    known[v] = constant
                case Apply(op, args, params):
                    types = tuple(a.type for a in args)
                    known[v] = OPS[op].value(tuple(map(value, args)), use(op, types, params))
                case other:
                    raise AssertionError(other)
        assert known[v].dtype == v.type.format.dtype and known[v].shape == v.type.shape, v
        return known[v]

    return [value(v) for v in wanted]


def pull_back(
    name: str, params: Any, arrays: tuple[np.ndarray, ...], ct: np.ndarray | None = None
) -> tuple[list[np.ndarray | NoGradient], np.ndarray]:
    """The cotangents of the arguments for a cotangent of the result (ones by default), and that cotangent."""
    types = tuple(Type(fmt.parse(_NAMES[a.dtype.name]), a.shape) for a in arrays)
    application = use(name, types, params)
    args = tuple(Var(f"x{i}", t) for i, t in enumerate(types))
    out, seed = Var("out", application.out), Var("ct", application.out)
    rule = OPS[name].vjp
    assert not isinstance(rule, NoGradient)
    b = Builder()
    cts = list(rule(b, application, args, out, seed))
    assert len(cts) == len(args)
    value = OPS[name].value(arrays, application)
    ct = np.ones(value.shape) if ct is None else ct
    known = {**dict(zip(args, arrays)), out: value, seed: ct}
    for c, arg in zip(cts, args):
        assert isinstance(c, NoGradient) or c.type == arg.type, f"cotangent {c} of {arg}"
        assert not isinstance(c, NoGradient) or c.why
    found = iter(evaluate(b, known, [c for c in cts if isinstance(c, Var)]))
    return [next(found) if isinstance(c, Var) else c for c in cts], ct


_NAMES = {
    "float32": "f32", "float64": "f64", "bool": "bool",
    **{f"{k}int{n}": f"{'u' if k else 'i'}{n}" for k in ("", "u") for n in (8, 16, 32, 64)},
}  # fmt: skip


def differentiable(name: str) -> Iterator[tuple[int, Any, tuple[np.ndarray, ...]]]:
    """Samples in f64 at smooth points, small ones."""
    for number, sample in enumerate(OPS[name].samples):
        types = tuple(map(as_double, sample.types))
        params = {k: as_double(v) for k, v in sample.params.items()}
        if not any(t.format.is_float for t in types) or sum(t.size for t in types) > 400:
            continue
        try:
            out = use(name, types, params).out
        except SignatureError:
            continue
        arrays = smooth(name, sample, number)
        with np.errstate(all="ignore"):
            value = OPS[name].value(arrays, use(name, types, params))
        if out.format.is_float and np.isfinite(value).all():
            yield number, params, arrays


WITH_RULE = [n for n in NAMES if not isinstance(OPS[n].vjp, NoGradient)]


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(WITH_RULE)))
def test_no_gradient_says_why(name: str) -> None:
    rule = OPS[name].vjp
    assert isinstance(rule, NoGradient) and rule.why


@pytest.mark.parametrize("name", WITH_RULE)
def test_derivative_equals_central_differences(name: str) -> None:
    tried = 0
    for number, params, arrays in differentiable(name):
        rng = generator(name, number + 500)
        types = tuple(Type(fmt.parse(_NAMES[a.dtype.name]), a.shape) for a in arrays)
        application = use(name, types, params)
        ct = rng.normal(size=application.out.shape)
        cts, _ = pull_back(name, params, arrays, ct)
        tried += 1

        def at(step: float, way: list[np.ndarray]) -> float:
            moved = tuple(a + step * d if a.dtype == np.float64 else a for a, d in zip(arrays, way))
            return float((OPS[name].value(moved, application) * ct).sum())

        for _ in range(3):
            way = [
                rng.normal(size=a.shape) * (not isinstance(c, NoGradient))
                for a, c in zip(arrays, cts)
            ]
            h = 1e-6
            numeric = (at(h, way) - at(-h, way)) / (2 * h)
            exact = sum(
                float((c * d).sum()) for c, d in zip(cts, way) if not isinstance(c, NoGradient)
            )
            size = sum(
                float(np.abs(c * d).sum())
                for c, d in zip(cts, way)
                if not isinstance(c, NoGradient)
            )
            assert abs(numeric - exact) <= 1e-6 * (1 + size), (name, params, numeric, exact)
    assert tried, "no smooth sample"


@pytest.mark.parametrize("name", WITH_RULE)
def test_derivative_is_linear_in_the_cotangent(name: str) -> None:
    for number, params, arrays in differentiable(name):
        types = tuple(Type(fmt.parse(_NAMES[a.dtype.name]), a.shape) for a in arrays)
        ct = generator(name, number + 900).normal(size=use(name, types, params).out.shape)
        once, _ = pull_back(name, params, arrays, ct)
        twice, _ = pull_back(name, params, arrays, -2 * ct)
        for x, y in zip(once, twice):
            if not isinstance(x, NoGradient):
                np.testing.assert_array_equal(-2 * x, y)


INF, NAN = np.inf, np.nan
EDGES: tuple[tuple[str, dict[str, Any], tuple[Any, ...], tuple[Any, ...]], ...] = (
    ("sqrt", {}, (0.0,), (INF,)),
    ("abs", {}, (0.0,), (0.0,)),
    ("abs", {}, (-0.0,), (0.0,)),
    ("maximum", {}, (1.0, 1.0), (0.5, 0.5)),
    ("minimum", {}, (1.0, 1.0), (0.5, 0.5)),
    ("maximum", {}, (2.0, 1.0), (1.0, 0.0)),
    ("minimum", {}, (2.0, 1.0), (0.0, 1.0)),
    ("pow", {}, (0.0, 2.0), (0.0, 0.0)),
    ("pow", {}, (0.0, 1.0), (1.0, 0.0)),
    ("pow", {}, (0.0, 0.0), (0.0, 0.0)),
    ("pow", {}, (-2.0, 3.0), (12.0, NAN)),
    ("pow", {}, (0.0, 0.5), (INF, 0.0)),
    ("log", {}, (0.0,), (INF,)),
    ("tanh", {}, (50.0,), (0.0,)),
    ("sigmoid", {}, (-INF,), (0.0,)),
    ("softplus", {}, (1000.0,), (1.0,)),
    ("max", {"axes": (0,)}, ([1.0, 2.0, 2.0, 0.0],), ([0.0, 0.5, 0.5, 0.0],)),
    ("min", {"axes": (0,)}, ([1.0, 1.0, 1.0, 1.0],), ([0.25] * 4,)),
    ("prod", {"axes": (0,)}, ([2.0, 0.0, 5.0],), ([0.0, 10.0, 0.0],)),
    ("prod", {"axes": (0,)}, ([0.0, 0.0, 5.0],), ([0.0, 0.0, 0.0],)),
    ("cumprod", {"axis": 0, "reverse": False}, ([2.0, 0.0, 5.0],), ([1.0, 12.0, 0.0],)),
    ("cumprod", {"axis": 0, "reverse": True}, ([2.0, 0.0, 5.0],), ([0.0, 15.0, 1.0],)),
    (
        "cummax",
        {"axis": 0, "reverse": False},
        ([-INF, 1.0, 1.0, 0.0, 3.0],),
        ([1.0, 3.0, 0.0, 0.0, 1.0],),
    ),
    ("cummin", {"axis": 0, "reverse": True}, ([0.0, 1.0, 1.0, 3.0],), ([1.0, 0.0, 2.0, 1.0],)),
)


@pytest.mark.parametrize("case", EDGES, ids=lambda c: f"{c[0]}{c[2]}")
def test_derivative_at_edges(case: Any) -> None:
    name, params, args, expected = case
    cts, _ = pull_back(
        name, params, tuple(np.float64(a) if np.isscalar(a) else np.array(a) for a in args)
    )
    for got, wanted in zip(cts, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
