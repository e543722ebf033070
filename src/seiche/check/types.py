"""Types: every equation gives its streams the shape and format that they claim.

    lit : carrier, shape of the Var          op(a_1 ... a_n) : sig_op(T_1 ... T_n, params)
    fby(i, x), post(x, f), when(x, c), merge(c, x, y) : T        where i, f, x, y : T
    scan, frame:  body : (U_1 ... U_n) -> (V_1 ... V_m)
        a_i : extent x U_i if mapped (scan), else U_i            out_j : extent x V_j if "stack", else V_j
    call:  body : (T ...) -> (V ...)         vjp : (T ..., V ...) -> (T ...)

Shapes are static, so that checking is reading (Jay 1995, "A semantics for shape"). Conditions are judged by `clocks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

import numpy as np

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
from seiche.check.facts import named
from seiche.errors import NOWHERE, Diagnostic
from seiche.ir.core import (
    Apply,
    Call,
    Equation,
    Fby,
    Frame,
    Lit,
    Merge,
    Node,
    Post,
    Scan,
    Var,
    When,
    operands,
)
from seiche.ir.op import OPS, SignatureError, use
from seiche.numbers.formats import Type, i32


def check(node: Node) -> list[Diagnostic]:
    """SE201 for the equations of the node (not of its bodies) whose types do not fit; SE703 for derivatives."""
    return [fault for eq in node.eqs for fault in _equation(eq)]


def _equation(eq: Equation) -> Iterator[Diagnostic]:
    rhs = eq.rhs
    match rhs:
        case Lit(value):
            yield from _literal(eq.out, np.asarray(value))
        case Apply():
            yield from _apply(eq.out, rhs)
        case Fby(init, arg):
            yield from _equal(eq, ("the delayed stream", arg), ("the first value", init))
        case Post(arg, final):
            yield from _equal(eq, ("the stream ahead", arg), ("the final value", final))
        case When(arg):
            yield from _equal(eq, ("the sampled stream", arg))
        case Merge(_, yes, no):
            yield from _equal(eq, ("the value where it holds", yes), ("the value elsewhere", no))
        case Scan(length=length):
            yield from _rows(eq, rhs)
            if length is not None and length.type != Type(i32):
                yield _fault(eq, f"the length of a scan is an i32, not {length.type}", (length,))
        case Frame():
            yield from _rows(eq, rhs)
        case Call():
            yield from _call(eq, rhs)
        case _:
            assert_never(rhs)


def _fault(eq: Equation, what: str, about: tuple[Var, ...] = (), hint: str = "") -> Diagnostic:
    named_places = [*eq.outs, *about, *operands(eq.rhs)]
    where = named_places[0].loc if named_places else NOWHERE
    types = tuple((f"{named(v)} is {v.type}", v.loc) for v in about)
    return Diagnostic("SE201", what, where, types, hint)


def _equal(eq: Equation, *values: tuple[str, Var | None]) -> Iterator[Diagnostic]:
    """Each value has the type of the equation's stream."""
    for role, var in values:
        if var is not None and var.type != eq.out.type:
            what = f"{named(eq.out)} is {eq.out.type}, but {role} is {var.type}"
            yield _fault(eq, what, (var,))


def _literal(out: Var, value: np.ndarray) -> Iterator[Diagnostic]:
    dtype = np.dtype(out.type.format.dtype)
    if value.dtype != dtype or value.shape != out.type.shape:
        held = f"{value.dtype}{list(value.shape) or ''}"
        what = f"{named(out)} is {out.type}, but its constant is {held}"
        yield Diagnostic("SE201", what, out.loc)


def _apply(out: Var, rhs: Apply) -> Iterator[Diagnostic]:
    if rhs.op not in OPS:
        yield Diagnostic("SE201", f"there is no operator `{rhs.op}`", out.loc)
        return
    try:
        result = use(rhs.op, tuple(a.type for a in rhs.args), rhs.params).out
    except SignatureError as fault:
        types = tuple((f"{named(a)} is {a.type}", a.loc) for a in rhs.args)
        what = f"`{rhs.op}` does not apply to these types"
        yield Diagnostic("SE201", what, out.loc, ((str(fault), None), *types))
        return
    if result != out.type:
        yield Diagnostic(
            "SE201", f"{named(out)} is {out.type}, but `{rhs.op}` gives {result}", out.loc
        )


