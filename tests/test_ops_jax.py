"""The derivatives of ops beside those of JAX: at smooth points, and at the edges where both have an opinion."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seiche.ir.op import NoGradient, use
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Type
from tests.test_ops import _NAMES, EDGES, WITH_RULE, differentiable, generator, pull_back

Function = Callable[..., Any]


def by_name(name: str, **names: str) -> Callable[[Any, Any, Any], Function]:
    """A function of jax.numpy (or jax.nn, jax.scipy.special, jax.lax), its parameters renamed."""

    def make(jax: Any, jnp: Any, params: Any) -> Function:
        home, _, short = name.rpartition(".")
        module = {"": jnp, "nn": jax.nn, "special": jax.scipy.special, "lax": jax.lax}[home]
        given = {names.get(k, k): v for k, v in params.items()}
        return lambda *xs: getattr(module, short)(*xs, **given)

    return make


def _matmul(jax: Any, jnp: Any, p: Any) -> Function:
    def flip(x: Any, yes: Any) -> Any:
        return jnp.swapaxes(x, -1, -2) if yes else x

    return lambda a, b: flip(a, p.get("trans_a")) @ flip(b, p.get("trans_b"))


def _triangular(jax: Any, jnp: Any, p: Any) -> Function:
    lower, trans = p.get("lower", True), p.get("trans", False)
    return lambda a, b: jax.lax.linalg.triangular_solve(
        jnp.tril(a) if lower else jnp.triu(a), b, left_side=True, lower=lower, transpose_a=trans
    )


def _cumulative(name: str) -> Callable[[Any, Any, Any], Function]:
    return lambda jax, jnp, p: (
        lambda x: getattr(jax.lax, name)(x, axis=p["axis"], reverse=p["reverse"])
    )


SAME = (
    "add",
    "minimum",
    "maximum",
    "sqrt",
    "square",
    "reciprocal",
    "abs",
    "exp",
    "expm1",
    "exp2",
    "log",
    "log1p",
    "log2",
)
SAME += ("tanh", "sinh", "cosh", "sin", "cos", "tan", "copysign", "mod")
IN_JAX: dict[str, Callable[[Any, Any, Any], Function]] = {
    **{name: by_name(name) for name in SAME},
    **{name: by_name(name, axes="axis") for name in ("sum", "prod", "max", "min")},
    **{name: _cumulative(name) for name in ("cumsum", "cumprod", "cummax", "cummin")},
    **{name: by_name(f"special.{name}") for name in ("erf", "erfc", "erfinv")},
    "sub": by_name("subtract"), "mul": by_name("multiply"), "div": by_name("divide"), "neg": by_name("negative"),
    "pow": by_name("power"), "asin": by_name("arcsin"), "acos": by_name("arccos"), "atan": by_name("arctan"),
    "atan2": by_name("arctan2"), "sigmoid": by_name("nn.sigmoid"), "softplus": by_name("nn.softplus"),
    "select": by_name("where"), "reshape": by_name("reshape"), "transpose": by_name("transpose", perm="axes"),
    "broadcast": by_name("broadcast_to"), "matmul": _matmul, "triangular_solve": _triangular,
    "solve": lambda jax, jnp, p: jnp.linalg.solve,
    "concat": lambda jax, jnp, p: lambda *xs: jnp.concatenate(xs, p["axis"]),
    "slice": lambda jax, jnp, p: lambda x: x[tuple(map(slice, p["start"], p["stop"], p["step"]))],
    "sort": lambda jax, jnp, p: lambda x: jnp.sort(x, axis=p["axis"], descending=p.get("descending", False)),
    "take": lambda jax, jnp, p: lambda x, i: jnp.take(x, i, p["axis"], mode="clip"),
}  # fmt: skip


def in_jax(name: str, params: Any, arrays: tuple[Any, ...], ct: Any) -> list[Any]:
    """JAX's cotangents in f64; None for arguments that are not real."""
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        fn = IN_JAX[name](jax, jax.numpy, params)
        real = [i for i, a in enumerate(arrays) if a.dtype == np.float64]

        def of_real(*xs: Any) -> Any:
            full = list(arrays)
            for i, x in zip(real, xs, strict=True):
                full[i] = x
            return fn(*full)

        @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        def pulled(ct: Any, *xs: Any) -> Any:
            return jax.vjp(of_real, *xs)[1](ct)

        cotangents = pulled(jax.numpy.asarray(ct), *(arrays[i] for i in real))
        found = dict(zip(real, cotangents, strict=True))
        return [np.asarray(found[i]) if i in found else None for i in range(len(arrays))]


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in WITH_RULE if n in IN_JAX])
def test_derivative_equals_that_of_jax(name: str) -> None:
    pytest.importorskip("jax")
    for number, params, arrays in differentiable(name):
        types = tuple(Type(fmt.parse(_NAMES[a.dtype.name]), a.shape) for a in arrays)
        ct = generator(name, number).normal(size=use(name, types, params).out.shape)
        ours, _ = pull_back(name, params, arrays, ct)
        for mine, theirs in zip(ours, in_jax(name, params, arrays, ct), strict=True):
            if not isinstance(mine, NoGradient):
                np.testing.assert_allclose(
                    mine, theirs, rtol=1e-8, atol=1e-10, err_msg=f"{name} {params}"
                )


def differs(name: str, args: Any) -> bool:
    """Where we decide otherwise: at a tie of records (JAX halves the cotangent at each step, here the element that set the record
    has it all), at abs(0) (JAX: 1) and in the exponent of 0^0 (JAX: NaN)."""
    return name in ("cummax", "cummin", "abs") or (name, args) == ("pow", (0.0, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [e for e in EDGES if not differs(e[0], e[2])], ids=lambda c: f"{c[0]}{c[2]}"
)
def test_edges_equal_those_of_jax(case: Any) -> None:
    pytest.importorskip("jax")
    name, params, args, expected = case
    arrays = tuple(np.asarray(a, np.float64) for a in args)
    _, ct = pull_back(name, params, arrays)
    for theirs, wanted in zip(in_jax(name, params, arrays, ct), expected, strict=True):
        np.testing.assert_allclose(theirs, wanted, rtol=1e-12)
