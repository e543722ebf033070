"""Fixed point as integers: what C computes is what the interpreter does in f64, bit for bit, for every op and on random programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.source import sources_of
from seiche.backends.deploy.able import check_able
from seiche.backends.executor import CheckFailed
from seiche.backends.interp import Interpreter
from seiche.backends.program import Sparse
from seiche.errors import SeicheError
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Node, Params, Var
from seiche.ir.op import OPS, AnyArray, SignatureError, use
from seiche.ir.ops.define import draw_extremes
from seiche.numbers.formats import NAMED, Format, Type, f32, f64, fixed
from seiche.numbers.units import units, values
from seiche.schedule.curves import SCALAR, every
from seiche.schedule.lower import lower
from seiche.schedule.target import target
from seiche.schedule.units import RULES, in_units
from tests.agreement import same_bits
from tests.programs import FIXED, random_inputs, random_program

FORMATS = (
    fixed(3, 5),
    fixed(1, 7),
    fixed(4, 8),
    fixed(6, 10),
    fixed(1, 15),
    fixed(16, 0),
    fixed(9, 12),
    fixed(1, 25),
)


def numbers(rng: np.random.Generator, type: Type) -> AnyArray:
    """Any values of fixed point, ends and small ones often; of other formats what op records draw."""
    format = type.format
    if format.kind != "fixed":
        return draw_extremes(rng, type)
    most = 1 << (format.bits - 1)
    codes = rng.integers(-most, most, type.shape)
    small = rng.integers(-9, 10, type.shape)
    codes = np.where(rng.random(type.shape) < 0.4, small, codes)
    return np.asarray(values(np.where(rng.random(type.shape) < 0.2, -most, codes), format))


def disagreement(
    node: Node, rows: Sequence[Sequence[AnyArray]], floats: tuple[str, ...] = ()
) -> str | None:
    """What the interpreter makes otherwise of the node over integers, tick by tick; both run without C."""
    lowered = lower(node)
    integers = in_units(lowered, floats)
    one, other = Interpreter(lowered), Interpreter(integers.lowered)
    given = integers.lowered.node.inputs[: len(node.inputs)]
    formats = [integers.formats.get(v) for v in integers.lowered.node.outputs]
    for t, row in enumerate(rows):
        held = [
            units(x, f) if (f := integers.formats.get(v)) else x
            for v, x in zip(given, row, strict=True)
        ]
        left, right = ticked(one, list(row)), ticked(other, held)
        if isinstance(left, int) or isinstance(right, int):
            return None if left == right else f"tick {t}: stopped by {left} and {right}"
        for k, (wanted, found, format) in enumerate(zip(left, right, formats, strict=True)):
            if found is not None and format is not None:
                found = values(found, format)
            if (wanted is None) != (found is None):
                return f"tick {t}, output {k}: {wanted} and {found}\n{integers.lowered.node}"
            if wanted is not None and found is not None and not same_bits(wanted, found):
                return f"tick {t}, output {k}: {wanted} is not {found}\n{integers.lowered.node}"
    return None


def ticked(program: Interpreter, row: list[AnyArray]) -> list[AnyArray | None] | int:
    """A tick's outputs, or the number of the check that stops it."""
    try:
        return program.step(row)
    except CheckFailed as failed:
        return failed.check


# Every op, in every format.


def uses(name: str, format: Format) -> Iterator[tuple[tuple[Type, ...], Params]]:
    """The samples of an op with fixed point in place of real formats."""

    def to(found: object) -> object:
        return format if isinstance(found, Format) and found.is_float else found

    for sample in OPS[name].samples:
        types = tuple(Type(to(t.format), t.shape) for t in sample.types)  # type: ignore[arg-type]
        for params in (
            {n: to(p) for n, p in sample.params.items()},
            {n: None if n == "accumulate" else p for n, p in sample.params.items()},
        ):
            try:
                out = use(name, types, params).out
            except SignatureError:
                continue
            if any(t.format.kind == "fixed" for t in (*types, out)):
                yield types, params


APPLICABLE = [name for name in sorted(OPS) if any(True for f in FORMATS[:1] for _ in uses(name, f))]


def applied(name: str, types: tuple[Type, ...], params: Params) -> Node:
    b = Builder()
    args = tuple(Var(f"x{k}", t) for k, t in enumerate(types))
    return b.node("applied", args, (b.apply(name, *args, **params),))


def check_op(name: str, formats: Sequence[Format]) -> None:
    rng = np.random.default_rng([80, len(name)])
    for format in formats:
        for types, params in uses(name, format):
            rows = [[numbers(rng, t) for t in types] for _ in range(2)]
            found = disagreement(applied(name, types, params), rows)
            assert found is None, (name, format, found)


