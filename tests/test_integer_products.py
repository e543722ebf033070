"""Products of small integers and of fixed point: exact, wrapped where their format wraps, the same bits however they are multiplied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c import build
from seiche.backends.c.binding import Instance, Library
from seiche.backends.interp import Interpreter
from seiche.backends.program import Program
from seiche.errors import SeicheError
from seiche.numbers.formats import Format, Type, bf16, fixed, i8, i16, i32, i64, u8
from seiche.schedule import processor, target
from seiche.schedule.machine import schedule
from tests.agreement import same_bits
from tests.test_c_printer import COMPILERS

INTEGERS = [(i8, i8), (u8, i8), (i16, i16), (i8, i16), (u8, u8)]
FIXED = [fixed(4, 4), fixed(1, 7), fixed(4, 8), fixed(3, 11), fixed(4, 12), fixed(10, 10)]


def drawn(rng: np.random.Generator, type: Type) -> np.ndarray:
    """Whole ranges, both ends often: the products of the least numbers are the largest."""
    format = type.format
    if format.kind == "fixed":
        most = 1 << (format.bits - 1)
        codes = rng.integers(-most, most, type.shape)
        codes = np.where(rng.random(type.shape) < 0.3, -most, codes)
        return np.ldexp(codes.astype(np.float64), -format.mantissa)
    info = np.iinfo(format.dtype)
    x = rng.integers(info.min, info.max + 1, type.shape)
    return np.where(rng.random(type.shape) < 0.3, info.min, x).astype(format.dtype)


def draw_shape(rng: np.random.Generator) -> tuple[int, int, int]:
    m = int(rng.choice([1, 2, 7]))
    return m, int(rng.integers(1, 80)), int(rng.choice([1, 3, 4, 16, 21, 64, 90]))


def layer(
    rows: Format, columns: Format, shape: tuple[int, int, int], how: dict[str, Any], seed: int
) -> tuple[Program, np.ndarray, np.ndarray]:
    """A product by a constant and what reads it; with an input and the constant."""
    rng = np.random.default_rng([70, seed])
    m, k, n = shape
    x, w = drawn(rng, Type(rows, (m, k))), drawn(rng, Type(columns, (k, n)))
    held = np.ascontiguousarray(w.T) if seed % 2 else w

    @sc.node
    def product(x: rows[m, k]) -> dict[str, sc.Stream]:  # type: ignore[valid-type]
        weights = sc.constant(held, columns)
        y = sc.matmul(x, sc.transpose(weights) if seed % 2 else weights, **how)
        return {"y": y, "read": y + y * y}

    return sc.compile(product), x, w


def wrapped(x: np.ndarray, w: np.ndarray, format: Format) -> np.ndarray:
    """The product modulo 2^bits, computed by numpy in 64 bits."""
    exact = x.astype(np.int64) @ w.astype(np.int64)
    return exact.astype(format.dtype)


def in_c(program: Program, x: np.ndarray, on: target.Target | None = None) -> dict[str, np.ndarray]:
    scheduled = schedule(program.lowered, on)
    instance = Instance(Library(scheduled))
    assert instance.library.layouts[0].size == scheduled.plan.struct_bytes
    instance.give([x])
    assert instance.tick() == 0
    return dict(zip(("read", "y"), reversed(instance.results()), strict=True))


# Meaning.


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("pair", INTEGERS, ids=str)
def test_sums_are_those_of_integers(pair: tuple[Format, Format], seed: int) -> None:
    wide = i64 if seed % 3 == 2 else i32
    shape = draw_shape(np.random.default_rng(seed))
    program, x, w = layer(*pair, shape, {"accumulate": wide}, seed)
    assert same_bits(program.step(x)["y"], wrapped(x, w, wide))


def test_without_a_wider_format_sums_wrap() -> None:
    program, x, w = layer(i8, i8, (2, 40, 5), {}, 0)
    assert same_bits(program.step(x)["y"], wrapped(x, w, i8))


@pytest.mark.parametrize("seed", range(4))
def test_convolutions_and_einsum_accumulate(seed: int) -> None:
    rng = np.random.default_rng([71, seed])
    x, w = drawn(rng, i8[11, 6]), drawn(rng, i8[3, 6 if seed else 1, 6])
    groups = 1 if seed else 6

    @sc.node
    def both(x: i8[11, 6]) -> dict[str, sc.Stream]:
        taps = sc.conv(x, w, padding="causal", groups=groups, accumulate=i32)
        return {"conv": taps, "sum": sc.einsum("ti,kji->j", x, w, accumulate=i32)}

    padded = np.concatenate([np.zeros((2, 6), np.int64), x])
    rows = np.stack([padded[k : k + 11] for k in range(3)], 1)
    found = sc.compile(both).step(x)
    letters = "tki,kio->to" if seed else "tki,koi->ti"
    wanted = np.einsum(letters, rows, w.astype(np.int64)).astype(np.int32)
    assert same_bits(found["conv"], wanted)
    total = np.einsum("ti,kji->j", x.astype(np.int64), w.astype(np.int64)) if seed else None
    if total is None:
        total = np.einsum("ti,kji->j", x.astype(np.int64), np.broadcast_to(w, (3, 1, 6)))
    assert same_bits(found["sum"], total.astype(np.int32))


@pytest.mark.parametrize("format", FIXED, ids=str)
def test_fixed_point_is_summed_exactly_and_rounded_once(format: Format) -> None:
    from fractions import Fraction

    from seiche.numbers.rounding import round_exact

    program, x, w = layer(format, format, (2, 6, 3), {}, 0)
    found = program.step(x)["y"]
    for i, j in np.ndindex(2, 3):
        exact = sum(Fraction(a) * Fraction(b) for a, b in zip(x[i], w[:, j]))
        assert found[i, j] == round_exact(float(exact), format)


@pytest.mark.parametrize(
    "formats", [(i32, i8), (i8, i8, u8), (bf16, i8, i32), (i8, bf16, sc.f32)], ids=str
)
def test_formats_that_do_not_fit_are_refused(formats: tuple[Format, ...]) -> None:
    a, b, *wide = formats
    how = {"accumulate": wide[0]} if wide else {}

    @sc.node
    def product(x: a[2, 3], y: b[3, 2]) -> sc.Stream:  # type: ignore[valid-type]
        return sc.matmul(x, y, **how)

    with pytest.raises(SeicheError) as caught:
        sc.compile(product)
    assert "test_integer_products.py" in str(caught.value)


def test_no_gradient_passes_through_integers() -> None:
    w = np.ones((3, 2), np.int8)

    @sc.node
    def slope(x: sc.f32[3]) -> sc.Stream:
        def loss(x: sc.Stream) -> sc.Stream:
            return sc.sum(sc.matmul(x.to(i8), w, accumulate=i32).to(sc.f32) + sc.sum(x * x))

        return sc.grad(loss)(x)

    x = np.array([1.5, -2.0, 3.0], np.float32)
    assert same_bits(sc.compile(slope).step(x), 4 * x)


# Bits in C.


def processors() -> dict[str, target.Target]:
    """The host, as if it had vectors of other widths, or instructions for pairs alone."""
    host = target.host()
    widths = {"host": host} | {
        f"{8 * n} bits": replace(host, vector=n, dots=4) for n in (16, 32, 64)
    }
    return {**widths, "scalars": replace(host, vector=0, registers=16, dots=2)}


@pytest.mark.cc
@pytest.mark.parametrize("seed", range(10))
def test_c_has_the_interpreters_bits(seed: int) -> None:
    on = list(processors().values())[seed % 5]
    rows, columns = INTEGERS[seed % 3]
    shape = draw_shape(np.random.default_rng([72, seed]))
    program, x, w = layer(rows, columns, shape, {"accumulate": i32}, seed)
    found = in_c(program, x, on)
    assert same_bits(found["y"], wrapped(x, w, i32)), (rows, shape)
    assert same_bits(found["read"], program.step(x)["read"])


@pytest.mark.cc
@pytest.mark.parametrize("format", FIXED, ids=str)
def test_fixed_point_in_integers_has_the_same_bits(format: Format) -> None:
    scalars = processors()["scalars"]
    drawings = [((1, 300, 17), None), ((3, 70, 8), scalars), ((2, 90, 5), replace(scalars, dots=0))]
    for seed, (shape, on) in enumerate(drawings):
        program, x, _ = layer(format, format, shape, {}, seed)
        if seed:
            x = np.sign(x) * 2.0**-format.mantissa  # sums that are not all beyond the ends
        wanted = program.step(x)
        found = in_c(program, x, on)
        assert all(same_bits(found[k], wanted[k]) for k in wanted)


@pytest.mark.cc
@pytest.mark.parametrize("where", ["host", "256 bits", "scalars"])
@pytest.mark.parametrize("shape", [(1, 300, 17), (5, 600, 21), (4, 1, 3)], ids=str)
def test_wide_sums_by_a_matrix_that_is_no_constant(shape: tuple[int, int, int], where: str) -> None:
    """In parts, packed as the program runs; by f64; one by one."""
    m, k, n = shape
    rng, point = np.random.default_rng([77, m]), fixed(4, 12)

    @sc.node
    def products(
        x: i16[m, k],
        w: i16[k, n],
        v: i16[n, k],
        p: point[m, k],
        q: point[k, n],  # type: ignore[valid-type]
    ) -> dict[str, sc.Stream]:
        return {
            "plain": sc.matmul(x, w, accumulate=i64),
            "turned": sc.matmul(x, sc.transpose(v), accumulate=i64),
            "point": sc.matmul(p, q),
        }

    program = sc.compile(products)
    given = [drawn(rng, v.type) for v in program.lowered.node.inputs]
    given[3] = np.sign(given[3]) * 2.0**-9  # sums that are not all beyond the ends
    for on in (processors()[where], replace(processors()[where], floats=("f32",))):
        instance = Instance(Library(schedule(program.lowered, on)))
        instance.give(given)
        assert instance.tick() == 0
        found = dict(zip([v.name for v in program.lowered.node.outputs], instance.results()))
        wanted = program.step(*given)
        assert same_bits(wanted["plain"], wrapped(given[0], given[1], i64))
        assert same_bits(wanted["turned"], wrapped(given[0], given[2].T, i64))
        assert all(same_bits(a, b) for a, b in zip(found.values(), wanted.values(), strict=True))


def forms() -> list[tuple[str, ...]]:
    """What a compiler may be told of x86 on this machine, and plain C."""
    has = processor._flags()  # pyright: ignore[reportPrivateUsage]
    found: list[tuple[str, ...]] = [("-DSEICHE_NO_VECTORS",), ("-DSEICHE_NO_ASM",), ()]
    if "avx2" in has:
        found.append(("-mavx2",))
    if {"avx512f", "avx512bw", "avx512vl"} <= has:
        found.append(("-mavx512f", "-mavx512bw", "-mavx512vl"))
    if "avx512_vnni" in has:
        found.append(("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni"))
    return found


@pytest.mark.cc
@pytest.mark.parametrize("command", COMPILERS, ids=lambda c: c[0].rpartition("/")[2])
@pytest.mark.parametrize("form", forms(), ids=lambda f: " ".join(f) or "plain")
def test_every_form_is_free_of_warnings_and_agrees(
    command: tuple[str, ...], form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = ("-std=c99", "-O1", "-fPIC", "-shared", *build.WARNINGS, *form)
    monkeypatch.setattr(build, "flags", lambda compiler, arithmetic="strict": checked)
    monkeypatch.setenv("CC", " ".join(command))
    rng = np.random.default_rng(73)
    x, y = drawn(rng, i8[5, 37]), drawn(rng, i16[3, 11])
    whole = drawn(rng, i8[37, 64])
    v, w = drawn(rng, i8[37, 93]), drawn(rng, i16[11, 29])

    @sc.node
    def products(x: i8[5, 37], y: i16[3, 11]) -> dict[str, sc.Stream]:
        few = sc.matmul(x, v, accumulate=i32)
        return {"few": few, "wide": sc.matmul(y, w, accumulate=i32)}

    found = sc.compile(products, target="c").step(x, y)
    assert same_bits(found["few"], wrapped(x, v, i32))
    assert same_bits(found["wide"], wrapped(y, w, i32))

    @sc.node
    def in_vectors(x: i8[5, 37]) -> sc.Stream:
        return sc.matmul(x, whole, accumulate=i32)

    assert same_bits(sc.compile(in_vectors, target="c").step(x), wrapped(x, whole, i32))


@pytest.mark.cc
def test_words_take_the_place_of_the_matrix() -> None:
    """4 values of 8 bits a word, and the starts; fixed point of 8 bits takes an eighth of its carrier."""
    program, _, _ = layer(i8, i8, (1, 64, 40), {"accumulate": i32}, 0)
    on = processors()["scalars"]
    plan = schedule(program.lowered, on).plan
    assert plan.weights_bytes == 64 * 40 + 4 * 40
    program, _, _ = layer(fixed(4, 4), fixed(4, 4), (1, 64, 40), {}, 0)
    assert schedule(program.lowered, on).plan.weights_bytes == 64 * 40 + 4 * 40
    assert schedule(program.lowered, replace(on, dots=0)).plan.weights_bytes == 64 * 40


def test_stated_loops_leave_the_matrix_as_it_is() -> None:
    program, x, w = layer(i8, i8, (2, 64, 40), {"accumulate": i32, "loops": sc.tile(i=2, j=8)}, 0)
    assert schedule(program.lowered).plan.weights_bytes == 64 * 40
    assert same_bits(program.step(x)["y"], wrapped(x, w, i32))


def test_a_product_inside_a_scan_is_packed_too() -> None:
    w = drawn(np.random.default_rng(74), i8[40, 16])

    @sc.node
    def cell(x: i8[40]) -> sc.Stream:
        return sc.matmul(x, w, accumulate=i32)

    @sc.node
    def rows(xs: i8[9, 40]) -> sc.Stream:
        return sc.over_time(cell)(xs)

    program = sc.compile(rows)
    plan = schedule(program.lowered, processors()["scalars"]).plan
    assert plan.weights_bytes + plan.table_bytes == 40 * 16 + 4 * 16
    xs = drawn(np.random.default_rng(75), i8[9, 40])
    assert same_bits(program.step(xs), wrapped(xs, w, i32))
    assert same_bits(sc.compile(rows, target="c").step(xs), wrapped(xs, w, i32))


def states_and_batches() -> tuple[Any, tuple[np.ndarray, ...]]:
    """Products that read a state which they then overwrite; of batches, of uniform matrices, of a matrix that is no constant."""
    rng = np.random.default_rng(76)
    w, b = drawn(rng, i8[32, 32]), drawn(rng, i8[3, 32, 8])
    zeros, alike = np.zeros((32, 20), np.int8), np.full((32, 20), -7, np.int8)

    @sc.node
    def many(u: i8[32], m: i8[3, 5, 32]) -> dict[str, sc.Stream]:
        row, rows = sc.state(np.zeros(32, np.int8)), sc.state(np.zeros((4, 32), np.int8))
        for s in (row, rows):
            total = sc.matmul(s, w, accumulate=i32) + u.to(i32) * 64
            s.next = sc.clip(total >> 7, -128, 127).to(i8)
        return {
            "row": row, "rows": rows, "batch": sc.matmul(m, b, accumulate=i32),
            "zeros": sc.matmul(u, zeros, accumulate=i32), "alike": sc.matmul(u, alike, accumulate=i32),
            "given": sc.matmul(m[0], sc.transpose(m[1]), accumulate=i32),
        }  # fmt: skip

    return many, (drawn(rng, i8[12, 32]), drawn(rng, i8[12, 3, 5, 32]))


@pytest.mark.cc
@pytest.mark.parametrize("where", ["c", "xla"])
def test_states_batches_and_uniform_matrices(where: str) -> None:
    if where == "xla":
        pytest.importorskip("jax")
    many, streams = states_and_batches()
    wanted = sc.compile(many).run(*streams)
    found = sc.compile(many, target=where).run(*streams)
    assert all(same_bits(np.asarray(found[name]), x) for name, x in wanted.items())
    exact = wrapped(streams[0], np.full((32, 20), -7, np.int8), i32)
    assert same_bits(wanted["alike"], exact) and not wanted["zeros"].any()


def test_the_interpreter_is_not_concerned() -> None:
    """The rewriting belongs to what is scheduled: the lowered node keeps its product and its matrix."""
    program, _, _ = layer(i8, i8, (1, 64, 40), {"accumulate": i32}, 0)
    schedule(program.lowered)
    ops = [getattr(eq.rhs, "op", "") for eq in program.lowered.node.eqs]
    assert "matmul" in ops and "packed_matmul" not in ops
    assert isinstance(program.executor, Interpreter)
