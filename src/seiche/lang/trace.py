"""Tracing: where equations go while a node's function runs.

A *graph* is a node under construction. A *region* is the part of a graph on one clock: the graph's own, or a sub-clock
entered with `every` or a mode. Using a stream in a deeper region samples it (`When`) or, across graphs, captures it as an
input; using a stream of a closed frame exports it.
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from seiche import errors
from seiche.errors import Diagnostic, Loc, SeicheError, fail
from seiche.ir.builder import Builder
from seiche.ir.clocks import infer
from seiche.ir.core import (
    Apply,
    Equation,
    Fby,
    Frame,
    Lit,
    Merge,
    Node,
    OutKind,
    Post,
    Var,
    When,
    operands,
    substitute,
)
from seiche.ir.op import SignatureError

if TYPE_CHECKING:
    from seiche.lang.stream import Stream

_PACKAGE = os.path.dirname(os.path.abspath(errors.__file__))

RegionKind = Literal["graph", "clock"]
GraphKind = Literal["node", "function", "scan", "frame"]


@dataclass(eq=False)
class Region:
    """The ticks of one clock within a graph."""

    graph: Graph
    parent: Region | None
    cond: Var | None = None
    on: bool = True
    entered: dict[Var, Var] = field(default_factory=dict["Var", "Var"])
    children: dict[tuple[Var, bool], Region] = field(default_factory=dict[tuple["Var", bool], "Region"])
    resets: dict[Var, Var] = field(default_factory=dict["Var", "Var"])

    def clock(self, cond: Var, on: bool = True) -> Region:
        """The sub-region where `cond` (a Var of this region) is `on`."""
        key = (cond, on)
        if key not in self.children:
            self.children[key] = Region(self.graph, self, cond, on)
        return self.children[key]

    def enter(self, var: Var) -> Var:
        """A Var of the parent region, as seen here."""
        if var not in self.entered:
            self.entered[var] = self._enter(var)
        return self.entered[var]

    def _enter(self, var: Var) -> Var:
        assert self.parent is not None
        known = self.parent.graph.constants.get(var)
        if self.cond is None:
            return self.graph.capture(var, known)
        if known is not None:
            return var
        return self.graph.add(When(var, self.cond, self.on), var, var.name)

    def enter_reset(self, reset: Var) -> Var:
        """A reset of the parent region, as seen here: none of its ticks is lost."""
        if self.cond is None:
            return self.enter(reset)
        if reset not in self.resets:
            self.resets[reset] = latch(self.graph, reset, self.cond, self.on)
        return self.resets[reset]

    def ancestors(self) -> Iterator[Region]:
        """This region and those around it, innermost first."""
        region: Region | None = self
        while region is not None:
            yield region
            region = region.parent


@dataclass(eq=False)
class Graph(Builder):
    """A node under construction."""

    name: str
    kind: GraphKind
    around: Region | None
    where: Loc

    def __post_init__(self) -> None:
        super().__init__()
        self.root = Region(self, self.around)
        self.inputs: list[Var] = []
        self.captured: dict[Var, Var] = {}
        self.constants: dict[Var, Lit] = {}
        self.pending: list[Pending] = []
        self.frames: list[Draft] = []
        self.top: Graph = self.around.graph.top if self.around else self
        self.diagnostics: list[Diagnostic] = self.top.diagnostics if self.around else []
        self.spoiled: set[Var] = set()
        self.aliases: dict[Var, Var] = {}
        self.resets: dict[Var, Var] = {}
        self.closed = False

    def add(self, rhs: When | Fby | Post | Merge | Lit | Apply, like: Var, name: str) -> Var:
        """A new equation for a Var of the type of `like`, at the user's line."""
        self.loc, self.scope = here(), current().path
        return self.define(rhs, like.type, name)

    def input(self, name: str, like: Var) -> Var:
        """A new input."""
        var = Var(name, like.type, here(), current().path)
        self.inputs.append(var)
        return var

    def capture(self, outer: Var, known: Lit | None) -> Var:
        """A Var of the graph around, as an input of this one; a constant is repeated instead."""
        if known is not None:
            var = self.add(known, outer, outer.name)
            self.constants[var] = known
            return var
        var = Var(outer.name, outer.type, outer.loc, outer.scope)
        self.inputs.append(var)
        self.captured[outer] = var
        return var

    def finish(self, outputs: tuple[Var, ...]) -> Node:
        """The node: everything defined, names taken from the user's assignments."""
        self.closed = True
        for draft in self.frames:
            self.eqs.append(draft.equation())
        for item in self.pending:
            if not item.defined:
                self.diagnostics.append(item.complaint())
        if self.diagnostics and (self.around is None or any(not p.defined for p in self.pending)):
            raise SeicheError(self.diagnostics)
        _name_by_assignment(self.eqs)
        self._attach_resets()
        node = Node(self.name, tuple(self.inputs), outputs, self.eqs, self.where, tuple(self.checks))
        return without_idle(self.resolved(node))

    def _attach_resets(self) -> None:
        """Gives each state its reset, latched down to the state's clock where that is slower."""
        if not self.resets:
            return
        clocks = infer(self.resolved(Node(self.name, tuple(self.inputs), (), list(self.eqs))))
        latched: dict[tuple[Var, Var, bool], Var] = {}
        for i, eq in enumerate(list(self.eqs)):
            reset = self.resets.get(eq.outs[0]) if eq.outs else None
            if reset is None:
                continue
            fast, slow = clocks[self.alias(reset)], clocks[eq.out]
            for cond, on in slow[len(fast) :] if slow[: len(fast)] == fast else ():
                key = (reset, cond, on)
                latched[key] = latched.get(key) or latch(self, reset, cond, on)
                reset = latched[key]
            assert isinstance(eq.rhs, Fby | Post)
            self.eqs[i] = Equation(eq.outs, replace(eq.rhs, reset=reset))

    def alias(self, var: Var) -> Var:
        """What a declared variable stands for; any other Var itself."""
        seen: set[Var] = set()
        while var in self.aliases:
            if var in seen:
                raise fail("SE401", f"`{var.name}` is defined as itself", var.loc)
            seen.add(var)
            var = self.aliases[var]
        return var

    def resolved(self, node: Node) -> Node:
        """With every declared variable replaced by what defines it."""
        if not self.aliases:
            return node
        eqs = [Equation(eq.outs, substitute(eq.rhs, self.alias)) for eq in node.eqs]
        checks = tuple(replace(check, cond=self.alias(check.cond)) for check in node.checks)
        return replace(node, eqs=eqs, outputs=tuple(map(self.alias, node.outputs)), checks=checks)