@pytest.mark.parametrize("name", APPLICABLE)
def test_every_op_gives_the_same_bits(name: str) -> None:
    k = APPLICABLE.index(name)
    check_op(name, (FORMATS[k % len(FORMATS)], FORMATS[(k + 3) % len(FORMATS)]))


@pytest.mark.long
@pytest.mark.parametrize("name", APPLICABLE)
def test_every_op_gives_the_same_bits_in_all_formats(name: str) -> None:
    check_op(name, FORMATS)


def test_the_rules_are_for_ops_of_the_table() -> None:
    assert set(RULES) <= set(OPS)
    assert {"matmul", "tanh", "div", "one_hot"} <= set(APPLICABLE)


CURVES = [
    name
    for name in APPLICABLE
    if OPS[name].family in SCALAR and len(OPS[name].samples[0].types) == 1
]


@pytest.mark.parametrize("name", CURVES)
def test_functions_have_the_same_bits_at_every_value(name: str) -> None:
    """In f32 with exceptions, and in f64."""
    for format in (fixed(4, 12), fixed(1, 15)):
        node = applied(name, (Type(format, (1 << format.bits,)),), {})
        for floats in ((), ("f32", "f64")):
            assert disagreement(node, [[values(every(format), format)]], floats) is None


def test_functions_are_computed_in_f32_where_that_is_cheaper_and_the_same() -> None:
    wide = fixed(4, 12)
    for floats, ops in (
        ((), {"dequantise", "tanh", "quantise", "except_at"}),
        (("f32", "f64"), {"dequantise", "tanh", "quantise"}),
    ):
        made = in_units(lower(applied("tanh", (wide[3],), {})), floats).lowered.node
        assert {eq.rhs.op for eq in made.eqs if isinstance(eq.rhs, Apply)} == ops
        (tanh,) = (eq.out for eq in made.eqs if getattr(eq.rhs, "op", "") == "tanh")
        assert tanh.type.format is (f64 if "f64" in floats else f32)
    made = in_units(lower(applied("tanh", (fixed(4, 8)[3],), {})), ("f32", "f64")).lowered.node
    assert all(v.type.format is not f64 for eq in made.eqs for v in eq.outs)


@pytest.mark.parametrize("source", FORMATS, ids=str)
def test_conversions_give_the_same_bits(source: Format) -> None:
    """To and from all formats; the integers of 8 and 16 bits whole."""
    rng = np.random.default_rng(81)
    for other in (*FORMATS, *NAMED.values()):
        for one, two in ((source, other), (other, source)):
            type = one[400]
            b, x = Builder(), Var("x", type)
            node = b.node("converted", (x,), (b.convert(x, format=two),))
            rows = [[numbers(rng, type)]]
            if one.kind != "fixed" and one.is_float:
                scaled = rng.normal(size=400) * 2.0 ** rng.integers(-20, 12, 400)
                halves = np.ldexp(rng.integers(-99, 99, 400) + 0.5, -source.mantissa)
                with np.errstate(all="ignore"):
                    rows += [[x.astype(one.dtype)] for x in (scaled, halves) if one.exact]
            found = disagreement(node, rows)
            assert found is None, (one, two, found)


# Programs.


def faults(seeds: Sequence[int]) -> Iterator[str]:
    for seed in seeds:
        node = random_program(seed, reals=FIXED)
        streams = random_inputs(node, seed, 12)
        floats = ((), ("f32",), ("f32", "f64"))[seed % 3]
        found = disagreement(node, [[x[t] for x in streams] for t in range(12)], floats)
        if found is not None:
            yield f"seed {seed}: {found}"


@pytest.mark.parametrize("first", range(0, 32, 8))
def test_random_programs_have_the_same_bits(first: int) -> None:
    assert not list(faults(range(first, first + 8)))


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 1300, 100))
def test_many_random_programs_have_the_same_bits(first: int) -> None:
    assert not list(faults(range(first, first + 100)))


# At the border of C.


@sc.node
def cell(x: sc.fixed(4, 12)[6], gain: sc.f32) -> dict[str, sc.Stream]:  # type: ignore[valid-type]
    """A state and a parameter of fixed point; other formats beside them; an output that is absent at times."""
    seen = sc.state(sc.constant(np.zeros((6, 6)), sc.fixed(4, 12)))
    y = sc.matmul(seen, x.reshape(6, 1)).reshape(6)
    seen.next = seen + 0.25 * (x - y).reshape(6, 1) * x.reshape(1, 6)
    usual = sc.state(sc.constant(np.linspace(-1, 1, 6), sc.fixed(3, 5)))
    usual.next = sc.tanh(usual + y.to(sc.fixed(3, 5)))
    return {
        "y": y,
        "real": usual * gain.to(sc.fixed(3, 5)),
        "odd": sc.when(sc.max(y), gain > 0.5),
    }


