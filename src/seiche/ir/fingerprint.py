"""What a node is, but for names and places: a hash, and the first difference between two nodes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from seiche.errors import Loc
from seiche.ir.core import Call, Equation, Frame, Node, Scan, Var


def fingerprint(node: Node) -> str:
    """A hash of the node's equations, types and constants."""
    digest = hashlib.sha256()
    for line, _ in _lines(node):
        digest.update(line.encode())
    return digest.hexdigest()


def difference(a: Node, b: Node) -> tuple[str, Loc] | None:
    """Where two nodes first differ: both equations, and the line; None when they are the same."""
    first, second = list(_lines(a)), list(_lines(b))
    for (left, loc), (right, _) in zip(first, second, strict=False):
        if left != right:
            return f"first `{left[:120]}`, then `{right[:120]}`", loc
    if len(first) != len(second):
        longer = max(first, second, key=len)
        return f"{len(first)} and {len(second)} equations", longer[min(len(first), len(second))][1]
    return None


def _lines(node: Node) -> Iterator[tuple[str, Loc]]:
    numbers: dict[Var, int] = {}

    def number(var: Var) -> str:
        return f"%{numbers.setdefault(var, len(numbers))}"

    yield "in " + " ".join(f"{number(v)}:{v.type}" for v in node.inputs), node.loc
    for eq in node.eqs:
        yield from _equation(eq, number)
    for check in node.checks:
        yield f"check {number(check.cond)} {check.code}", check.loc
    yield "out " + " ".join(map(number, node.outputs)), node.loc


def _equation(eq: Equation, number: Any) -> Iterator[tuple[str, Loc]]:
    outs = " ".join(f"{number(v)}:{v.type}" for v in eq.outs)
    parts = [
        _field(getattr(eq.rhs, f.name), number)
        for f in fields(eq.rhs)
        if f.name not in ("body", "vjp", "origin")
    ]
    yield f"{outs} = {type(eq.rhs).__name__} {' '.join(parts)}", eq.outs[0].loc
    match eq.rhs:
        case Scan(body=body) | Frame(body=body):
            yield from _lines(body)
        case Call(body=body, vjp=vjp):
            yield from _lines(body)
            if vjp is not None:
                yield from _lines(vjp)
        case _:
            pass


def _field(value: Any, number: Any) -> str:
    if isinstance(value, Var):
        return number(value)
    if isinstance(value, np.ndarray | np.generic):
        data = np.ascontiguousarray(value)
        text = str(value) if value.size == 1 else hashlib.sha256(data.tobytes()).hexdigest()[:16]
        return f"{value.dtype}{list(value.shape)}:{text}"
    if isinstance(value, tuple | list):
        return "(" + " ".join(_field(v, number) for v in value) + ")"
    if hasattr(value, "items"):
        return "{" + " ".join(f"{k}={_field(v, number)}" for k, v in sorted(value.items())) + "}"
    return str(value)
