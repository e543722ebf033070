"""The structural ops (moves, linear algebra, sorting): what the tests of every record do not see.

Refusals; the order of operations in systems of equations, in bits; scratch, and stores, of the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import seiche.ir.ops  # noqa: F401
from seiche.ir.loops import Array, Buffer, Const, Declare, For, Load, Stmt, Store, Writer, integer
from seiche.ir.op import OPS, Kernel, SignatureError, Use, use
from seiche.ir.ops.define import caller, same_bits
from seiche.numbers.formats import bf16, f32, f64, i8, i32, u8
from tests.loops_eval import run

SHIFTS = {"strides": (1,), "dilation": (1,), "low": (0,), "high": (0,)}
WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("reshape", (f32[4],), {"shape": (3,)}, "4 elements"),
    ("transpose", (f32[2, 3],), {"perm": (0, 0)}, "no permutation"),
    ("broadcast", (f32[3],), {"shape": (3, 2)}, "does not broadcast"),
    ("broadcast", (f32[1, 3],), {"shape": (3,)}, "does not broadcast"),
    ("slice", (f32[3],), {"start": (2,), "stop": (1,), "step": (1,)}, "empty"),
    ("slice", (f32[3],), {"start": (0,), "stop": (1,), "step": (0,)}, "step of 0"),
    ("slice", (f32[3, 3],), {"start": (0,), "stop": (1,), "step": (1,)}, "each axis"),
    ("concat", (f32[2], f64[2]), {"axis": 0}, "do not join"),
    ("concat", (f32[2, 3], f32[2, 4]), {"axis": 0}, "do not join"),
    ("concat", (), {"axis": 0}, "nothing to join"),
    ("pad", (f32[3],), {"low": (-2,), "high": (-1,)}, "leaves nothing"),
    ("index", (f32[3], f32[()]), {"axis": 0}, "integers"),
    ("index", (f32[3], i32[1]), {"axis": 0}, "scalar index"),
    ("index", (f32[3], i32[()]), {"axis": 1}, "no axis"),
    ("update", (f32[3, 2], f32[3], i32[()]), {"axis": 0}, "no row"),
    ("dynamic_slice", (f32[3], i32[()]), {"axis": 0, "size": 4}, "4 rows"),
    ("take_along", (f32[3, 2], i32[3]), {"axis": 0}, "do not follow"),
    ("scatter_add", (f32[3], i32[2], f32[3]), {"axis": 0}, "rows to add"),
    ("one_hot", (i32[2],), {"depth": 0, "format": f32}, "empty"),
    ("patches", (f32[3],), {"window": (2,), **SHIFTS}, "spatial axes"),
    ("patches", (f32[3, 1],), {"window": (4,), **SHIFTS}, "does not fit"),
    ("patches", (f32[3, 1],), {"window": (1, 1), **SHIFTS}, "spatial axes"),
    ("unpatch", (f32[3, 2, 1],), {"spatial": (9,), **SHIFTS}, "no patches"),
    ("matmul", (f32[2, 3], f32[2, 3]), {}, "3 is not 2"),
    ("matmul", (f32[2, 3], f64[3, 2]), {}, "one format"),
    ("matmul", (f32[3], f32[3]), {}, "matrices"),
    ("matmul", (f32[1, 2, 2], f32[3, 2, 2]), {}, "batches"),
    ("matmul", (i32[2, 2], i32[2, 2]), {"accumulate": i8}, "cannot accumulate"),
    ("matmul", (u8[2, 2], u8[2, 2]), {"accumulate": i8}, "cannot accumulate"),
    ("matmul", (f32[2, 2], f32[2, 2]), {"accumulate": bf16}, "cannot accumulate"),
    ("cholesky", (f32[2, 3],), {}, "square"),
    ("cholesky", (i8[2, 2],), {}, "floats"),
    ("solve", (f32[2, 2], f32[2]), {}, "right-hand sides"),
    ("sort", (f32[2],), {"axis": 1}, "no axis"),
]


@pytest.mark.parametrize(
    ("op", "types", "params", "why"), WRONG, ids=[f"{w[0]}: {w[3]}" for w in WRONG]
)
def test_refusals_say_why(op: str, types: Any, params: Any, why: str) -> None:
    with pytest.raises(SignatureError, match=why):
        use(op, types, params)


# Systems of equations, one scalar operation at a time: the order that the records declare.


def cholesky(a: np.ndarray) -> np.ndarray:
    """Cholesky-Banachiewicz, row by row."""
    n, nan = len(a), a.dtype.type(math.nan)
    low = np.zeros_like(a)
    for i in range(n):
        for j in range(i + 1):
            rest = a[i, j]
            for k in range(j):
                rest = rest - low[i, k] * low[j, k]
            low[i, j] = rest / low[j, j] if j < i else np.sqrt(rest) if rest > 0 else nan
    return low


def triangular(a: np.ndarray, b: np.ndarray, lower: bool = True, trans: bool = False) -> np.ndarray:
    x, order = np.empty_like(b), list(range(len(a)))
    order = order if lower != trans else order[::-1]
    for c in range(b.shape[1]):
        for place, i in enumerate(order):
            rest = b[i, c]
            for k in order[:place]:
                rest = rest - (a[k, i] if trans else a[i, k]) * x[k, c]
            x[i, c] = rest / a[i, i]
    return x


def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elimination of the augmented matrix."""
    n = len(b)
    rows = [[*a[i], *b[i]] for i in range(n)]
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            best = i if abs(rows[i][k]) > abs(rows[best][k]) else best
        rows[k], rows[best] = rows[best], rows[k]
        for i in range(k + 1, n):
            f = rows[i][k] / rows[k][k]
            rows[i] = [x - f * y if j > k else x for j, (x, y) in enumerate(zip(rows[i], rows[k]))]
    upper = np.array([row[:n] for row in rows], a.dtype)
    return triangular(upper, np.array([row[n:] for row in rows], a.dtype), lower=False)


