"""Cholesky factors and linear systems, batched over leading axes; nothing traps: what has no answer gives NaN or infinity.

All are right-looking: step k finishes row or column k and subtracts its part from the rest, so that every element sees its
subtractions with k in the order of the steps, in numpy as in C. Inside an op nothing is rounded to a small format.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from seiche.ir.builder import Builder
from seiche.ir.core import Params, Var
from seiche.ir.loops import Access, Array, Const, Expr, Name, Result, Writer, carrier, integer
from seiche.ir.op import AnyArray, Cotangents, Kernel, Op, SignatureError, Use, register
from seiche.ir.ops import batching
from seiche.ir.ops.define import Kinds, caller, check_kind, expect, law, sample
from seiche.ir.ops.indexing import blank
from seiche.numbers.formats import Type, bf16, f32, f64, i32

Value = Callable[..., AnyArray]
FLOATS = Kinds("floats", lambda f: f.kind == "float")


def check_square(name: str, a: Type) -> None:
    """Raises SignatureError unless a is `[*batch, n, n]` in a float format."""
    check_kind(name, a, FLOATS)
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise SignatureError(f"`{name}` needs square matrices, not {a}")


def check_system(name: str, a: Type, b: Type) -> None:
    """Raises SignatureError unless b is `[*batch, n, m]` to a's `[*batch, n, n]`."""
    check_square(name, a)
    if b.format != a.format or len(b.shape) < 2 or b.shape[:-1] != a.shape[:-1]:
        raise SignatureError(f"`{name}` needs right-hand sides [*batch, n, m] to {a}, not {b}")


def swapped(b: Builder, x: Var) -> Var:
    """Each matrix transposed."""
    rank = len(x.type.shape)
    return b.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))


def side(b: Builder, x: Var, lower: bool) -> Var:
    """One triangle of each matrix with its diagonal, zeros elsewhere."""
    rank, shape = len(x.type.shape), x.type.shape
    row = b.iota(shape=shape, axis=rank - 2, format=i32)
    column = b.iota(shape=shape, axis=rank - 1, format=i32)
    kept = b.le(column, row) if lower else b.le(row, column)
    return b.select(kept, x, blank(b, x.type))


def half_diagonal(b: Builder, x: Var) -> Var:
    """The lower triangle, its diagonal halved: Murray's Phi."""
    rank, shape = len(x.type.shape), x.type.shape
    row = b.iota(shape=shape, axis=rank - 2, format=i32)
    column = b.iota(shape=shape, axis=rank - 1, format=i32)
    halved = b.mul(x, b.lit(0.5, x.type))
    return side(b, b.select(b.eq(row, column), halved, x), lower=True)


# ----------------------------------------------------------------------------------------- cholesky


def cholesky_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("cholesky", types, 1, params)
    check_square("cholesky", types[0])
    return types[0]


def cholesky_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    out = np.tril(arrays[0])
    n = out.shape[-1]
    with np.errstate(all="ignore"):
        for k in range(n):
            pivot = out[..., k, k]
            pivot = np.sqrt(np.where(pivot > 0, pivot, np.asarray(np.nan, out.dtype)))
            out[..., k, k] = pivot
            column = out[..., k + 1 :, k] / pivot[..., None]
            out[..., k + 1 :, k] = column
            rest = out[..., k + 1 :, k + 1 :] - column[..., :, None] * column[..., None, :]
            out[..., k + 1 :, k + 1 :] = np.tril(rest)
    return out


def cholesky_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    *batch_shape, n, _ = use.out.shape
    format = carrier(use.out.format)
    with w.loops(tuple(batch_shape)) as batch:
        column = w.array((n,), format, "column") if n > 1 else None
        with w.loop(n) as k:
            pivot = w.let(out.get((*batch, k, k)))
            positive = w.select(pivot > 0.0, pivot, Const(math.nan, format))
            pivot = w.let(w.sqrt(positive))
            out.put((*batch, k, k), pivot)
            if column is not None:
                cholesky_step(w, out, batch, column, k, pivot)
        for i in range(n - 1):
            with w.loop(n, start=i + 1, parallel=True) as j:
                out.put((*batch, i, j), Const(0.0, format))


