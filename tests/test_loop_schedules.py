"""How products are cut up: whatever the tiles, the vectors and the target, not a bit of the result changes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c import build
from seiche.backends.c.binding import CProgram, Instance, Library
from seiche.backends.interp import Interpreter
from seiche.errors import SeicheError
from seiche.ir import tiling
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Fby, Node, Var
from seiche.ir.fingerprint import fingerprint
from seiche.ir.loops import PLAIN, Array, Buffer, Hardware, Load, Plain, Writer, integer
from seiche.ir.op import OPS, SignatureError, use
from seiche.ir.parse import parse
from seiche.ir.text import show
from seiche.ir.tiling import Extents, Loops, tile
from seiche.numbers.formats import Format, Type, bf16, f32, f64, fixed, i8, i32
from seiche.schedule import processor, target
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from tests import loops_eval
from tests.agreement import same_bits
from tests.test_c_printer import COMPILERS

PROCESSORS: dict[str, Hardware] = {
    "plain": PLAIN,
    "neon": Plain(16, 32, (32768, 524288)),
    "avx2": Plain(32, 16, (32768, 262144)),
    "avx512": Plain(64, 32, (32768, 1048576)),
    "tiny caches": Plain(16, 16, (64, 512)),
}
FLAGS = [{}, {"trans_a": True}, {"trans_b": True}, {"trans_a": True, "trans_b": True}]
FORMATS: list[tuple[Format, dict[str, Any]]] = [
    (f32, {}), (f32, {}), (f64, {}), (bf16, {}), (bf16, {"accumulate": f32}), (f32, {"accumulate": f64}),
    (i8, {"accumulate": i32}), (i32, {}), (fixed(4, 8), {}),
]  # fmt: skip


# Draws, for other tests too.


def draw_loops(rng: np.random.Generator, extents: Extents) -> Loops:
    """Any legal way to cut up a product of these extents, with a register tile that is not much text."""
    loops, sizes = Loops(), {x: extents.of(x) for x in tiling.LOOPS}
    for _ in range(rng.integers(1, 4)):
        cut = [
            x for x in tiling.LOOPS if rng.random() < 0.7 and not (x == "k" and extents.lane_order)
        ]
        sizes |= {x: int(rng.integers(1, sizes[x] + 1)) for x in cut}
        loops = loops.tile(**{x: sizes[x] for x in cut})
        if rng.random() < 0.6:
            loops = loops.reorder(*map(str, rng.permutation(tiling.LOOPS)))
    loops = loops.unroll(*(x for x in "ij" if sizes[x] <= 6 and rng.random() < 0.6))
    if rng.random() < 0.6 and sizes["j"] <= 80:
        loops = loops.vectorise("k" if extents.lane_order else "j")
    if not extents.lane_order:
        loops = loops.pack(*(x for x in "ab" if rng.random() < 0.3))
        loops = loops.unroll(k=int(rng.integers(1, 5))) if rng.random() < 0.3 else loops
    return loops


def draw_product(rng: np.random.Generator, most: int) -> tuple[tuple[Type, Type], dict[str, Any]]:
    """Types and parameters of a product, cut up somehow or by default."""
    format, more = FORMATS[rng.integers(len(FORMATS))]
    flags = FLAGS[rng.integers(4)] if rng.random() < 0.5 else {}
    m, k, n = (int(rng.integers(1, most + 1)) for _ in range(3))
    batch = (2,) if rng.random() < 0.15 else ()
    a = (k, m) if flags.get("trans_a") else (m, k)
    b = (n, k) if flags.get("trans_b") else (k, n)
    params = {**flags, **more}
    if rng.random() < 0.85:
        lane_order = flags == {"trans_b": True} and not format.is_integer
        params["loops"] = str(draw_loops(rng, Extents(m, n, k, lane_order)))
    return (Type(format, (*batch, *a)), Type(format, (*batch, *b))), params


def draw_values(rng: np.random.Generator, type: Type) -> np.ndarray:
    """Of both signs and many magnitudes, so that another order of a sum shows; zeros of both signs."""
    if type.format.is_integer:
        return rng.integers(-128, 128, type.shape).astype(type.format.dtype)
    x = rng.normal(size=type.shape) * 10.0 ** rng.integers(-3, 4, type.shape)
    x = np.where(rng.random(type.shape) < 0.1, rng.choice([0.0, -0.0], type.shape), x)
    if type.format.kind == "fixed":
        return np.clip(np.round(x * 256), -2047, 2047) / 256
    bits = x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return (bits.view(np.float32) if type.format is bf16 else x).astype(type.format.dtype)


# The law.


class Reading:
    def __init__(self, buffer: Buffer) -> None:
        self.type, self.buffer = buffer.type, buffer

    def __call__(self, *index: Any) -> Load:
        return Load(self.buffer, tuple(map(integer, index)))


def evaluated(
    types: tuple[Type, ...], params: dict[str, Any], arrays: list[np.ndarray], hardware: Hardware
) -> np.ndarray:
    """What the statements of a product compute, by the slow evaluator, which checks each place that is read or written."""
    found = use("matmul", types, params)
    buffers = [Buffer(f"x{k}", t, "in") for k, t in enumerate(types)]
    out, w = Buffer("out", found.out, "out"), Writer(hardware=hardware)
    memory = {b: x.copy() for b, x in zip(buffers, arrays, strict=True)}
    memory[out] = loops_eval.undefined(out)
    OPS["matmul"].code.fill(w, Array(w, out), tuple(map(Reading, buffers)), found)
    assert len(loops_eval.run(w.block, memory).stored[out]) == found.out.size
    return memory[out]


@pytest.mark.parametrize("seed", range(60))
def test_statements_of_any_cut_compute_the_value(seed: int) -> None:
    rng = np.random.default_rng([607, seed])
    hardware = list(PROCESSORS.values())[seed % len(PROCESSORS)]
    types, params = draw_product(rng, 22)
    arrays = [draw_values(rng, t) for t in types]
    found = use("matmul", types, params)
    wanted = OPS["matmul"].value(tuple(arrays), found)
    assert same_bits(evaluated(types, params, arrays, hardware), wanted), (types, params)


def side_by_side(rng: np.random.Generator, count: int, most: int) -> tuple[Node, list[np.ndarray]]:
    """A node of several products."""
    b, inputs, outputs, given = Builder(), [], [], []
    for p in range(count):
        types, params = draw_product(rng, most)
        args = [Var(f"x{p}_{k}", t) for k, t in enumerate(types)]
        outputs.append(b.apply("matmul", *args, **params))
        inputs += args
        given += [draw_values(rng, t) for t in types]
    return b.node("products", tuple(inputs), tuple(outputs)), given


@pytest.mark.cc
@pytest.mark.parametrize("seed", range(4))
def test_any_cut_gives_the_same_bits_in_c(seed: int) -> None:
    node, given = side_by_side(np.random.default_rng([608, seed]), 5, 70)
    lowered = lower(node)
    wanted = Interpreter(lowered).step(given)
    for processor_ in [None, *list(PROCESSORS)[seed:][:1]]:
        on = None if processor_ is None else aimed(PROCESSORS[processor_])
        for mine, theirs in zip(stepped(lowered, given, on), wanted, strict=True):
            assert mine is not None and same_bits(mine, theirs), show(node)


def aimed(hardware: Hardware) -> target.Target:
    """The host, as if it were that processor."""
    return replace(
        target.host(), vector=hardware.vector, registers=hardware.registers, caches=hardware.caches
    )


def stepped(lowered: Any, given: list[np.ndarray], on: target.Target | None) -> list[Any]:
    """The outputs of one step of the program that was scheduled for a target."""
    instance = Instance(Library(schedule(lowered, on)))
    instance.give(given)
    assert instance.tick() == 0
    return list(instance.results())


@pytest.mark.cc
@pytest.mark.parametrize("command", COMPILERS, ids=lambda c: c[0].rpartition("/")[2])
@pytest.mark.parametrize("form", [(), ("-DSEICHE_NO_VECTORS",)], ids=["vectors", "arrays"])
def test_vectors_and_arrays_are_free_of_warnings_and_agree(
    command: tuple[str, ...], form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = ("-std=c99", "-O1", "-ffp-contract=off", "-fPIC", "-shared", *build.WARNINGS, *form)
    monkeypatch.setattr(build, "flags", lambda compiler, arithmetic="strict": checked)
    monkeypatch.setenv("CC", " ".join(command))
    for draw in (side_by_side, fused_products):
        node, given = draw(np.random.default_rng(609), 6, 40)
        lowered = lower(node)
        wanted = Interpreter(lowered).step(given)
        for mine, theirs in zip(CProgram(lowered).step(given), wanted, strict=True):
            assert mine is not None and same_bits(mine, theirs)


# Readers that are computed where a product is stored.


def draw_chain(rng: np.random.Generator, b: Builder, x: Var, inputs: list[Var]) -> Var:
    """What a random chain of readers makes of a product, element by element; its further operands are new inputs."""
    m, n = x.type.shape[-2:]
    for step in map(int, rng.integers(9, size=rng.integers(1, 5))):
        format, shape = x.type.format, x.type.shape
        if step < 4:
            held = [(n,), (1, 1), (m, 1), shape][step]
            inputs.append(
                Var(
                    f"y{len(inputs)}",
                    Type(
                        format,
                        held if len(held) == 1 or held == shape else (1,) * (len(shape) - 2) + held,
                    ),
                )
            )
            other = b.broadcast(inputs[-1], shape=shape)
            x = b.apply(["add", "mul", "maximum", "sub"][rng.integers(4)], x, other)
        elif step == 4:
            x = b.mul(x, x)
        elif step == 5 and format.kind == "float":
            x = b.tanh(x)
        elif step == 8:
            inputs.append(Var(f"y{len(inputs)}", Type(format, (n,))))
            other = b.broadcast(inputs[-1], shape=shape)
            x = b.select(b.gt(x, other), x, [other, b.neg(x), b.mul(x, other)][rng.integers(3)])
        elif step == 6:
            x = b.convert(x, format=[f32, bf16, i8, f64][rng.integers(4)])
        else:
            x = b.reshape(x, shape=(x.type.size,) if rng.random() < 0.3 else (*shape[:-2], 1, m, n))
            x = x if len(x.type.shape) > 1 else b.reshape(x, shape=shape)
    return x


def fused_products(
    rng: np.random.Generator, count: int, most: int
) -> tuple[Node, list[np.ndarray]]:
    """A node of products with such chains, some of which end in a state that the chain reads too."""
    b, inputs, outputs = Builder(), list[Var](), list[Var]()
    for p in range(count):
        types, params = draw_product(rng, most)
        args = [Var(f"x{p}_{k}", t) for k, t in enumerate(types)]
        inputs += args
        x = b.apply("matmul", *args, **params)
        if rng.random() < 0.3 and x.type.format.exact:
            old = Var(f"s{p}", x.type)
            x = b.add(x, old)
            b.eqs.append(
                Equation((old,), Fby(b.lit(np.ones(x.type.shape, x.type.format.dtype), x.type), x))
            )
        outputs.append(draw_chain(rng, b, x, inputs))
    return b.node("fused", tuple(inputs), tuple(outputs)), [
        draw_values(rng, v.type) for v in inputs
    ]


@pytest.mark.cc
@pytest.mark.parametrize("seed", range(8))
def test_readers_computed_where_a_product_is_stored_change_no_bit(seed: int) -> None:
    node, given = fused_products(np.random.default_rng([612, seed]), 6, 40)
    lowered = lower(node)
    interpreter, on = Interpreter(lowered), aimed(list(PROCESSORS.values())[seed % len(PROCESSORS)])
    scheduled = schedule(lowered, on)
    assert any(p.into for p in scheduled.plan.products)
    instance = Instance(Library(scheduled))
    assert instance.library.layouts[0].size == scheduled.plan.struct_bytes
    for _ in range(3):
        wanted = interpreter.step(given)
        instance.give(given)
        assert instance.tick() == 0
        for mine, theirs in zip(instance.results(), wanted, strict=True):
            assert theirs is not None and same_bits(mine, theirs), show(node)


def layer(loops: Loops | None) -> Any:
    @sc.node
    def dense(x: sc.f32[20, 30], w: sc.f32[30, 40], c: sc.f32[40], r: sc.f32[20, 40]) -> Any:
        return sc.tanh(sc.matmul(x, w, loops=loops) + c) + r

    return dense


@pytest.mark.parametrize("on", PROCESSORS)
@pytest.mark.parametrize("cut", ["tile()", "tile(i=4, j=16, k=8).reorder(k, i, j).vectorise(j)"])
def test_a_product_that_is_fused_has_no_memory(on: str, cut: str) -> None:
    found = {}
    for said in (None, True, False):
        loops = replace(tiling.parse(cut), fused=said)
        loops = None if said is None and cut == "tile()" else loops
        lowered = lower(layer(loops).trace().node)
        found[said] = schedule(lowered, aimed(PROCESSORS[on])).plan
    assert found[None].products[0].into == found[True].products[0].into == "out"
    assert not found[False].products[0].into and not found[True].scratch_bytes
    assert found[False].scratch_bytes == 20 * 40 * 4


@pytest.mark.cc
def test_gradients_go_through_a_fused_product() -> None:
    rng = np.random.default_rng(8)
    given = [rng.normal(size=s).astype(np.float32) for s in ((20, 30), (30, 40), (40,), (20, 40))]

    def made(loops: Loops) -> Any:
        def loss(x: Any, w: Any, c: Any) -> Any:
            return sc.sum(sc.square(sc.tanh(sc.matmul(x, w, loops=loops) + c)))

        @sc.node
        def training(x: sc.f32[20, 30], w: sc.f32[30, 40], c: sc.f32[40], r: sc.f32[20, 40]) -> Any:
            return sc.grad(lambda w: loss(x, w, c))(w) * 0.5 + w, sc.grad(lambda c: loss(x, w, c))(
                c
            )

        return training

    answers = [
        sc.compile(made(tile().fuse(on)), target=t).step(*given)
        for on in (True, False)
        for t in ("interp", "c")
    ]
    for other in answers[1:]:
        assert all(map(same_bits, answers[0], other))


def test_a_state_that_its_own_product_reads_is_left_in_place() -> None:
    """h' = tanh(h w): fused, it could not be written over h, and would be copied there."""

    @sc.node
    def step(x: sc.f32[4, 16]) -> Any:
        w = sc.constant(np.full((16, 16), 0.1, np.float32))
        h = sc.state(np.zeros((4, 16), np.float32))
        h.next = sc.tanh(sc.matmul(h, w) + x)
        return sc.sum(h)

    assert [p.into for p in sc.compile(step).report().plan.products] == [""]


