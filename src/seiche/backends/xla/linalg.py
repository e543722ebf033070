"""Factors and linear systems: XLA's routines (LAPACK on CPUs), with the edges of the op records."""

from __future__ import annotations

from seiche.backends.xla.library import Array, jnp, lax
from seiche.backends.xla.scalars import Function
from seiche.ir.op import Use


def _cholesky(use: Use, a: Array) -> Array:
    factor = lax.linalg.cholesky(a, symmetrize_input=False)
    return lax.cond(jnp.all(factor == factor), lambda: jnp.tril(factor), lambda: _by_columns(a))


def _by_columns(a: Array) -> Array:
    """Right-looking, so that the columns before the first pivot that is not positive are what they are."""
    n = a.shape[-1]
    below = lax.iota(jnp.int32, n)

    def step(k: Array, out: Array) -> Array:
        column = lax.dynamic_index_in_dim(out, k, -1, keepdims=False)
        pivot = lax.dynamic_index_in_dim(column, k, -1, keepdims=False)
        pivot = jnp.sqrt(jnp.where(pivot > 0, pivot, jnp.nan))[..., None]
        column = jnp.where(below > k, column / pivot, jnp.where(below == k, pivot, 0))
        rest = (below > k)[:, None] & (below > k)
        out = jnp.where(rest, out - jnp.tril(column[..., :, None] * column[..., None, :]), out)
        return jnp.where(below == k, column[..., :, None], out)

    return jnp.tril(lax.fori_loop(0, n, step, jnp.tril(a)))


def _triangular(use: Use, a: Array, b: Array) -> Array:
    lower, trans = use.params.get("lower", True), use.params.get("trans", False)
    return lax.linalg.triangular_solve(a, b, left_side=True, lower=lower, transpose_a=trans)


LINALG: dict[str, Function] = {
    "cholesky": _cholesky,
    "triangular_solve": _triangular,
    "solve": lambda use, a, b: jnp.linalg.solve(a, b),
}
