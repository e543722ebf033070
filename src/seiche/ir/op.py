"""Op records: one record is one operator, whole. Every field is mandatory; every absence is a value.

From the table come the builder's methods, the generated tests and the reference page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from seiche.ir.core import Params, Var
from seiche.numbers.formats import Type

if TYPE_CHECKING:
    from seiche.ir.builder import Builder
    from seiche.ir.loops import Access, Expr, Result, Writer


class SignatureError(Exception):
    """Why an op does not apply to these types."""


@dataclass(frozen=True)
class Use:
    """One application of an op: its argument types, static parameters and result type."""

    types: tuple[Type, ...]
    params: Params
    out: Type


@dataclass(frozen=True)
class Element:
    """C as the scalar expression of the result at an index: fused into its consumers.

    `cheap` marks expressions that may be computed again for each use (moves, conversions, constants).
    """

    at: Callable[[Writer, tuple[Expr, ...], tuple[Access, ...], Use], Expr]
    cheap: bool = False


@dataclass(frozen=True)
class Kernel:
    """C as statements that fill the result, reading arguments at any index, any number of times.

    `fill(w, out, args, use)` stores with `out.put(index, value)` and reads what it stored with `out.get(index)`. `out` is a
    buffer of the result's type, never shared with an argument, its content undefined before; every element is stored at
    least once. It holds carrier values: rounding to a small format follows the whole of `fill`. A product may find a reader in
    `out` (`out.fused`): then it stores unfinished sums with `out.part`, and each element once with `out.put`.

    `in_place=k`: the result starts as argument k. `out` holds the value of that argument when `fill` begins (the caller
    shares the buffer, or copies), elements not stored keep it, and `fill` reads it through `out.get` only.
    """

    fill: Callable[[Writer, Result, tuple[Access, ...], Use], None]
    in_place: int | None = None


@dataclass(frozen=True)
class NoGradient:
    """Why there is none: it is zero (a step, an index), or, with `zero=False`, missing: to ask for it is SE701."""

    why: str
    zero: bool = True


Cotangents: TypeAlias = Sequence[Var | NoGradient]
Vjp: TypeAlias = Callable[["Builder", Use, tuple[Var, ...], Var, Var], Cotangents]
"""(builder, use, arguments, result, cotangent of the result) -> a cotangent per argument, linear in the last."""


Batch: TypeAlias = Callable[["Builder", Use, tuple[Var, ...], tuple[bool, ...], int], Var]
"""(builder, use of one instance, arguments, which of them have a leading axis of n instances, n) -> the n results.

At least one argument has the axis; so has the result. It is equal, in bits, to n separate uses.
"""


@dataclass(frozen=True)
class Sample:
    """Arguments for generated tests: types, parameters, and a maker of values (None: normal draws and extremes)."""

    types: tuple[Type, ...]
    params: Params
    values: Callable[[np.random.Generator], tuple[np.ndarray, ...]] | None


@dataclass(frozen=True)
class Law:
    """A statement about an op that tests check: `check(value, rng)` raises AssertionError when it fails."""

    name: str
    check: Callable[[Callable[..., np.ndarray], np.random.Generator], None]


@dataclass(frozen=True)
class Op:
    """An operator. See `docs/architecture.md` for the contract of each field."""

    name: str
    doc: str
    family: str
    signature: Callable[[tuple[Type, ...], Params], Type]
    value: Callable[[tuple[np.ndarray, ...], Use], np.ndarray]
    code: Element | Kernel
    vjp: Vjp | NoGradient
    batch: Batch
    cost: Callable[[Use], int]
    samples: tuple[Sample, ...]
    laws: tuple[Law, ...]


OPS: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Adds a record to the table."""
    assert op.name not in OPS, op.name
    OPS[op.name] = op
    return op


def use(op: str, types: tuple[Type, ...], params: Params) -> Use:
    """The use of an op at these types; raises SignatureError."""
    return Use(types, params, OPS[op].signature(types, params))


AnyArray: TypeAlias = np.ndarray[Any, Any]
