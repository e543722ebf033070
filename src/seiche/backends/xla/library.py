"""The only module that imports JAX: everything of it that the target uses, by one name each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from seiche.errors import NOWHERE, fail

try:
    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
except ImportError as error:
    raise fail(
        "SE904", 'the target "xla" needs JAX', NOWHERE, str(error), hint="pip install 'seiche[xla]'"
    ) from None

__all__ = [
    "Array",
    "Mesh",
    "NamedSharding",
    "PartitionSpec",
    "jax",
    "jnp",
    "lax",
    "on_each",
    "wide",
]

Array: TypeAlias = Any
"""A JAX array, or what stands for one while a function is traced."""


def wide() -> AbstractContextManager[Any]:
    """64-bit types inside the block, whatever the user's own setting is."""
    make: Any = getattr(jax, "enable_x64", None)
    if make is None:
        from jax import experimental

        make = getattr(experimental, "enable_x64")  # noqa: B009 (JAX before 0.8)
    return make(True)


def on_each(
    function: Callable[..., Any], mesh: Mesh, inputs: tuple[Any, ...], outputs: Any
) -> Callable[..., Any]:
    """The function run by every device of a mesh on its own parts; the specifications say which those are."""
    new: Any = getattr(jax, "shard_map", None)
    if new is not None:
        return new(function, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
    from jax.experimental.shard_map import shard_map as old  # pyright: ignore  (JAX before 0.6)

    return old(function, mesh, inputs, outputs, check_rep=False)