def cholesky_step(
    w: Writer, out: Result, batch: tuple[Expr, ...], column: Array, k: Expr, pivot: Expr
) -> None:
    """Divides column k, then subtracts its outer product from the lower triangle to its right."""
    (n,) = column.type.shape
    with w.loop(n, start=k + 1, parallel=True) as i:
        c = w.let(out.get((*batch, i, k)) / pivot)
        column.put((i,), c)
        out.put((*batch, i, k), c)
    with w.loop(n, start=k + 1, parallel=True) as i:
        c = w.let(column.get((i,)))
        with w.loop(i + 1, start=k + 1, parallel=True) as j:
            out.put((*batch, i, j), out.get((*batch, i, j)) - c * column.get((j,)))


def cholesky_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """Murray 2016, eq. 10: with S = L^-T Phi(L^T L') L^-1, a' = Phi(S + S^T), for the triangle that is read."""
    p = half_diagonal(b, b.matmul(out, ct, trans_a=True))
    left = b.triangular_solve(out, p, lower=True, trans=True)
    s = b.triangular_solve(out, swapped(b, left), lower=True, trans=True)
    return (half_diagonal(b, b.add(s, swapped(b, s))),)


def positive_definite(*shape: int, dtype: str = "float32") -> Callable[..., tuple[AnyArray, ...]]:
    """A maker of one well-conditioned matrix (or a batch)."""

    def maker(rng: np.random.Generator) -> tuple[AnyArray, ...]:
        x = rng.normal(size=shape)
        a = x @ np.swapaxes(x, -1, -2) + shape[-1] * np.eye(shape[-1])
        return (a.astype(dtype),)

    return maker


def indefinite(rng: np.random.Generator) -> tuple[AnyArray, ...]:
    a = np.diag([4.0, 2.0, -1.0, 3.0])
    a[3] = [1.0, 2.0, 3.0, 9.0]
    return (a,)


def cholesky_factor(value: Value, rng: np.random.Generator) -> None:
    (a,) = positive_definite(2, 9, 9, dtype="float64")(rng)
    factor = value(a)
    np.testing.assert_allclose(factor @ np.swapaxes(factor, -1, -2), a, rtol=1e-12)
    np.testing.assert_array_equal(value(np.tril(a)), factor)


cholesky = register(
    Op(
        name="cholesky",
        doc="`cholesky(a)`: lower L with `L L^T = a`, zeros above; reads the lower triangle. From the first pivot that is not "
        "positive on, columns are NaN. The derivative is with respect to the triangle that is read.",
        family="linalg",
        signature=cholesky_signature,
        value=cholesky_value,
        code=Kernel(cholesky_fill, in_place=0),
        vjp=cholesky_vjp,
        batch=batching.alike("cholesky"),
        cost=lambda use: use.out.size * (use.out.shape[-1] + 3) // 3,
        samples=(
            sample(f32[1, 1], values=positive_definite(1, 1)),
            sample(f32[5, 5], values=positive_definite(5, 5)),
            sample(f64[2, 3, 3], values=positive_definite(2, 3, 3, dtype="float64")),
            sample(f64[4, 4], values=indefinite),
            sample(f32[2, 2], values=lambda rng: (np.zeros((2, 2), "float32"),)),
            sample(bf16[2, 2], values=lambda rng: (np.array([[4, 0], [2, 3]], "float32"),)),
        ),
        laws=(law("L L^T is a; only the lower triangle is read", cholesky_factor),),
    )
)

# --------------------------------------------------------------------------------- triangular_solve

TRIANGULAR: Params = {"lower": True, "trans": False}


def triangular_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("triangular_solve", types, 2, {**TRIANGULAR, **params}, *TRIANGULAR)
    check_system("triangular_solve", *types)
    return types[1]


