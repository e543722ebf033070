"""The scalar primitives on JAX arrays: what is defined by its bits (random numbers) runs as it is written.

XLA may reassociate constants, `(x + c) - c` to x, and flushes subnormals: functions that rely on either have forms of their own
in `scalars` and `rounding`.
"""

from __future__ import annotations

from seiche.backends.xla.library import jnp, lax
from seiche.numbers.formats import Format
from seiche.numbers.kit import Value


class JaxKit:
    """`numbers.kit.Kit` on JAX."""

    def const(self, value: float | int | bool, format: Format) -> Value:
        return jnp.asarray(value, format.dtype)

    def select(self, cond: Value, yes: Value, no: Value) -> Value:
        return jnp.where(cond, yes, no)

    def convert(self, x: Value, format: Format) -> Value:
        return lax.convert_element_type(x, jnp.dtype(format.dtype))

    def bits(self, x: Value) -> Value:
        return lax.bitcast_convert_type(x, jnp.uint32 if x.dtype == jnp.float32 else jnp.uint64)

    def from_bits(self, u: Value) -> Value:
        return lax.bitcast_convert_type(u, jnp.float32 if u.dtype == jnp.uint32 else jnp.float64)

    def sqrt(self, x: Value) -> Value:
        return lax.sqrt(x)

    def let(self, x: Value) -> Value:
        return x


JAX = JaxKit()
