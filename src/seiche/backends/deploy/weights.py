"""Weights as files of safetensors: the arrays that a program is made with, by name, out to a file and in from one.

A parameter is an array of the user's, or the number that a state starts from. What a state starts from goes by the state's name, another
array by the variable that holds it (`lang.holders`); it is one parameter however often the program uses it, and whatever is computed from
it before the first tick follows it. Loading puts other values in their places and compiles again. Nothing changes where a file does not fit.

A number that a reset sets back to (a count of an episode's ticks) is no parameter: it belongs to a run, and a reset must go on to give it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seiche.backends import saved
from seiche.backends.files import whole
from seiche.backends.program import Program
from seiche.errors import NOWHERE, Diagnostic, Loc, SeicheError, fail
from seiche.ir import core
from seiche.ir.core import Call, Equation, Fby, Frame, Lit, Node, Origin, Scan, Var, walk
from seiche.ir.op import AnyArray
from seiche.numbers.formats import Type
from seiche.schedule.lower import free_name, states_of


@dataclass(frozen=True)
class Parameter:
    """A value that a program is made with: that a state starts from, or that was given by that name.

    A number, or an array that repeats a single number (a fresh bias, a filter's empty memory), may be missing in a file.
    """

    name: str
    value: AnyArray
    type: Type
    loc: Loc
    source: Var | str
    """The state, or the name by which literals know their array."""

    @property
    def optional(self) -> bool:
        return _uniform(self.value)


def _uniform(x: AnyArray) -> bool:
    return bool((x == x.reshape(-1)[0]).all())


def parameters(node: Node) -> dict[str, Parameter]:
    """The parameters of a logical node by name, in the order of the program.

    >>> import numpy as np, seiche as sc
    >>> table = np.arange(2.0)
    >>> @sc.node
    ... def line(x: sc.f32[2]) -> sc.f32:
    ...     w = sc.state(np.ones(2))
    ...     w.next = w + table
    ...     return w @ x
    >>> sorted(parameters(line.trace().node))
    ['table', 'w']
    """
    names: dict[Var | str, str] = {eq.out: n for n, eq in states_of(core.live(node)).items()}
    found: dict[str, Parameter] = {}
    sources = set[Var | str]()
    for eq, state in _literals(node):
        for stem, value, type, loc, source in _named(eq, state):
            if source in sources:
                continue
            name = names.get(source) or free_name(stem, {*found, *names.values()})
            sources.add(source)
            found[name] = Parameter(name, value, type, loc, source)
    return found


def _named(eq: Equation, state: Var | None) -> Iterator[tuple[str, AnyArray, Type, Loc, Var | str]]:
    """What a literal makes a parameter: what a state starts from, or those of the user's that it was computed from."""
    assert isinstance(eq.rhs, Lit)
    if state is not None:
        yield "/".join((*state.scope, state.name)), eq.rhs.value, state.type, state.loc, state
    elif eq.rhs.origin is not None:
        for g in eq.rhs.origin.given:
            yield g.name, g.value, g.type, g.loc, g.name


def _literals(node: Node) -> Iterator[tuple[Equation, Var | None]]:
    """The literals that are arrays, in the node and its bodies, and the numbers of its states; each with the state that starts from it."""
    for one in walk(node):
        starts = {e.rhs.init: e.out for e in reversed(one.eqs) if isinstance(e.rhs, Fby)}
        numbers = _numbers(one) if one is node else set[Var]()
        for eq in one.eqs:
            if isinstance(eq.rhs, Lit) and (eq.out.type.shape or eq.out in numbers):
                yield eq, starts.get(eq.out)


def _numbers(node: Node) -> set[Var]:
    """The numbers that a `state` starts from, once: they have its name. (What `fby` or `pre` remember belongs to a run.)"""
    memories = ((eq.out, eq.rhs) for eq in node.eqs if isinstance(eq.rhs, Fby))
    return {
        memory.init
        for out, memory in memories
        if memory.init is not None and memory.reset is None
        and not out.type.shape and memory.init.name == out.name
    }  # fmt: skip


def save_weights(program: Program, path: str | os.PathLike[str]) -> None:
    """Writes a program's parameters to a file of safetensors: what states hold now, and constants. The whole file or nothing.

    Arrays are in the carriers of their formats; the metadata names program and formats. An optimiser's states are states too, so that a
    learner goes on from the file. What belongs to a run alone is not in it: frames that have begun, numbers that a reset sets back, what
    `fby` and `pre` remember; `program.state.save` writes all of that, for the same program. Raises SE904 without the extra `deploy`,
    SE914 where the file cannot be written.
    """
    found = parameters(program.node)
    now = dict(program.state)
    tensors = {n: _current(p, now) for n, p in found.items()}
    about = {"program": program.node.name, **{n: str(p.type) for n, p in found.items()}}
    data = _library().save(tensors, metadata=about)
    with whole(path) as place:
        place.write_bytes(data)


def _current(p: Parameter, states: Mapping[str, AnyArray]) -> AnyArray:
    """The value of a parameter: of the state that began as it, where that can be read."""
    found = None if isinstance(p.source, str) else states.get(p.name)
    usable = found is not None and found.shape == p.value.shape
    return np.array(found if usable else p.value, order="C")


def load_weights(
    program: Program, path: str | os.PathLike[str], allow_nan: bool = False
) -> Program:
    """The program with the parameters of a file, compiled as it was (target, budget, deadline, monitors), before its first tick.

    Raises SE910, naming all that does not fit: names that are missing or unknown, other shapes, dtypes or formats. As in saved states,
    infinities are values like others, and NaN is refused unless `allow_nan`.
    """
    return program.remade(with_weights(program.node, read(path), path, allow_nan))


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
    node: Node,
    tensors: Mapping[str, AnyArray],
    path: str | os.PathLike[str] = "the file",
    allow_nan: bool = False,
) -> Node:
    """A logical node with other values of its parameters; raises SE910."""
    found = parameters(node)
    faults = [*_names(found, tensors, path)]
    values: dict[Var | str, AnyArray] = {}
    for name in found.keys() & tensors.keys():
        p = found[name]
        try:
            values[p.source] = saved.fitting(name, tensors[name], p.type, p.loc, allow_nan)
        except SeicheError as error:
            wrong = error.diagnostics[0]
            what = wrong.what.replace("state `", "parameter `", 1)
            hint = wrong.hint.replace("load(", "load_weights(")
            faults.append(Diagnostic("SE910", what, p.loc, hint=hint))
    if faults:
        raise SeicheError(sorted(faults, key=lambda d: (d.where.file, d.where.line)))
    everything = {p.source: p.value for p in found.values()} | values
    return _replaced(node, everything)