def streams(ticks: int = 20) -> tuple[AnyArray, AnyArray]:
    rng = np.random.default_rng(82)
    return rng.normal(size=(ticks, 6)), rng.normal(size=ticks).astype(np.float32)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def plain(x: Any) -> AnyArray:
        return x.dense(20, 0.0) if isinstance(x, Sparse) else np.asarray(x)

    return all(same_bits(plain(one[k]), plain(other[k])) for k in ("y", "real", "odd"))


@pytest.mark.cc
def test_c_takes_and_gives_what_the_interpreter_does() -> None:
    wanted, found = sc.compile(cell), sc.compile(cell, target="c")
    assert equal(wanted.run(*streams()), found.run(*streams()))
    assert all(same_bits(wanted.state[n], found.state[n]) for n in ("seen", "usual"))
    for x, gain in zip(*streams(3)):
        one, other = wanted.step(x, gain), found.step(x, gain)
        assert all(
            (one[k] is None) == (other[k] is None)
            and (one[k] is None or same_bits(one[k], other[k]))
            for k in one
        )


@pytest.mark.cc
def test_states_travel_between_targets(tmp_path: Path) -> None:
    """Saved by C, loaded by the interpreter, and the other way; set by hand, a zero has no sign."""
    for first, second in (("c", "interp"), ("interp", "c")):
        one, other = (sc.compile(cell, target=t) for t in (first, second))  # type: ignore[arg-type]
        one.run(*streams())
        one.state.save(tmp_path / "state.npz")
        other.state.load(tmp_path / "state.npz")
        assert equal(one.run(*streams()), other.run(*streams()))
    for on in ("c", "interp"):
        found = sc.compile(cell, target=on)
        found.state["usual"] = np.array([0.25, -0.0, 3.96875, -4.0, 0.0, 1.0])
        assert same_bits(found.state["usual"], np.array([0.25, 0.0, 3.96875, -4.0, 0.0, 1.0]))


@pytest.mark.cc
def test_parameters_travel_as_numbers(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    program = sc.compile(cell, target="c")
    program.run(*streams())
    sc.save_weights(program, tmp_path / "w.safetensors")
    loaded = sc.load_weights(sc.compile(cell, target="c"), tmp_path / "w.safetensors")
    assert same_bits(loaded.state["seen"], program.state["seen"])


def test_the_header_says_what_the_integers_count() -> None:
    header = sources_of(sc.compile(cell)).header
    assert (
        "    int16_t seen[36];  /* fixed<4, 12>[6, 6] in units of 2^-12, test_units.py:" in header
    )
    assert "    int8_t usual[6];  /* fixed<3, 5>[6] in units of 2^-5, test_units.py:" in header
    assert "    int16_t x[6];  /* fixed<4, 12>[6] in units of 2^-12" in header
    assert "double" not in header


def test_memory_is_that_of_the_integers() -> None:
    plan = sc.compile(cell).report().plan
    assert plan.state_bytes == 2 * 36 + 6
    assert plan.in_bytes == 2 * 6 + 4


def test_functions_of_eight_bits_are_tables_and_of_more_are_not() -> None:
    @sc.node
    def curves(x: sc.fixed(3, 5)[9], y: sc.fixed(4, 12)[9]) -> dict[str, sc.Stream]:  # type: ignore[valid-type]
        return {"x": sc.exp(x) + sc.exp(-x), "y": sc.exp(y)}

    plan = sc.compile(curves).report().plan
    assert plan.weights_bytes == 256  # one table, twice used
    assert "double" in sources_of(sc.compile(curves)).source


def test_arithmetic_of_fixed_point_has_no_floats() -> None:
    point = sc.fixed(4, 12)

    @sc.node
    def plain(x: point[8], y: point[8]) -> sc.Stream:  # type: ignore[valid-type]
        total = sc.sum(x * y) / sc.maximum(sc.max(abs(y)), 0.5)
        row = sc.matmul(x.reshape(1, 8), sc.constant(np.eye(8), point)).reshape(8)
        return sc.clip(sc.floor(row) - y, -1.0, 1.0) * total.to(sc.fixed(6, 10)).to(point)

    source = sources_of(sc.compile(plain)).source
    assert "double" not in source and "float" not in source.split("#endif", 2)[2]


def test_a_target_without_f64_takes_what_is_in_integers() -> None:
    board = replace(target("cortex-m4f"), tables={"refuse": {"formats": ["f64"]}})
    wide = fixed(1, 25)
    check_able(sc.compile(cell).lowered, board)
    check_able(lower(applied("mul", (wide[3], wide[3]), {})), board)
    with pytest.raises(SeicheError) as caught:
        check_able(lower(applied("tanh", (wide[3],), {})), board)
    assert "SE904" in str(caught.value) and "refuses f64" in str(caught.value)