@dataclass(eq=False)
class Pending:
    """A Var that still needs its equation."""

    var: Var
    code: str
    what: str
    hint: str
    defined: Loc | None = None

    def complaint(self) -> Diagnostic:
        return Diagnostic(self.code, f"{self.what} `{self.var.name}` has no equation", self.var.loc, (), self.hint)

    def define(self, place: Loc) -> None:
        """Notes that the equation exists; raises SE103 the second time."""
        if self.defined is not None:
            raise fail(
                "SE103", f"{self.what} `{self.var.name}` is defined twice", place,
                ("the first definition", self.defined), ("it was made here", self.var.loc),
                hint="one equation per variable: choose between values with `sc.where`, `sc.merge` or modes",
            )  # fmt: skip
        self.defined = place


@dataclass(eq=False)
class Draft:
    """A frame whose body is traced, and whose results are still being asked for."""

    graph: Graph
    extent: int
    until: Var
    reset: Var | None
    exports: dict[tuple[Var, OutKind], Var] = field(default_factory=dict[tuple["Var", "OutKind"], "Var"])

    def export(self, var: Var, kind: OutKind) -> Var:
        """A Var of the body, as a result in the graph around."""
        key = (var, kind)
        if key not in self.exports:
            shape = (self.extent, *var.type.shape) if kind == "stack" else var.type.shape
            self.exports[key] = Var(var.name, var.type.format[shape], var.loc, var.scope)
        return self.exports[key]

    def equation(self) -> Equation:
        """The Frame; which arguments are collected at each tick is decided by their clocks."""
        from seiche.lang.frames import mapped_arguments

        body = self.graph.finish(tuple(var for var, _ in self.exports))
        args = tuple(self.graph.captured)
        assert self.graph.around is not None
        mapped = mapped_arguments(self, args, self.graph.around.graph)
        kinds = tuple(kind for _, kind in self.exports)
        rhs = Frame(body, args, mapped, kinds, self.extent, self.until, self.reset)
        return Equation(tuple(self.exports.values()), rhs)