def _names(
    found: Mapping[str, Parameter], tensors: Mapping[str, Any], path: str | os.PathLike[str]
) -> Iterator[Diagnostic]:
    """What is in one and not in the other."""
    file = os.path.basename(path)
    for name, p in found.items():
        if name in tensors or p.optional:
            continue
        what = f"{file} has no `{name}`, which is {p.type}"
        yield Diagnostic("SE910", what, p.loc, hint=f"it has {', '.join(tensors) or 'nothing'}")
    for name in [n for n in tensors if n not in found]:
        known = ", ".join(found) or "none"
        what = f"{file} has `{name}`, which is no parameter of the program"
        yield Diagnostic("SE910", what, NOWHERE, hint=f"its parameters are {known}")


def _replaced(node: Node, values: Mapping[Var | str, AnyArray]) -> Node:
    """The node with the literals of other parameters, in its bodies too."""
    starts = {e.rhs.init: e.out for e in reversed(node.eqs) if isinstance(e.rhs, Fby)}
    given = {name: value for name, value in values.items() if isinstance(name, str)}

    def equation(eq: Equation) -> Equation:
        match eq.rhs:
            case Lit() if (state := starts.get(eq.out)) in values and state is not None:
                return Equation(eq.outs, Lit(values[state]))
            case Lit(origin=Origin() as origin):
                return Equation(eq.outs, Lit(origin.again(given), _after(origin, given)))
            case Scan() | Frame() | Call():
                return Equation(eq.outs, replace(eq.rhs, body=_replaced(eq.rhs.body, values)))
            case _:
                return eq

    return replace(node, eqs=[equation(eq) for eq in node.eqs])


def _after(origin: Origin, values: Mapping[str, AnyArray]) -> Origin:
    """The origin of a literal whose arrays have these values."""
    return Origin(tuple(replace(g, value=values[g.name]) for g in origin.given), origin.again)


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        hint = '`pip install "seiche[deploy]"` brings it'
        raise fail("SE904", "weights as files take safetensors", NOWHERE, hint=hint) from None
    return safetensors.numpy