def matrices(rng: np.random.Generator, n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    a = rng.normal(size=(n, n))
    match kind:
        case "positive":
            a = a @ a.T + np.eye(n)
        case "zeros":
            a = np.round(a) * (rng.random((n, n)) < 0.6)
        case _:
            pass
    return a.astype("float32"), rng.normal(size=(n, 3)).astype("float32")


@pytest.mark.parametrize("kind", ["positive", "any", "zeros"])
def test_systems_in_bits(kind: str) -> None:
    rng = np.random.default_rng(5)
    for n in (1, 2, 3, 7):
        a, b = matrices(rng, n, kind)
        with np.errstate(all="ignore"):
            assert same_bits(caller("cholesky")(a), cholesky(a))
            assert same_bits(caller("solve")(a, b), solve(a, b))
            for lower in (True, False):
                for trans in (True, False):
                    flags = {"lower": lower, "trans": trans}
                    got = caller("triangular_solve")(a, b, **flags)
                    assert same_bits(got, triangular(a, b, **flags))


def test_a_factor_that_does_not_exist_is_nan_from_its_column_on() -> None:
    a = np.diag([4.0, -1.0, 9.0]) + np.tril(np.ones((3, 3)), -1)
    factor = caller("cholesky")(a)
    assert factor[:, 0].tolist() == [2.0, 0.5, 0.5]
    assert (
        np.isnan(factor[1:, 1]).all()
        and np.isnan(factor[2, 2])
        and factor[0, 1:].tolist() == [0, 0]
    )


# Kernels.


class Reader:
    """Access to a buffer."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer, self.type = buffer, buffer.type

    def __call__(self, *index: Any) -> Load:
        return Load(self.buffer, tuple(map(integer, index)))


def written(op: str, u: Use) -> tuple[list[Stmt], list[Buffer], Buffer]:
    """The statements of a kernel, the buffers of its arguments and of its result."""
    w, out = Writer(), Buffer("y", u.out, "out")
    ins = [Buffer(f"x{k}", t, "in") for k, t in enumerate(u.types)]
    code = OPS[op].code
    assert isinstance(code, Kernel)
    code.fill(w, Array(w, out), tuple(map(Reader, ins)), u)
    return w.block, ins, out


BATCHED = [("sort", (2, 100)), ("solve", (2, 3, 3)), ("cholesky", (2, 3, 3))]


@pytest.mark.parametrize(("op", "shape"), BATCHED)
def test_scratch_belongs_to_one_iteration(op: str, shape: tuple[int, ...]) -> None:
    """The loops over a batch are independent only if each iteration has scratch of its own."""
    u = use(op, (f32[shape],) * (1 + (op == "solve")), {"axis": 1} if op == "sort" else {})
    (outer,), _, _ = written(op, u)
    assert isinstance(outer, For) and outer.parallel
    assert sum(isinstance(s, Declare) for s in outer.body) == 1


def count(block: list[Stmt], counted: Callable[[Stmt], bool]) -> int:
    """How many such statements run, in loops with constant bounds."""
    total = 0
    for s in block:
        if isinstance(s, For):
            assert isinstance(s.start, Const) and isinstance(s.stop, Const)
            total += int(s.stop.value - s.start.value) * count(s.body, counted)
        total += counted(s)
    return total


@pytest.mark.parametrize(
    ("m", "k", "n", "per_store"), [(1, 64, 32, 8), (4, 64, 32, 4), (9, 30, 5, 3)]
)
def test_a_row_of_matmul_is_stored_once_for_several_products(
    m: int, k: int, n: int, per_store: int
) -> None:
    u = use("matmul", (f32[m, k], f32[k, n]), {})
    block, (a, b), out = written("matmul", u)
    assert count(block, lambda s: isinstance(s, Store)) <= m * k * n // per_store
    memory = {
        a: np.ones((m, k), "float32"),
        b: np.ones((k, n), "float32"),
        out: np.zeros((m, n), "float32"),
    }
    run(block, memory)
    assert (memory[out] == k).all()