@dataclass(frozen=True, eq=False)
class Context:
    """Where tracing stands: the region, the path of instances, and the reset that new states take."""

    region: Region
    path: tuple[str, ...] = ()
    reset: Stream | None = None


_context: ContextVar[Context | None] = ContextVar("seiche_context", default=None)


def tracing() -> bool:
    """Whether a node is being traced."""
    return _context.get() is not None


def current() -> Context:
    """The context; SE108 outside of a trace."""
    context = _context.get()
    if context is None:
        raise fail(
            "SE108", "an operation on streams outside of a node", here(),
            hint="call it inside a function decorated with @sc.node, and run that with sc.compile(...)",
        )  # fmt: skip
    return context


@contextmanager
def within(context: Context) -> Iterator[Context]:
    """Traces in another context meanwhile."""
    token = _context.set(context)
    try:
        yield context
    finally:
        _context.reset(token)


@contextmanager
def instance(name: str, reset: Stream | None = None) -> Iterator[None]:
    """One use of a node: a step down the path, with a reset of its own if given."""
    context = current()
    if reset is not None:
        around = ambient()
        reset = reset if around is None else around | reset
    inner = replace(context, path=(*context.path, name), reset=reset if reset is not None else context.reset)
    with within(inner):
        yield


@contextmanager
def clock(cond: Stream, on: bool = True) -> Iterator[Region]:
    """Traces on the sub-clock where `cond` is `on`."""
    context = current()
    region = context.region.clock(lift(cond, context.region), on)
    with within(replace(context, region=region)):
        yield region


def ambient() -> Stream | None:
    """The reset around, as the current region sees it."""
    from seiche.lang.stream import Stream

    context = current()
    if context.reset is None:
        return None
    var, path = context.reset.var, list(context.region.ancestors())
    for region in reversed(path[: path.index(context.reset.region)]):
        var = region.enter_reset(var)
    return Stream(var, context.region)


def latch(graph: Graph, reset: Var, cond: Var, on: bool) -> Var:
    """A reset kept until the next tick of the sub-clock where `cond` is `on`, seen there."""
    graph.loc, graph.scope = reset.loc, reset.scope
    waiting = Var("waiting", reset.type, reset.loc, reset.scope)
    seen = graph.apply("logical_or", reset, waiting)
    absent = graph.apply("logical_not", cond) if on else cond
    keep = graph.apply("logical_and", seen, absent)
    never = graph.lit(False, reset.type, "never")
    graph.eqs.append(Equation((waiting,), Fby(never, keep)))
    return graph.define(When(seen, cond, on), reset.type, reset.name)


def without_idle(node: Node) -> Node:
    """The node without what tracing made and nothing uses; unused equations that the user named stay, to be reported."""
    while True:
        used = {v for eq in node.eqs for v in operands(eq.rhs)} | set(node.outputs)
        used |= {check.cond for check in node.checks}
        eqs = [eq for eq in node.eqs if not used.isdisjoint(eq.outs) or _named(eq)]
        if len(eqs) == len(node.eqs):
            return node
        node = replace(node, eqs=eqs)


def _named(eq: Equation) -> bool:
    return not isinstance(eq.rhs, Lit) and any(v.name == assigned(v.loc, "") for v in eq.outs)


