"""Sums of outer products over rows, added a chunk of rows at a time: the same bits as row by row."""

from __future__ import annotations

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.binding import CProgram
from seiche.backends.interp import Interpreter
from seiche.errors import Loc
from seiche.ir.builder import Builder
from seiche.ir.core import Equation, Fby, Node, Post, Scan, Var
from seiche.numbers.formats import Type, f32, f64, i32
from seiche.schedule.target import host
from tests.agreement import program_of, same_bits
from tests.programs import values

M, N = 20, 33


def sum_over_rows(
    reverse: bool, extent: int, format: sc.Format, dynamic: bool, from_argument: bool
) -> Node:
    """g = the sum over rows of a^T tanh(b), from zeros or from an argument: `b` is computed at each row, `a` is there."""
    row = Builder(Loc("test", 1))
    a, b, start = Var("a", format[1, M]), Var("b", format[1, N]), Var("start", format[M, N])
    g = Var("g", format[M, N])
    product = row.matmul(a, row.tanh(b), trans_a=True, trans_b=False)
    total = row.add(g, product)
    first = start if from_argument else row.lit(0.0, format[M, N])
    row.eqs.append(Equation((g,), Post(total, first) if reverse else Fby(first, total)))
    body = Node("body", (a, b, start), (total,), row.eqs, Loc("test", 1))
    whole = Builder(Loc("test", 2))
    xs, ys, g0 = (
        Var("xs", format[extent, 1, M]),
        Var("ys", format[extent, 1, N]),
        Var("g0", format[M, N]),
    )
    n = Var("n", i32[()])
    scan = Scan(
        body,
        (xs, ys, g0),
        (True, True, False),
        ("first" if reverse else "last",),
        extent,
        n if dynamic else None,
    )
    (out,) = whole.define_many(scan, (format[M, N],), ("out",))
    return whole.node("sums", (xs, ys, g0, n), (out,))


@pytest.mark.cc
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("extent, format, dynamic, from_argument", [
    (40, f32, True, False), (33, f32, False, True), (16, f64, False, False), (5, f32, True, True),
])  # fmt: skip
def test_chunks_change_no_bit(
    reverse: bool, extent: int, format: sc.Format, dynamic: bool, from_argument: bool
) -> None:
    node = sum_over_rows(reverse, extent, format, dynamic, from_argument)
    compiled = program_of(node, CProgram)
    if host().vector:
        assert "_chunk" in compiled.executor.library.sources.source
    rng = np.random.default_rng(7)
    inputs = [values(rng, Type(v.type.format, v.type.shape), (6,)) for v in node.inputs[:3]]
    inputs.append(rng.integers(1, extent + 1, 6).astype(np.int32))
    (mine,), (theirs,) = program_of(node, Interpreter).run(*inputs), compiled.run(*inputs)
    assert same_bits(mine, theirs) and np.isfinite(mine).any()


@pytest.mark.cc
@pytest.mark.parametrize("read", [False, True])
def test_what_a_row_reads_does_not_wait(read: bool) -> None:
    """A weight that is updated at each row waits only where no row reads it."""

    @sc.node
    def online(xs: sc.f32[24, 16], ys: sc.f32[24, 40]) -> sc.f32[16, 40]:
        def row(x: sc.Stream, y: sc.Stream) -> sc.Stream:
            w = sc.state(sc.zeros((16, 40)))
            error = y - x @ w if read else y
            w.next = w + x.reshape(16, 1) @ error.reshape(1, 40)
            return w.next

        return sc.over_time(row)(xs, ys)[-1]

    rng = np.random.default_rng(8)
    xs, ys = 0.1 * rng.normal(size=(24, 16)), rng.normal(size=(24, 40))
    given = xs.astype(np.float32), ys.astype(np.float32)
    compiled = sc.compile(online, target="c")
    waits = "% 16" in compiled.executor.library.sources.source
    assert waits == (not read and host().vector > 0)
    assert same_bits(compiled.step(*given), sc.compile(online).step(*given))