def test_a_convolution_is_fused_behind_its_reshape() -> None:
    @sc.node
    def conv(x: sc.f32[9, 8, 3], w: sc.f32[3, 3, 3, 17], c: sc.f32[17]) -> Any:
        return sc.maximum(sc.conv(x, w, padding="same", loops=tile().fuse()) + c, 0.0)

    compiled = sc.compile(conv)
    assert compiled.report().plan.products[0].into == "out"
    assert "; stored as `out`" in str(compiled.report())


# The choice.


@pytest.mark.parametrize("seed", range(40))
def test_the_default_is_legal_and_stays_in_registers(seed: int) -> None:
    rng = np.random.default_rng([610, seed])
    names = {x: x for x in (*tiling.LOOPS, *tiling.OPERANDS)}
    all_ = [*PROCESSORS.values(), *map(target.target, target.names())]
    for hardware, format, lane_order in itertools.product(all_, (f32, f64, i32), (False, True)):
        m, k, n = (int(rng.integers(1, 4 ** rng.integers(1, 6))) for _ in range(3))
        extents = Extents(m, n, k, lane_order)
        loops = tiling.chosen(extents, format, hardware, bool(rng.integers(2)))
        assert tiling.fault(loops, extents, names) is None, (extents, loops)
        lanes = tiling.lanes_of(hardware, format)
        least = -(-tiling.LANE_SUMS // lanes) if lane_order else 1
        assert tiling.cut(loops, extents, lanes).accumulators <= max(least, hardware.registers)


def test_a_large_product_is_packed_and_a_row_is_not() -> None:
    host = PROCESSORS["avx512"]
    large = tiling.chosen(Extents(512, 512, 512), f32, host, True)
    assert str(large) == "tile(i=6, j=64, k=512).reorder(j, k, i).unroll(i).vectorise(j).pack(b)"
    assert not tiling.chosen(Extents(1, 384, 128), f32, host, True).packed
    assert tiling.chosen(Extents(512, 512, 2000), f32, host, True).levels[0].sizes[2] == ("k", 500)


def test_the_report_says_how_products_are_cut() -> None:
    @sc.node
    def both(a: sc.f32[8, 30], b: sc.f32[30, 20]) -> Any:
        return sc.matmul(a, b, loops=tile(i=4, j=20).unroll("i").vectorise("j")), a @ b

    report = sc.compile(both).report()
    first, second = (p.cut for p in report.plan.products)
    assert first.stated and not second.stated and first.extents == Extents(8, 20, 30)
    assert "tile(i=4, j=20).unroll(i).vectorise(j)*" in str(report)


def test_a_processor_tells_its_vectors_and_caches(tmp_path: Path) -> None:
    wide = frozenset({"avx512f", "avx512dq", "avx512vl", "avx2"})
    assert processor.vectors("amd64", wide) == {"vector": 64, "registers": 32, "dots": 4}
    assert processor.vectors("arm64", frozenset()) == {"vector": 16, "registers": 32}
    assert processor.vectors("riscv64", frozenset()) == {} == processor.caches(tmp_path)
    for k, (level, kind, size) in enumerate([(1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2M"), (3, "Unified", "9M")]):  # fmt: skip
        folder = tmp_path / f"index{k}"
        folder.mkdir()
        facts = {"level": level, "type": kind, "size": size, "coherency_line_size": 64}
        for name, said in facts.items():
            (folder / name).write_text(f"{said}\n", encoding="ascii")
    assert processor.caches(tmp_path) == {"caches": (48 << 10, 2 << 20), "line": 64}


# Transformations.


CUT = tile(i=3, j=16, k=7).reorder("k", "j", "i").unroll("i").vectorise("j").pack("b")


@pytest.mark.cc
def test_gradients_go_through_a_cut_product() -> None:
    def loss(a: Any, b: Any, loops: Loops | None) -> Any:
        return sc.sum(sc.tanh(sc.matmul(a, b, loops=loops)))

    @sc.node
    def cut(a: sc.f32[5, 19], b: sc.f32[19, 21]) -> Any:
        return sc.value_and_grad(lambda a, b: loss(a, b, CUT))(a, b), sc.grad(
            lambda b: loss(a, b, CUT)
        )(b)

    @sc.node
    def whole(a: sc.f32[5, 19], b: sc.f32[19, 21]) -> Any:
        return sc.value_and_grad(lambda a, b: loss(a, b, None))(a, b), sc.grad(
            lambda b: loss(a, b, None)
        )(b)

    rng = np.random.default_rng(5)
    given = [rng.normal(size=s).astype(np.float32) for s in ((5, 19), (19, 21))]
    found = [sc.compile(n, target=t).step(*given) for n in (cut, whole) for t in ("interp", "c")]
    leaves = [[np.asarray(x) for x in (y[0][0], *np.atleast_1d(y[0][1]), y[1])] for y in found]
    for other in leaves[1:]:
        assert all(map(same_bits, leaves[0], other))


def test_instances_side_by_side_keep_the_cut() -> None:
    @sc.node
    def product(a: sc.f32[5, 19]) -> sc.f32[5, 21]:
        b = sc.constant(np.arange(19 * 21, dtype=np.float32).reshape(19, 21) / 7)
        return sc.matmul(a, b, loops=CUT)

    @sc.node
    def many(a: sc.f32[4, 5, 19]) -> Any:
        return sc.over_space(product, 4)(a)

    a = np.random.default_rng(6).normal(size=(4, 5, 19)).astype(np.float32)
    compiled = sc.compile(many)
    (cut,) = (p.cut for p in compiled.report().plan.products)
    assert cut.loops == CUT and cut.extents.i == 20
    assert same_bits(compiled.step(a), np.stack([sc.compile(product).step(x) for x in a]))


@pytest.mark.cc
def test_the_loops_of_a_convolution_have_names_of_their_own() -> None:
    cut = tile(place=4, out=16, tap=5).unroll("place").vectorise("out").pack("w")

    def made(loops: Loops | None) -> Any:
        @sc.node
        def conv(x: sc.f32[9, 8, 3], w: sc.f32[3, 3, 3, 17]) -> Any:
            return sc.conv(x, w, padding="same", strides=(2, 1), loops=loops)

        return conv

    rng = np.random.default_rng(7)
    x, w = (rng.normal(size=s).astype(np.float32) for s in ((9, 8, 3), (3, 3, 3, 17)))
    wanted = sc.compile(made(None)).step(x, w)
    assert same_bits(sc.compile(made(cut), target="c").step(x, w), wanted)


# Text.


@pytest.mark.parametrize("seed", range(30))
def test_loops_print_and_parse(seed: int) -> None:
    loops = draw_loops(np.random.default_rng([611, seed]), Extents(40, 50, 60, seed % 4 == 0))
    assert tiling.parse(str(loops)) == tiling.parse(str(tiling.parse(str(loops))))
    assert str(tiling.parse(str(loops))) == str(loops)


def test_a_cut_product_prints_parses_and_has_a_fingerprint_of_its_own() -> None:
    def made(**params: Any) -> Node:
        b, x, y = Builder(), Var("x", f32[4, 6]), Var("y", f32[6, 8])
        return b.node("n", (x, y), (b.apply("matmul", x, y, **params),))

    node = made(loops=str(tile(i=2).unroll("i")))
    assert show(parse(show(node))) == show(node)
    rhs = parse(show(node)).eqs[0].rhs
    assert isinstance(rhs, Apply) and rhs.params["loops"] == "tile(i=2).unroll(i)"
    assert fingerprint(node) != fingerprint(made())


# What is wrong.

WRONG: list[tuple[Loops, str]] = [
    (tile(m=4), "`m` is no loop"),
    (tile(i=0), "at least one iteration"),
    (tile(i=13), "a tile of 13 along i, where the loop has 12"),
    (tile(i=4).tile(i=5), "a tile of 5 along i, where the tile around it has 4"),
    (tile(i=4).reorder("i", "j"), "reorder(i, j) is no order of i, j, k"),
    (tile(i=4).reorder("i", "j", "j"), "is no order"),
    (tile(i=4).vectorise("i"), "i cannot be vectorised: results lie side by side along j"),
    (tile(i=4).unroll("k"), "unroll(k) needs a number"),
    (tile(i=4).unroll("j"), "unroll(j) would write 90 iterations out"),
    (tile(i=4).unroll(k=0), "k is unrolled 1 to 64 times"),
    (tile(i=4).unroll(i=2), "unroll(i=2)"),
    (tile(i=4).pack("c"), "`c` is no loop and no operand"),
    (tile(i=4).pack("i"), "`i` is no operand of it: these are a, b"),
]


@pytest.mark.parametrize("loops, why", WRONG, ids=lambda x: str(x)[:40])
def test_what_cannot_be_cut_like_that_is_said(loops: Loops, why: str) -> None:
    @sc.node
    def product(a: sc.f32[12, 40], b: sc.f32[40, 90]) -> Any:
        return sc.matmul(a, b, loops=loops)

    with pytest.raises(SeicheError) as raised:
        sc.compile(product)
    assert raised.value.code == "SE607" and why in str(raised.value)
    assert "sc.matmul(a, b, loops=loops)" in str(raised.value)


def test_loops_are_not_text() -> None:
    @sc.node
    def product(a: sc.f32[12, 40], b: sc.f32[40, 90]) -> Any:
        return sc.matmul(a, b, loops="tile(i=4)")  # pyright: ignore[reportArgumentType]

    with pytest.raises(SeicheError, match=r"SE607.*not 'tile\(i=4\)'"):
        sc.compile(product)


def test_a_convolution_says_its_own_names() -> None:
    @sc.node
    def conv(x: sc.f32[9, 3], w: sc.f32[3, 3, 17], depth: bool = False) -> Any:
        loops = tile(place=4) if depth else tile(i=4)
        return sc.conv(x, w[:, :1, :3] if depth else w, loops=loops, groups=3 if depth else 1)

    with pytest.raises(SeicheError, match=r"place \(of 7\), out \(of 17\), tap \(of 9\)"):
        sc.compile(conv)
    with pytest.raises(SeicheError, match="depthwise"):
        sc.compile(conv, depth=True)


def test_a_sum_in_lane_order_is_not_cut() -> None:
    types = (f32[4, 40], f32[5, 40])
    for loops, why in (("tile(k=16)", "16 lanes"), ("tile(i=2).vectorise(j)", "lane order"), ("tile(i=2).pack(b)", "packed")):  # fmt: skip
        with pytest.raises(SignatureError, match=why):
            use("matmul", types, {"trans_b": True, "loops": loops})
    with pytest.raises(SignatureError, match="no text of loops"):
        use("matmul", types, {"trans_b": True, "loops": "tiles"})


def test_nothing_is_fused_where_the_product_itself_is_needed() -> None:
    cases: list[tuple[str, Any]] = [
        ("it is kept as it is", lambda p: p),
        ("it has several readers", lambda p: (p + 1.0, sc.sum(p))),
        ("does not compute element by element", lambda p: sc.sum(p, axis=0)),
        ("reads it at other places", lambda p: sc.tanh(p.T) + 1.0),
    ]
    for why, reader in cases:

        @sc.node
        def product(a: sc.f32[12, 40], b: sc.f32[40, 12], reader: Any = reader) -> Any:
            return reader(sc.matmul(a, b, loops=tile(i=4).fuse()))

        with pytest.raises(SeicheError, match=why) as raised:
            sc.compile(product, target="c")
        assert raised.value.code == "SE607" and "tile(i=4).fuse()" in str(raised.value)