def flags(use: Use) -> tuple[bool, bool]:
    """lower, trans."""
    p = {**TRIANGULAR, **use.params}
    return bool(p["lower"]), bool(p["trans"])


def triangular_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    (a, x), (lower, trans) = arrays, flags(use)
    a = np.swapaxes(a, -1, -2) if trans else a
    return substitute(a, x.copy(), lower != trans)


def substitute(a: AnyArray, x: AnyArray, forward: bool) -> AnyArray:
    """Solves with the lower (forward) or upper triangle of a, in place in x."""
    n = a.shape[-1]
    with np.errstate(all="ignore"):
        for k in range(n) if forward else reversed(range(n)):
            x[..., k, :] = x[..., k, :] / a[..., k, k, None]
            rest = slice(k + 1, n) if forward else slice(0, k)
            x[..., rest, :] -= a[..., rest, k, None] * x[..., k, None, :]
    return x


def triangular_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    lower, trans = flags(use)
    with w.loops(use.out.shape[:-2]) as batch:

        def a(i: Expr, j: Expr) -> Expr:
            return args[0](*batch, j, i) if trans else args[0](*batch, i, j)

        write_substitution(w, out, batch, a, lower != trans)


def write_substitution(
    w: Writer,
    out: Result,
    batch: tuple[Expr, ...],
    a: Callable[[Expr, Expr], Expr],
    forward: bool,
) -> None:
    """Writes `substitute` in place in `out`."""
    *_, n, m = out.type.shape
    with w.loop(n, reverse=not forward) as k:
        pivot = w.let(a(k, k))
        with w.loop(m, parallel=True) as c:
            out.put((*batch, k, c), out.get((*batch, k, c)) / pivot)
        if n == 1:
            return
        start, stop = (k + 1, integer(n)) if forward else (integer(0), k)
        with w.loop(stop, start=start, parallel=True) as i:
            eliminate(w, out, batch, i, k, w.let(a(i, k)))


def eliminate(
    w: Writer, out: Result, batch: tuple[Expr, ...], i: Expr, k: Expr, factor: Expr
) -> None:
    """Row i minus `factor` times row k."""
    with w.loop(out.type.shape[-1], parallel=True) as c:
        part = factor * out.get((*batch, k, c))
        out.put((*batch, i, c), out.get((*batch, i, c)) - part)


def triangular_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """Giles 2008, section 2.3.1: b' = op(a)^-T x', op(a)' = -b' x^T, in the triangle that is read."""
    lower, trans = flags(use)
    b_ct = b.triangular_solve(args[0], ct, lower=lower, trans=not trans)
    left, right = (out, b_ct) if trans else (b_ct, out)
    a_ct = b.neg(b.matmul(left, right, trans_b=True))
    return side(b, a_ct, lower), b_ct


def system(
    n: int, m: int, *batch: int, dtype: str = "float32"
) -> Callable[..., tuple[AnyArray, ...]]:
    """A maker of a well-conditioned matrix and right-hand sides."""

    def maker(rng: np.random.Generator) -> tuple[AnyArray, ...]:
        a = rng.normal(size=(*batch, n, n)) + n * np.eye(n)
        return a.astype(dtype), rng.normal(size=(*batch, n, m)).astype(dtype)

    return maker


def triangular_solves(value: Value, rng: np.random.Generator) -> None:
    a, x = system(7, 3, 2, dtype="float64")(rng)
    for lower in (True, False):
        half = np.tril(a) if lower else np.triu(a)
        np.testing.assert_allclose(value(a, half @ x, lower=lower), x, rtol=1e-9)
        back = np.swapaxes(half, -1, -2) @ x
        np.testing.assert_allclose(value(a, back, lower=lower, trans=True), x, rtol=1e-9)


