"""Literals that remember which arrays of the user's they are, or were computed from: the parameters of a program, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seiche.ir.core import Given, Lit, Origin, Scope
from seiche.lang import holders, names, trace
from seiche.lang.holders import Held
from seiche.numbers.formats import Format, Type

Array = np.ndarray[Any, Any]

ANONYMOUS = "k"
"""What a constant is called that nobody named."""
SAME = ("broadcast", "reshape")
"""Ops after which a parameter is still called as it was."""


@dataclass(frozen=True)
class Named:
    """A literal, and what it is called; `scope` is the path of instances that this name is from, None where it is just here."""

    lit: Lit
    type: Type
    name: str = ANONYMOUS
    scope: Scope | None = None


def of_user(value: Any, represented: Callable[[Array], Array], format: Format) -> Named:
    """The literal of an array or list of the user's, by the variable that holds it or, as a view, holds all of it."""
    array = np.asarray(value)
    here, type = represented(array), format[array.shape]
    if not array.shape or not _learnable(format):
        return Named(Lit(here), type)
    if (held := holders.holder(value)) is not None:
        given = _given(held, here, type)
        return _called(given.name, Lit(here, Origin((given,), lambda by: by[given.name])), type)
    if (held := holders.whole(array)) is not None:
        at, all = holders.positions(array, held.array), represented(held.array)
        given = _given(held, all, format[all.shape])
        origin = Origin((given,), lambda by: by[given.name].reshape(-1)[at])
        return _called(f"{given.name}_part", Lit(here, origin), type)
    scope = holders.stated()
    if scope is None or format.is_integer:
        return Named(Lit(here), type)
    owner = names.assigned("") or names.function()
    stem = f"{owner}_{ANONYMOUS}" if owner else ANONYMOUS
    given = _given(Held(value, scope, stem), here, type)
    return _called(given.name, Lit(here, Origin((given,), lambda by: by[given.name])), type)


def derived(op: str, args: Sequence[Lit], compute: Callable[..., Array], type: Type) -> Named:
    """The literal that an op makes of literals while tracing."""
    value = compute(*(lit.value for lit in args))
    given = tuple(dict.fromkeys(g for lit in args if lit.origin for g in lit.origin.given))
    if not given:
        return Named(Lit(value), type, op)

    def again(by: Mapping[str, Array]) -> Array:
        return compute(*(lit.origin.again(by) if lit.origin else lit.value for lit in args))

    lit, (first, *others) = Lit(value, Origin(given, again)), given
    if others:
        return Named(lit, type, op)
    return _called(first.name + ("" if op in SAME else f"_{op}"), lit, type)


def _learnable(format: Format) -> bool:
    """Whether arrays of a format may be weights: masks, keys and counts are none."""
    return format.is_float or (format.is_integer and not format.name.startswith(("u32", "u64")))


def _called(path: str, lit: Lit, type: Type) -> Named:
    *scope, name = path.split("/")
    return Named(lit, type, name, tuple(scope))


def _given(held: Held, value: Array, type: Type) -> Given:
    """The parameter of that name in this trace: one for each array."""
    known = trace.current().region.graph.top.given
    stem = "/".join((*held.scope, held.name))
    count, name = 1, stem
    while name in known and not _same(known[name], value, type):
        count, name = count + 1, f"{stem}#{count + 1}"
    return known.setdefault(name, Given(name, value, type, trace.here()))


def _same(given: Given, value: Array, type: Type) -> bool:
    return given.type == type and given.value.tobytes() == value.tobytes()