def lift(stream: Stream, target: Region) -> Var:
    """The Var of a stream as seen in `target`."""
    around = list(target.ancestors())
    home = stream.region
    var = stream.var
    while home not in around:
        if home.cond is None:
            var, home = _leave(stream, var, home)
        else:
            assert home.parent is not None
            home = home.parent
    for region in reversed(around[: around.index(home)]):
        var = region.enter(var)
    return var


def _leave(stream: Stream, var: Var, home: Region) -> tuple[Var, Region]:
    """Out of a closed graph: only frames let their streams out."""
    graph = home.graph
    draft = next((d for d in (graph.around.graph.frames if graph.around else ()) if d.graph is graph), None)
    if draft is None or graph.around is None:
        raise fail(
            "SE108", f"`{var.name}` is used outside of the {_KINDS[graph.kind]} that made it", here(),
            (f"it was made in {graph.name}", var.loc),
            hint="return it from that function, or pass it as an argument",
        )  # fmt: skip
    if stream.region is not home:
        raise fail(
            "SE603", f"`{var.name}` is on a sub-clock inside the frame and cannot leave it as a stream", here(),
            ("it was made here", var.loc), hint="hold or merge it inside the frame, or take fr.last(...)",
        )  # fmt: skip
    return draft.export(var, "stream"), graph.around


_KINDS = {"node": "node", "function": "function", "scan": "scanned node", "frame": "frame"}


def home_of(streams: tuple[Stream, ...], target: Region) -> Region:
    """The region of a result in `target`: its own, or the sub-clock of an operand from a block that closed there."""
    for stream in streams:
        region = stream.region
        if region is not target and target in region.ancestors() and region.graph is target.graph:
            return region
    return target


def report(diagnostic: Diagnostic) -> None:
    """Keeps an error until the end of the trace."""
    current().region.graph.diagnostics.append(diagnostic)


def typed(op: str, error: SignatureError, operands: tuple[Stream, ...]) -> Diagnostic:
    """The diagnostic of an op that does not apply."""
    why = [(str(error), None)] + [(f"`{s.var.name}` is {s.var.type}", s.var.loc) for s in operands]
    return Diagnostic("SE201", f"`{op}` does not apply to these types", here(), tuple(why))


def here() -> Loc:
    """The innermost line outside of this package."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and _internal(frame.f_code.co_filename):
        frame = frame.f_back
    return Loc(frame.f_code.co_filename, frame.f_lineno)


@functools.cache
def _internal(file: str) -> bool:
    return (
        (os.path.abspath(file).startswith(_PACKAGE + os.sep) and not file.startswith("<doctest"))
        or file.startswith("<frozen")
        or os.path.basename(file) in ("contextlib.py", "functools.py")
    )


@functools.cache
def assignments(file: str) -> dict[int, str]:
    """The name assigned at each line of a file: of `x = ...` and `x.next = ...`."""
    names: dict[int, str] = {}
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return names
    for stmt in ast.walk(tree):
        match stmt:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr=attr)]):
                name = f"{owner}_{attr}"
            case _:
                continue
        assert isinstance(stmt, ast.Assign | ast.AnnAssign)
        for line in range(stmt.lineno, (stmt.end_lineno or stmt.lineno) + 1):
            names.setdefault(line, name)
    return names


def assigned(place: Loc, default: str) -> str:
    """The name that the user's line assigns, or the default."""
    return assignments(place.file).get(place.line, default)


def _name_by_assignment(eqs: list[Equation]) -> None:
    """The last equation of a line bears the name that the line assigns."""
    last: dict[tuple[Loc, tuple[str, ...]], Var] = {}
    for eq in eqs:
        if len(eq.outs) == 1 and isinstance(eq.rhs, Apply | Merge):
            last[eq.out.loc, eq.out.scope] = eq.out
    for (loc, _), var in last.items():
        if isinstance(name := assigned(loc, ""), str) and name:
            var.name = name