triangular_solve = register(
    Op(
        name="triangular_solve",
        doc="`triangular_solve(a, b, lower=True, trans=False)`: x with `op(a) x = b`, where op(a) is one triangle of a, or its "
        "transpose; the other triangle is not read. A zero on the diagonal gives infinities or NaN.",
        family="linalg",
        signature=triangular_signature,
        value=triangular_value,
        code=Kernel(triangular_fill, in_place=1),
        vjp=triangular_vjp,
        batch=batching.system("triangular_solve"),
        cost=lambda use: use.out.size * use.out.shape[-2],
        samples=(
            sample(f32[1, 1], f32[1, 2], values=system(1, 2)),
            sample(f32[4, 4], f32[4, 1], values=system(4, 1)),
            sample(f32[5, 5], f32[5, 3], lower=False, values=system(5, 3)),
            sample(f64[2, 3, 3], f64[2, 3, 2], trans=True, values=system(3, 2, 2, dtype="float64")),
            sample(f64[4, 4], f64[4, 2], lower=False, trans=True, values=system(4, 2, dtype="float64")),
            sample(f32[2, 2], f32[2, 2], values=lambda rng: (np.zeros((2, 2), "float32"), np.eye(2, dtype="float32"))),
            sample(bf16[2, 2], bf16[2, 1], values=lambda rng: (np.array([[2, 0], [1, 4]], "float32"), np.ones((2, 1), "float32"))),
        ),
        laws=(law("it undoes the product with the triangle", triangular_solves),),
    )
)  # fmt: skip

# -------------------------------------------------------------------------------------------- solve


def solve_signature(types: tuple[Type, ...], params: Params) -> Type:
    expect("solve", types, 2, params)
    check_system("solve", *types)
    return types[1]


def solve_value(arrays: tuple[AnyArray, ...], use: Use) -> AnyArray:
    a, x = (y.reshape(-1, *y.shape[-2:]).copy() for y in arrays)
    n = a.shape[-1]
    with np.errstate(all="ignore"):
        for lu, rhs in zip(a, x, strict=True):
            for k in range(n):
                swap_rows(lu, rhs, k)
                factor = lu[k + 1 :, k, None] / lu[k, k]
                lu[k + 1 :, k + 1 :] -= factor * lu[k, k + 1 :]
                rhs[k + 1 :] -= factor * rhs[k]
        return substitute(a, x, forward=False).reshape(use.out.shape)


def swap_rows(lu: AnyArray, rhs: AnyArray, k: int) -> None:
    """Brings the row with the largest element of column k to row k: the first of equals; NaN is never larger."""
    pivot = k
    for i in range(k + 1, len(lu)):
        if abs(lu[i, k]) > abs(lu[pivot, k]):
            pivot = i
    lu[[k, pivot], k:] = lu[[pivot, k], k:]
    rhs[[k, pivot]] = rhs[[pivot, k]]


def solve_fill(w: Writer, out: Result, args: tuple[Access, ...], use: Use) -> None:
    n = use.out.shape[-2]
    with w.loops(use.out.shape[:-2]) as batch:
        lu = w.array((n, n), use.out.format, "lu")
        with w.loops((n, n)) as (i, j):
            lu.put((i, j), args[0](*batch, i, j))
        if n > 1:
            with w.loop(n - 1) as k:
                exchange(w, out, batch, lu, k, write_pivot(w, lu, k))
                write_elimination(w, out, batch, lu, k)
        write_substitution(w, out, batch, lambda i, j: lu.get((i, j)), forward=False)


def write_pivot(w: Writer, lu: Array, k: Expr) -> Name:
    """Writes the search of `swap_rows`."""

    def magnitude(i: Expr) -> Expr:
        v = w.let(lu.get((i, k)))
        return w.let(w.select(v < 0.0, -v, v))

    pivot, largest = w.local(k, "pivot"), w.local(magnitude(k), "largest")
    with w.loop(lu.type.shape[0], start=k + 1) as i:
        v = magnitude(i)
        with w.when(v > largest):
            w.assign(pivot, i)
            w.assign(largest, v)
    return pivot


