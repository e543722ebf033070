"""Counters of ticks, recognised: how far apart the ticks of a condition are at least, and which rows of a buffer are new there.

    count = fby(0, 0 where k, else count + 1)     k = (count = n - 1)     |-  k holds every n ticks at most
    rows = fby(_, update(rows, x, count))                                 |-  rows 0 .. count are of this frame where k holds

This is the form in which `gather` and frames are lowered. What is not recognised is not wrong: it is copied, and watched at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seiche.ir.core import Apply, Equation, Fby, Lit, Scan, Var, When

Defs = Mapping[Var, Equation]


def gap(defs: Defs, cond: Var) -> int | None:
    """The ticks from one where `cond` holds to the next, at least; None where that is not known."""
    found = _last(defs, cond)
    return None if found is None or found[1] < 0 else found[1] + 1


def _last(defs: Defs, cond: Var) -> tuple[Var, int] | None:
    """The counter that `cond` compares, and the number at which it starts again."""
    at = delayed(defs, cond)[0]
    match _rhs(defs, at):
        case Apply("eq", (count, last)) if counts(defs, count, at):
            found = _integer(defs, last)
            return None if found is None else (count, found)
        case _:
            return None


def counts(defs: Defs, count: Var, cond: Var) -> bool:
    """Whether `count` numbers the ticks after the last one where `cond` held, from 0."""
    count, late = delayed(defs, count)
    cond, as_late = delayed(defs, cond)
    match _rhs(defs, count):
        case Fby(Var() as init, after) if late == as_late and _integer(defs, init) == 0:
            match _rhs(defs, after):
                case Apply("select", (key, zero, more)):
                    return key is cond and _integer(defs, zero) == 0 and _next(defs, more, count)
                case _:
                    pass
        case _:
            pass
    return False


def delayed(defs: Defs, var: Var) -> tuple[Var, int]:
    """What a chain of undefined delays starts from, and its length."""
    ticks = 0
    while isinstance(rhs := _rhs(defs, var), Fby) and rhs.init is None and rhs.reset is None:
        var, ticks = rhs.arg, ticks + 1
    return var, ticks


def _next(defs: Defs, var: Var, count: Var) -> bool:
    """Whether it is the number of rows with this tick's."""
    match _rhs(defs, var):
        case Apply("minimum", (one, other)):
            return _integer(defs, other) is not None and _next(defs, one, count)
        case Apply("add", (old, one)):
            return old is count and _integer(defs, one) == 1
        case _:
            return False


def _rhs(defs: Defs, var: Var) -> object:
    eq = defs.get(var)
    return None if eq is None else eq.rhs


def _integer(defs: Defs, var: Var) -> int | None:
    rhs = _rhs(defs, var)
    return int(rhs.value) if isinstance(rhs, Lit) and rhs.value.shape == () else None


@dataclass(frozen=True)
class Rows:
    """A buffer that collects a row per tick for a condition: `state = fby(_, filled)`, `filled = update(state, row, count)`."""

    state: Equation
    filled: Equation
    row: Var
    count: Var


def collected(
    defs: Defs, readers: Mapping[Var, list[Equation]], sample: Equation, cond: Var
) -> Rows | None:
    """The buffer that `sample` samples where `cond` holds, if all that is read of it there was collected since the last time."""
    assert isinstance(sample.rhs, When)
    filled = defs.get(sample.rhs.arg)
    match filled and filled.rhs:
        case Apply("update", (buffer, row, count), params) if params["axis"] == 0:
            state = defs.get(buffer)
        case _:
            return None
    assert filled is not None
    if state is None or not isinstance(state.rhs, Fby) or state.rhs.arg is not filled.out:
        return None
    alone = readers[buffer] == [filled] and set(readers[filled.out]) == {state, sample}
    if not alone or params.get("batch", 0) or not counts(defs, count, cond):
        return None
    full = _last(defs, cond) == (delayed(defs, count)[0], buffer.type.shape[0] - 1)
    if full or all(_up_to(defs, r, sample.out, count) for r in readers.get(sample.out, ())):
        return Rows(state, filled, row, count)
    return None


def _up_to(defs: Defs, reader: Equation, rows: Var, count: Var) -> bool:
    """Whether a reader is a scan over as many rows as have been counted."""
    if not isinstance(reader.rhs, Scan) or reader.rhs.length is None:
        return False
    mapped = all(m for a, m in zip(reader.rhs.args, reader.rhs.mapped, strict=True) if a is rows)
    length = _rhs(defs, reader.rhs.length)
    return mapped and isinstance(length, When) and _next(defs, length.arg, count)
