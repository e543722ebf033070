"""Weights as files of safetensors: the arrays that a program is made with, by name, out to a file and in from one.

A parameter is a constant array of the user's: one that a state starts from goes by the state's name, another by its own, both below
the path of their instance. Loading puts other values in their places and compiles again, so that whatever was derived from them is
derived again. Nothing changes where a file does not fit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seiche.backends import saved
from seiche.backends.interp import Interpreter
from seiche.backends.program import Program
from seiche.errors import NOWHERE, Diagnostic, Loc, SeicheError, fail
from seiche.ir.core import Call, Equation, Fby, Frame, Lit, Node, Scan, Var, walk
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.schedule.budget import fitted
from seiche.schedule.lower import Lowered, lower
from seiche.schedule.machine import schedule


@dataclass(frozen=True)
class Parameter:
    """An array that a program is made with; `state` is the state that starts from it.

    One that repeats a single number (a fresh bias, a filter's empty memory) may be missing in a file.
    """

    name: str
    var: Var
    value: AnyArray
    state: Var | None

    @property
    def type(self) -> Type:
        return self.var.type

    @property
    def loc(self) -> Loc:
        return self.var.loc if self.state is None else self.state.loc

    @property
    def optional(self) -> bool:
        return _uniform(self.value)


def _uniform(x: AnyArray) -> bool:
    return bool((x == x.reshape(-1)[0]).all())


def parameters(node: Node) -> dict[str, Parameter]:
    """The parameters of a logical node by name, in the order of the program.

    >>> import numpy as np, seiche as sc
    >>> @sc.node
    ... def line(x: sc.f32[2]) -> sc.f32:
    ...     w = sc.state(np.ones(2))
    ...     w.next = w
    ...     return w @ x
    >>> list(parameters(line.trace().node))
    ['w']
    """
    found: dict[str, Parameter] = {}
    for var, value, state in _arrays(node):
        owner = state or var
        stem = "/".join((*owner.scope, owner.name))
        count, name = 1, stem
        while name in found:
            count, name = count + 1, f"{stem}#{count + 1}"
        found[name] = Parameter(name, var, value, state)
    return found


def _arrays(node: Node) -> Iterator[tuple[Var, AnyArray, Var | None]]:
    """Constant arrays that are the user's own, each with the state that starts from it.

    Not those that the language made by repeating a number, and not an index.
    """
    for one in walk(node):
        starts = {e.rhs.init: e.out for e in reversed(one.eqs) if isinstance(e.rhs, Fby)}
        for eq in one.eqs:
            if not isinstance(eq.rhs, Lit) or not eq.out.type.shape:
                continue
            var = eq.out
            given = var.name == "k" and not var.type.format.is_integer
            if var in starts or given or not _uniform(eq.rhs.value):
                yield var, eq.rhs.value, starts.get(var)


def save_weights(program: Program, path: str | os.PathLike[str]) -> None:
    """Writes a program's parameters to a file of safetensors: what states hold now, and constants. The whole file or nothing.

    Arrays are in the carriers of their formats; the metadata names program and formats. Raises SE904 without the extra `deploy`.
    """
    found = parameters(program.node)
    now = dict(program.state)
    tensors = {n: _current(p, now) for n, p in found.items()}
    about = {"program": program.node.name, **{n: str(p.type) for n, p in found.items()}}
    target = Path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(_library().save(tensors, metadata=about))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _current(p: Parameter, states: Mapping[str, AnyArray]) -> AnyArray:
    """The value of a parameter: of the state that began as it, where that can be read."""
    found = None
    if p.state is not None:
        found = states.get("/".join((*p.state.scope, p.state.name)))
    usable = found is not None and found.shape == p.value.shape
    return np.ascontiguousarray(found if usable else p.value)


def load_weights(program: Program, path: str | os.PathLike[str]) -> Program:
    """The program with the parameters of a file, for the interpreter, before its first tick.

    Raises SE910, naming all that does not fit: names that are missing or unknown, other shapes, dtypes or formats.
    """
    node = with_weights(program.node, read(path), path)
    lowered = _as_before(lower(node), program.lowered)
    return Program(node, lowered, program.signature, Interpreter(lowered), program.reporter)


def _as_before(lowered: Lowered, before: Lowered) -> Lowered:
    """Under the budget that the program was compiled with: no more bytes than it took."""
    if not before.checkpoints:
        return lowered
    return fitted(lowered, schedule(before).plan.struct_bytes)


def read(path: str | os.PathLike[str]) -> dict[str, AnyArray]:
    """The arrays of a file of safetensors; raises SE910 where it is damaged or absent."""
    library = _library()
    try:
        return dict(library.load(Path(path).read_bytes()))
    except FileNotFoundError:
        raise fail("SE910", f"there is no file {path}", NOWHERE) from None
    except (
        Exception
    ) as error:  # the library raises a class of its own, and KeyError for dtypes that numpy lacks
        why = f"{type(error).__name__}: {error}"
        raise fail("SE910", f"{path} is damaged, or no file of safetensors", NOWHERE, why) from None


def with_weights(
    node: Node, tensors: Mapping[str, AnyArray], path: str | os.PathLike[str] = "the file"
) -> Node:
    """A logical node with other values of its parameters; raises SE910."""
    found = parameters(node)
    faults = [*_names(found, tensors, path)]
    values: dict[Var, AnyArray] = {}
    for name in found.keys() & tensors.keys():
        p = found[name]
        try:
            values[p.var] = saved.fitting(name, tensors[name], p.type, p.loc, allow_nan=False)
        except SeicheError as error:
            why = error.diagnostics[0].what.replace("state `", "parameter `", 1)
            faults.append(Diagnostic("SE910", why, p.loc))
    if faults:
        raise SeicheError(sorted(faults, key=lambda d: (d.where.file, d.where.line)))
    return _replaced(node, values)


def _names(
    found: Mapping[str, Parameter], tensors: Mapping[str, Any], path: str | os.PathLike[str]
) -> Iterator[Diagnostic]:
    """What is in one and not in the other."""
    for name, p in found.items():
        if name in tensors or p.optional:
            continue
        what = f"{path} has no `{name}`, which is {p.type}"
        yield Diagnostic("SE910", what, p.loc, hint=f"it has {', '.join(tensors) or 'nothing'}")
    for name in [n for n in tensors if n not in found]:
        known = ", ".join(found) or "none"
        what = f"{path} has `{name}`, which is no parameter of the program"
        yield Diagnostic("SE910", what, NOWHERE, hint=f"its parameters are {known}")


def _replaced(node: Node, values: Mapping[Var, AnyArray]) -> Node:
    """The node with other literals, in its bodies too."""

    def equation(eq: Equation) -> Equation:
        if isinstance(eq.rhs, Lit) and eq.out in values:
            return Equation(eq.outs, Lit(values[eq.out]))
        if isinstance(eq.rhs, Scan | Frame | Call):
            return Equation(eq.outs, replace(eq.rhs, body=_replaced(eq.rhs.body, values)))
        return eq

    return replace(node, eqs=[equation(eq) for eq in node.eqs])


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        hint = '`pip install "seiche[deploy]"` brings it'
        raise fail("SE904", "weights as files take safetensors", NOWHERE, hint=hint) from None
    return safetensors.numpy