def exchange(
    w: Writer, out: Result, batch: tuple[Expr, ...], lu: Array, k: Expr, pivot: Expr
) -> None:
    """Exchanges rows k and pivot of the matrix and of the right-hand sides."""
    with w.loop(lu.type.shape[1], start=k, parallel=True) as j:
        held = w.let(lu.get((k, j)))
        lu.put((k, j), lu.get((pivot, j)))
        lu.put((pivot, j), held)
    with w.loop(out.type.shape[-1], parallel=True) as c:
        held = w.let(out.get((*batch, k, c)))
        out.put((*batch, k, c), out.get((*batch, pivot, c)))
        out.put((*batch, pivot, c), held)


def write_elimination(w: Writer, out: Result, batch: tuple[Expr, ...], lu: Array, k: Expr) -> None:
    """Subtracts row k from the rows below it, so that column k is zero there (and is not read again)."""
    n = lu.type.shape[0]
    with w.loop(n, start=k + 1, parallel=True) as i:
        factor = w.let(lu.get((i, k)) / lu.get((k, k)))
        with w.loop(n, start=k + 1, parallel=True) as j:
            lu.put((i, j), lu.get((i, j)) - factor * lu.get((k, j)))
        eliminate(w, out, batch, i, k, factor)


def solve_vjp(b: Builder, use: Use, args: tuple[Var, ...], out: Var, ct: Var) -> Cotangents:
    """Giles 2008, section 2.3.1: b' = a^-T x', a' = -b' x^T."""
    b_ct = b.solve(swapped(b, args[0]), ct)
    return b.neg(b.matmul(b_ct, out, trans_b=True)), b_ct


def solve_cost(use: Use) -> int:
    """Elimination 2n^3/3, and 2n^2 per right-hand side."""
    *batch, n, m = use.out.shape
    return math.prod(batch) * (2 * n**3 // 3 + 2 * n * n * m)


def solve_solves(value: Value, rng: np.random.Generator) -> None:
    a, x = rng.normal(size=(4, 6, 6)), rng.normal(size=(4, 6, 2))
    np.testing.assert_allclose(value(a, caller("matmul")(a, x)), x, rtol=1e-7, atol=1e-7)


def needs_pivots(rng: np.random.Generator) -> tuple[AnyArray, ...]:
    """Zeros on the diagonal, and two equal candidates."""
    a = np.array([[0, 2, 1], [-3, 0, 1], [3, 1, 0]], "float32")
    return a, rng.normal(size=(3, 2)).astype("float32")


solve = register(
    Op(
        name="solve",
        doc="`solve(a, b)`: x with `a x = b`, by elimination with partial pivoting (the first of equal pivots). A singular "
        "matrix gives infinities or NaN. C keeps a copy of one matrix on the stack.",
        family="linalg",
        signature=solve_signature,
        value=solve_value,
        code=Kernel(solve_fill, in_place=1),
        vjp=solve_vjp,
        batch=batching.system("solve"),
        cost=solve_cost,
        samples=(
            sample(f32[1, 1], f32[1, 1], values=system(1, 1)),
            sample(f32[5, 5], f32[5, 2], values=system(5, 2)),
            sample(f32[3, 3], f32[3, 2], values=needs_pivots),
            sample(f64[2, 4, 4], f64[2, 4, 1], values=system(4, 1, 2, dtype="float64")),
            sample(f64[2, 2], f64[2, 1], values=lambda rng: (np.ones((2, 2)), np.array([[1.0], [2.0]]))),
            sample(f32[3, 3], f32[3, 1], values=lambda rng: (np.full((3, 3), np.nan, "float32"), np.ones((3, 1), "float32"))),
            sample(bf16[2, 2], bf16[2, 1], values=lambda rng: (np.array([[0, 2], [1, 4]], "float32"), np.ones((2, 1), "float32"))),
        ),
        laws=(law("it undoes the product", solve_solves),),
    )
)  # fmt: skip
