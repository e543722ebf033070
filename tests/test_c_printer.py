"""The text of generated C: literals, arithmetic at its edges, every op, warnings under gcc and clang, what the files may contain."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c import build
from seiche.backends.c.binding import CProgram
from seiche.backends.c.build import Compiler, find_compiler, run_compiler
from seiche.backends.c.expr import literal, stripped
from seiche.backends.c.printer import Sources, print_c
from seiche.backends.interp import Interpreter
from seiche.errors import Loc, SeicheError
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Node, Var
from seiche.ir.loops import Choose, Machine, Name
from seiche.ir.op import OPS, use
from seiche.ir.ops.define import draw_extremes
from seiche.lang.stream import represent
from seiche.numbers.formats import Type, bool_, f32, f64, i8, i32, i64, u8, u32, u64
from seiche.schedule.layout import out_layout
from seiche.schedule.lower import lower
from seiche.schedule.machine import schedule
from tests.agreement import same_bits
from tests.machines import agree, gru, machine_of, online_regression
from tests.programs import random_program

pytestmark = pytest.mark.cc

ZIG = (sys.executable, "-m", "ziglang", "cc")
COMPILERS = [
    *([("gcc",)] if shutil.which("gcc") else []),
    *([("clang",)] if shutil.which("clang") else []),
    *([ZIG] if importlib.util.find_spec("ziglang") else []),
]


def printed(node: Node) -> Sources:
    return print_c(machine_of(node).machine)


# Literals.


@pytest.mark.parametrize("format", [f32, f64])
def test_literals_are_exact(format: object) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 400, dtype=np.uint64)
    dtype = np.dtype(format.dtype)
    values = (
        bits.astype(np.uint32).view(np.float32) if dtype.itemsize == 4 else bits.view(np.float64)
    )
    for x in [*values.tolist(), 0.0, -0.0, 1.0, 0.1, 0.5, 1e300 if format is f64 else 1e38]:
        text = literal(x, format)
        if np.isfinite(x):
            assert text.endswith(("f", "f)")) or format is f64
            number = stripped(text).rstrip("f") if format is f32 else stripped(text)
            back = float.fromhex(number) if "0x" in number else float(number)
            assert struct.pack("d", back) == struct.pack("d", float(dtype.type(x)))


NANS = np.array([0x7FC00000, 0xFFC00000, 0x7FC00001, 0xFFD23456], np.uint32).view(np.float32)
"""Quiet NaNs: the canonical one, and others by sign and payload."""


@sc.node
def nans(at: i32):
    held = sc.state(NANS)
    held.next = held
    small, large = sc.take(NANS, at), sc.take(np.tile(NANS, 8), at + 4)
    return {
        "held": held, "small": small, "large": large,
        "narrow": sc.where(at < 0, 0.0, sc.constant(-NANS[2])),
        "wide": sc.where(at < 0, 0.0, sc.constant(np.float64(-np.nan), f64)),
    }  # fmt: skip


READ = """
#include <stdio.h>
#include "nans.h"
int main(void)
{
    static struct nans self;
    static struct nans_in in;
    static struct nans_out out;
    nans_init(&self, &nans_weights_data);
    for (in.at = 0; in.at < 4; ++in.at) {
        nans_step(&self, &in, &out);
        fwrite(&out, sizeof out, 1, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize(
    "command", COMPILERS, ids=[c[-1] if len(c) == 1 else "zig" for c in COMPILERS]
)
def test_nan_has_the_interpreters_bits(command: tuple[str, ...], tmp_path: Path) -> None:
    """In the text of a step, as a first value, in a table and among the weights."""
    program = sc.compile(nans)
    done = schedule(program.lowered)
    sources = print_c(done.machine)
    assert sources.weights is not None
    files = {"nans.h": sources.header, "nans.c": sources.source, "nans_weights.c": sources.weights}
    options = ["-std=c99", "-O2", *build.WARNINGS, "-ffp-contract=off", "-o", "device"]
    run_compiler(Compiler(command, ""), options, {**files, "main.c": READ}, tmp_path)
    said = subprocess.run([tmp_path / "device"], capture_output=True, check=True).stdout
    place = out_layout(done.machine)
    for row in range(4):
        wanted = program.step(row)
        assert all(np.isnan(x).all() for x in wanted.values())
        for buffer in done.machine.outputs:
            start = row * place.size + place.offsets[buffer.name]
            bits = np.asarray(wanted[buffer.name]).tobytes()
            assert said[start : start + len(bits)] == bits, (buffer.name, row)


def test_literals_of_integers() -> None:
    assert literal(-(2**63), i64) == "(-INT64_C(9223372036854775807) - 1)"
    assert literal(2**64 - 1, u64) == "UINT64_C(18446744073709551615)"
    assert [literal(x, f) for x, f in ((True, bool_), (200, u8), (-5, i8), (7, u32))] == [
        "1",
        "200",
        "(-5)",
        "7u",
    ]


@pytest.mark.parametrize("format", [f32, f64, i8, i32, i64, u8, u64])
def test_constants_of_all_kinds_arrive(format: object) -> None:
    type = format[41]
    value = draw_extremes(np.random.default_rng(1), type)
    b, x, n = Builder(), Var("x", type), Var("n", i32[()])
    small = b.lit(value[:9], format[9])
    picked = b.index(b.lit(value, type), n, axis=0)
    agree(
        b.node(
            "n",
            (x, n),
            (b.select(b.eq(x, x), b.lit(value, type), x), b.index(small, n, axis=0), picked),
        ),
        20,
    )


# Every op of the table, on its samples.


def applied(name: str) -> tuple[Node, list[np.ndarray]]:
    """A node with all samples of an op side by side, and values for its inputs."""
    eqs: list[Equation] = []
    inputs: list[Var] = []
    given: list[np.ndarray] = []
    outputs: list[Var] = []
    for k, sample in enumerate(OPS[name].samples):
        out = Var(f"y{k}", use(name, sample.types, sample.params).out)
        args = tuple(Var(f"x{k}_{i}", t) for i, t in enumerate(sample.types))
        eqs.append(Equation((out,), Apply(name, args, sample.params)))
        inputs += args
        outputs.append(out)
        rng = np.random.default_rng(7)
        raw = (
            sample.values(rng)
            if sample.values
            else tuple(draw_extremes(rng, t) for t in sample.types)
        )
        with np.errstate(all="ignore"):
            given += [
                np.reshape(represent(np.asarray(x), t.format), t.shape)
                for x, t in zip(raw, sample.types, strict=True)
            ]
    return Node(f"op_{name}", tuple(inputs), tuple(outputs), eqs), given


@pytest.mark.parametrize("name", sorted(OPS))
def test_an_op_gives_the_same_bits_in_c(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is optimised is tested elsewhere; here there is much text, and it must be free of warnings.
    quick = ("-std=c99", "-O1", "-ffp-contract=off", "-fPIC", "-shared", *build.WARNINGS)
    monkeypatch.setattr(build, "flags", lambda compiler, arithmetic="strict": quick)
    node, given = applied(name)
    lowered = lower(node)
    wanted = Interpreter(lowered).step(given)
    for out, mine, theirs in zip(node.outputs, CProgram(lowered).step(given), wanted, strict=True):
        assert mine is not None and theirs is not None
        assert same_bits(mine, theirs), f"{out}\n{mine}\nis not\n{theirs}"


# Arithmetic at its edges.


def test_integer_arithmetic_wraps_without_undefined_behaviour() -> None:
    for format in (i8, i32, i64, u8, u32, u64):
        b = Builder()
        x, y = Var("x", format[30]), Var("y", format[30])
        outs = [op(x, y) for op in (b.add, b.sub, b.mul, b.mod, b.minimum)] + [
            b.neg(x),
            b.square(y),
        ]
        node = b.node("n", (x, y), tuple(outs))
        program = CProgram(lower(node))
        wanted = Interpreter(lower(node))
        rng = np.random.default_rng(2)
        for _ in range(30):
            given = [draw_extremes(rng, x.type), draw_extremes(rng, y.type)]
            for a, c in zip(program.step(given), wanted.step(given), strict=True):
                assert same_bits(a, c)


def test_the_square_root_without_hardware_is_correctly_rounded(tmp_path: Path) -> None:
    """All exponents, subnormals, squares and their neighbours."""
    for format in (f32, f64):
        b, x = Builder(), Var("x", format[20000])
        source = printed(b.node("root", (x,), (b.sqrt(x),))).source
        assert "#if defined(SEICHE_HW_SQRT)" in source
        assert "goto" not in source
    rng = np.random.default_rng(3)
    old = build.flags
    try:
        build.flags = lambda c, a="strict": tuple(f for f in old(c, a) if f != "-DSEICHE_HW_SQRT")  # type: ignore[assignment]
        for format, unsigned in ((f32, np.uint32), (f64, np.uint64)):
            b, x = Builder(), Var("x", format[20000])
            program = CProgram(lower(b.node("root", (x,), (b.sqrt(x),))))
            bits = rng.integers(0, np.iinfo(unsigned).max, 20000, dtype=unsigned)
            whole = np.arange(1, 2001).astype(format.dtype)
            values = bits.view(format.dtype)
            values[:2000], values[2000:4000], values[4000:6000] = (
                whole**2,
                np.nextafter(whole**2, 0),
                np.nextafter(whole**2, 1e30),
            )
            values[6000:8000] = (bits[6000:8000] >> unsigned(9 if format is f32 else 12)).view(
                format.dtype
            )
            values[8000:8006] = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0]
            with np.errstate(all="ignore"):
                assert same_bits(program.step([values])[0], np.sqrt(values))
    finally:
        build.flags = old


# Text.


def test_loop_indices_are_plain_and_values_wrap() -> None:
    b, x, i = Builder(), Var("x", f32[10, 12]), Var("i", i32[100])
    source = printed(b.node("n", (x, i), (b.sum(x, axes=(1,)), b.mul(i, i)))).source
    assert "(int32_t)((uint32_t)" in source
    assert not re.search(r"\[[^\]]*uint32_t", source)


def test_names_are_the_users_and_never_keywords() -> None:
    b = Builder()
    names = ["int", "for", "x", "x", "gain [dB]", "2nd", "sqrt", "self", "out", "y1", "größe"]
    inputs = tuple(Var(n, f32[3]) for n in names)
    total = inputs[0]
    for v in inputs[1:]:
        total = b.add(b.cumsum(total, axis=0, reverse=False), v)
        total.name = v.name
    node = b.node("while", inputs, (total,))
    header = printed(node).header
    assert (
        "struct while_ {" in header and "float gain_dB[3];" in header and "float x_2[3];" in header
    )
    agree(node, 2)


def test_comments_cannot_be_broken_out_of() -> None:
    b = Builder(Loc("a*/b.py", 3))
    x = Var("*/ evil /*", f32[3], Loc("a*/b.py", 3))
    y = b.cumsum(x, axis=0, reverse=False)
    y.name = "*/ int z; /*"
    agree(b.node("n", (x,), (b.add(y, x),)), 2)


def test_sources_hold_no_more_than_they_may() -> None:
    for node in (gru(3, 9), online_regression(), random_program(1)):
        source = printed(node).source
        assert set(re.findall(r"#include [<\"](.*?)[>\"]", source)) == {
            f"{node.name}.h",
            "stdint.h",
            "string.h",
        }
        assert not re.search(r"\b(malloc|calloc|alloca|goto|setjmp|printf)\b", source)
        assert re.search(rf"static int32_t tick\(struct {node.name} \*restrict self", source)
        assert "\nstatic float " not in source and "\nfloat " not in source


def test_comments_name_lines_of_the_users_file() -> None:
    here = Loc("/some/where/model.py", 41)
    b, x = Builder(here), Var("x", f32[3], here)
    y = b.cumsum(x, axis=0, reverse=False)
    y.name = "walk"
    source = printed(b.node("n", (x,), (y,))).source
    assert "/* model.py:41: walk */" in source and "/some/where" not in source


@pytest.mark.parametrize(
    "command", COMPILERS, ids=[c[-1] if len(c) == 1 else "zig" for c in COMPILERS]
)
def test_no_warnings(command: tuple[str, ...], tmp_path: Path) -> None:
    compiler = Compiler(command, "")
    nodes = [gru(3, 20), online_regression(), *map(random_program, range(0, 24, 2))]
    for k, node in enumerate(nodes):
        try:
            sources = printed(node)
        except SeicheError:
            continue
        folder = tmp_path / str(k)
        folder.mkdir()
        n = sources.name
        files = {f"{n}.h": sources.header, f"{n}.c": sources.source, f"{n}_host.c": sources.host}
        if sources.weights:
            files[f"{n}_weights.c"] = sources.weights
        run_compiler(compiler, ["-std=c99", "-O1", *build.WARNINGS, "-c"], files, folder)


def test_the_header_is_one_for_cpp_too(tmp_path: Path) -> None:
    found = shutil.which("g++")
    command = (found,) if found else (sys.executable, "-m", "ziglang", "c++")
    if not found and importlib.util.find_spec("ziglang") is None:
        pytest.skip("no C++ compiler")
    (tmp_path / "gru.h").write_text(printed(gru(3, 9)).header)
    (tmp_path / "main.cpp").write_text(
        '#include "gru.h"\nint main() { gru self; gru_init(&self, &gru_weights_data); }\n'
    )
    subprocess.run([*command, "-Wall", "-Werror", "-c", "main.cpp"], cwd=tmp_path, check=True)


def test_a_device_needs_nothing_but_the_files(tmp_path: Path) -> None:
    """The weights as a source of their own; a main of one's own; no libm."""
    node = gru(3, 4)
    sources = printed(node)
    main = """
#include <stdio.h>
#include "gru.h"
static struct gru self;
int main(void)
{
    struct gru_in in = {{0.5f, -1.0f, 2.0f}};
    struct gru_out out;
    gru_init(&self, &gru_weights_data);
    for (int t = 0; t < 3; ++t) {
        gru_step(&self, &in, &out);
    }
    for (int k = 0; k < 4; ++k) {
        printf("%a ", (double)out.y[k]);
    }
    return 0;
}
"""
    assert sources.weights is not None
    files = {
        "gru.h": sources.header,
        "gru.c": sources.source,
        "gru_weights.c": sources.weights,
        "main.c": main,
    }
    run_compiler(
        find_compiler(), ["-std=c99", "-O2", "-ffp-contract=off", "-o", "device"], files, tmp_path
    )
    said = subprocess.run(
        [tmp_path / "device"], capture_output=True, text=True, check=True
    ).stdout.split()
    program = CProgram(lower(node))
    for _ in range(3):
        (y,) = program.step([np.array([0.5, -1.0, 2.0], np.float32)])
    assert [float.fromhex(s) for s in said] == y.tolist()


def test_a_choice_that_clamps_bounds_an_index() -> None:
    from seiche.backends.c.expr import Printer

    p = Printer(lambda b: b.name, lambda k, f: None, lambda e: e.name)
    n = Name("n", i32)
    high = Choose(n > 9, Name("n", i32) * 0 + 9, n)
    assert p.range(high) is None or p.range(high)[1] == 9
    clamped = Choose(n < 1, Builder and _const(1), Choose(n > 9, _const(9), n))
    assert p.range(clamped) is not None
    assert p.range(n) is None and isinstance(machine_of(gru(3, 4)).machine, Machine)


def _const(value: int) -> object:
    from seiche.ir.loops import integer

    return integer(value)


def test_types_of_the_struct_members() -> None:
    b = Builder()
    inputs = tuple(Var(f"v_{f}", Type(f)) for f in (f32, f64, i8, i64, u8, bool_))
    header = printed(Node("n", inputs, inputs, b.eqs)).header
    for text in (
        "float v_f32;",
        "double v_f64;",
        "int8_t v_i8;",
        "int64_t v_i64;",
        "uint8_t v_u8;",
        "uint8_t v_bool;",
    ):
        assert text in header