def _arity(eq: Equation, what: str, given: int, body: Node, wanted: int) -> Iterator[Diagnostic]:
    if given != wanted:
        yield _fault(eq, f"`{body.name}` has {wanted} {what}, not {given}")


def _rows(eq: Equation, rhs: Scan | Frame) -> Iterator[Diagnostic]:
    """Arguments and results of a body that runs over rows."""
    body = rhs.body
    yield from _arity(eq, "arguments", len(rhs.args), body, len(body.inputs))
    yield from _arity(eq, "arguments", len(rhs.mapped), body, len(body.inputs))
    yield from _arity(eq, "results", len(eq.outs), body, len(body.outputs))
    yield from _arity(eq, "results", len(rhs.outs), body, len(body.outputs))
    sliced = isinstance(
        rhs, Scan
    )  # a frame takes a tick's value as a row; a scan cuts a tensor into rows
    for arg, each, inner in zip(rhs.args, rhs.mapped, body.inputs, strict=False):
        wanted = _stacked(inner.type, rhs.extent) if each and sliced else inner.type
        if arg.type != wanted:
            rows = f"{rhs.extent} rows of " if each and sliced else ""
            what = f"`{body.name}` takes {rows}{inner.type} as `{inner.name}`, not {arg.type}"
            yield _fault(eq, what, (arg,))
    for out, kind, inner in zip(eq.outs, rhs.outs, body.outputs, strict=False):
        wanted = _stacked(inner.type, rhs.extent) if kind == "stack" else inner.type
        if out.type != wanted:
            what = f"{named(out)} is {out.type}, but `{body.name}` gives {wanted} ({kind} of `{inner.name}`)"
            yield _fault(eq, what)


def _stacked(type: Type, extent: int) -> Type:
    return Type(type.format, (extent, *type.shape))


def _call(eq: Equation, rhs: Call) -> Iterator[Diagnostic]:
    body = rhs.body
    yield from _arity(eq, "arguments", len(rhs.args), body, len(body.inputs))
    yield from _arity(eq, "results", len(eq.outs), body, len(body.outputs))
    for arg, inner in zip(rhs.args, body.inputs, strict=False):
        if arg.type != inner.type:
            yield _fault(
                eq, f"`{body.name}` takes {inner.type} as `{inner.name}`, not {arg.type}", (arg,)
            )
    for out, inner in zip(eq.outs, body.outputs, strict=False):
        if out.type != inner.type:
            yield _fault(eq, f"{named(out)} is {out.type}, but `{body.name}` gives {inner.type}")
    if rhs.vjp is not None:
        yield from _memory(body)
        yield from _derivative(rhs.vjp, body)


def _memory(body: Node) -> Iterator[Diagnostic]:
    """SE703: what is carried between ticks has an adjoint that a function of one tick cannot give."""
    for eq in body.eqs:
        if isinstance(eq.rhs, Fby | Post | Frame) and eq.outs:
            what = f"`{body.name}` has a derivative of its own, and memory: {named(eq.outs[0])}"
            hint = "give the derivative to the part that has no memory"
            yield Diagnostic(
                "SE703", what, eq.outs[0].loc, ((f"`{body.name}` is made here", body.loc),), hint
            )


def _derivative(vjp: Node, body: Node) -> Iterator[Diagnostic]:
    """SE703: a derivative takes arguments and cotangents of results, and gives cotangents of the real arguments."""
    wanted = [v.type for v in (*body.inputs, *body.outputs)]
    arguments = [v.type for v in body.inputs if v.type.format.is_float]
    for what, have, need in (
        ("takes", [v.type for v in vjp.inputs], wanted),
        ("gives", [v.type for v in vjp.outputs], arguments),
    ):
        if have != need:
            text = f"the derivative `{vjp.name}` of `{body.name}` {what} {_listed(have)}, not {_listed(need)}"
            why = ((f"`{body.name}` is made here", body.loc),)
            hint = "it takes the arguments, then a cotangent per result; it gives a cotangent per real argument"
            yield Diagnostic("SE703", text, vjp.loc, why, hint)


def _listed(types: list[Type]) -> str:
    return f"({', '.join(map(str, types))})"
