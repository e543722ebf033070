"""Tracing: where equations go while a node's function runs.

A *graph* is a node under construction. A *region* is the part of a graph on one clock: the graph's own, or a sub-clock
entered with `every` or a mode. Using a stream in a deeper region samples it (`When`) or, across graphs, captures it as an
input; using a stream of a closed frame exports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from seiche.errors import NOWHERE, Diagnostic, Loc, SeicheError, fail
from seiche.ir.builder import Builder
from seiche.ir.clocks import Clock, Clocks, Free, On, find, infer, unify
from seiche.ir.core import (
    Apply,
    Check,
    Equation,
    Fby,
    Given,
    Lit,
    Merge,
    Node,
    OutKind,
    Post,
    Rhs,
    Var,
    When,
    live,
    substitute,
)
from seiche.lang import duties, holders, names, resets
from seiche.lang.names import assigned, here
from seiche.numbers.formats import Type

if TYPE_CHECKING:
    from seiche.lang.duties import Ledger
    from seiche.lang.frames import Draft
    from seiche.lang.stream import Stream

__all__ = ["Context", "Graph", "Pending", "Region", "as_reset", "assigned", "clock", "current", "here", "home_of",
           "instance", "lift", "within"]  # fmt: skip

GraphKind = Literal["node", "function", "scan", "frame"]


@dataclass(eq=False)
class Region:
    """The ticks of one clock within a graph."""

    graph: Graph
    parent: Region | None
    cond: Var | None = None
    on: bool = True
    entered: dict[Var, Var] = field(default_factory=dict["Var", "Var"])
    children: dict[tuple[Var, bool], Region] = field(
        default_factory=dict[tuple["Var", bool], "Region"]
    )
    anchor: Var | None = None

    def clock(self, cond: Var, on: bool = True) -> Region:
        """The sub-region where `cond` (a Var of this region) is `on`."""
        key = (cond, on)
        if key not in self.children:
            self.children[key] = Region(self.graph, self, cond, on)
        return self.children[key]

    def below(self, clock: Clock) -> Region:
        """The region of this graph on that clock, from this one down."""
        region = self
        for cond, on in clock:
            region = region.clock(cond, on)
        return region

    def enter(self, var: Var) -> Var:
        """A Var of the parent region, as seen here."""
        if var not in self.entered:
            self.entered[var] = self._enter(var)
            if var in self.graph.top.spoiled:
                self.graph.top.spoiled.add(self.entered[var])
        return self.entered[var]

    def _enter(self, var: Var) -> Var:
        assert self.parent is not None
        known = self.parent.graph.constants.get(var)
        if self.cond is None:
            return self.graph.capture(var, known)
        if known is not None:
            return var
        return self.graph.sample(var, self.cond, self.on)

    def ancestors(self) -> Iterator[Region]:
        """This region and those around it, innermost first."""
        region: Region | None = self
        while region is not None:
            yield region
            region = region.parent


@dataclass(eq=False)
class Graph(Builder):
    """A node under construction.

    `captured` maps what it reads from around to its inputs, `constants` holds the known values, `pending` what still needs
    an equation, `memories` and `resets` where states (and costates) were made and what else resets them (and frames), `aliases`
    what declared variables stand for, `ledgers` the contracts of its instances, `owed` what a body owes to those around,
    `caller` the line that uses it, `given` (of the outermost) the arrays of the user's by name.
    """

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
        self.memories: list[tuple[Var, Region]] = []
        self.resets: dict[Var, tuple[Var, ...]] = {}
        self.aliases: dict[Var, Var] = {}
        self.ledgers: dict[Use | None, Ledger] = {}
        self.owed: list[Check] = []
        self.caller = NOWHERE if self.kind == "node" else self.where
        self.top: Graph = self.around.graph.top if self.around else self
        self.diagnostics: list[Diagnostic] = self.top.diagnostics if self.around else []
        self.given: dict[str, Given] = {}
        self.spoiled: set[Var] = set()
        self.named: set[Var] = set()
        self._latest: dict[tuple[Loc, str, tuple[str, ...]], tuple[Var, str]] = {}

    def stand(self) -> None:
        """What is built next belongs to the user's line that is running, in the instance that is traced."""
        self.loc, self.scope = here(), current().path

    def new(self, rhs: Rhs, type: Type, name: str) -> Var:
        """A new equation at the user's line. The last one that a value takes bears the name that the line assigns."""
        self.stand()
        var = self.define(rhs, type, name)
        if given := names.whole():
            key = (self.loc, given, self.scope)
            if key in self._latest:
                before, own = self._latest[key]
                before.name = own
                self.named.discard(before)
            self._latest[key] = var, name
            var.name = given
            self.named.add(var)
        return var

    def new_many(
        self, rhs: Rhs, types: tuple[Type, ...], own: tuple[str, ...], hidden: int = 0
    ) -> tuple[Var, ...]:
        """A new equation of several results at the user's line; a single one bears the name that the line assigns.

        The last `hidden` of them are none that the user sees.
        """
        self.stand()
        outs = self.define_many(rhs, types, own)
        if len(outs) == 1 + hidden and (given := names.whole()):
            outs[0].name = given
            self.named.add(outs[0])
        return outs

    def rename(self, var: Var, name: str) -> None:
        """Names a Var of this graph that the user did not name."""
        if var not in self.named and var not in self.inputs:
            var.name = name

    def sample(self, var: Var, cond: Var, on: bool) -> Var:
        """A Var at the ticks where `cond` is `on`, under its own name."""
        self.stand()
        return self.define(When(var, cond, on), var.type, var.name)

    def capture(self, outer: Var, known: Lit | None) -> Var:
        """A Var of the graph around, as an input of this one; a constant is repeated instead."""
        if known is not None:
            self.stand()
            var = self.define(known, outer.type, outer.name)
            var.scope = var.scope if known.origin is None else outer.scope
            self.constants[var] = known
            return var
        var = Var(outer.name, outer.type, outer.loc, outer.scope)
        self.inputs.append(var)
        self.captured[outer] = var
        return var

    def finish(self, outputs: tuple[Var, ...], kind: OutKind = "last") -> Node:
        """The node: everything defined, every state with its resets. Raises what the trace has collected.

        The conditions of the contracts of a body are further results, which leave it as `kind`: those in `owed`.
        """
        for draft in self.frames:
            if (eq := draft.equation()).outs:
                self.eqs.append(eq)
        undefined = [item for item in self.pending if not item.defined]
        self.diagnostics += [item.complaint() for item in undefined]
        if self.diagnostics and (undefined or self.kind in ("node", "function")):
            raise SeicheError(self.diagnostics)
        resets.attach(self)
        duties.attach(self, kind)
        results = (*outputs, *(duty.cond for duty in self.owed))
        node = Node(
            self.name, tuple(self.inputs), results, self.eqs, self.where, tuple(self.checks)
        )
        return self._without_idle(self.resolved(node))

    def so_far(self) -> Node:
        """What has been traced, as a node without results."""
        open_frames = [draft.outline() for draft in self.frames if not draft.finished]
        return self.resolved(Node(self.name, tuple(self.inputs), (), [*self.eqs, *open_frames]))

    def clocks(self) -> Clocks:
        """The clocks of what has been traced so far."""
        return self.clocks_and_loose()[0]

    def clocks_and_loose(self) -> tuple[Clocks, dict[Var, Region]]:
        """The clocks, and the memories that only their region ties to one: they hold and take constants."""
        found = infer(self.so_far())
        loose: dict[Var, Region] = {}
        for var, region in self.memories:
            term = found.terms.get(self.alias(var))
            if region.cond is None or term is None or not isinstance(find(term)[0], Free):
                continue
            cond = self.alias(region.cond)
            if unify(term, On(found.terms[cond], cond, region.on)):
                loose[var] = region
        return found, loose

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

    def _without_idle(self, node: Node) -> Node:
        """Without what tracing made and nothing uses; unused equations that the user named stay, to be reported."""
        mentioned = tuple(v for eq in node.eqs if self._mentioned(eq) for v in eq.outs)
        return replace(node, eqs=live(replace(node, outputs=(*node.outputs, *mentioned))).eqs)

    def _mentioned(self, eq: Equation) -> bool:
        return isinstance(eq.rhs, Apply | Merge | Fby | Post) and not self.named.isdisjoint(eq.outs)


@dataclass(eq=False)
class Pending:
    """A Var that still needs its equation."""

    var: Var
    code: str
    what: str
    hint: str
    defined: Loc | None = None

    def complaint(self) -> Diagnostic:
        return Diagnostic(
            self.code, f"{self.what} `{self.var.name}` has no equation", self.var.loc, (), self.hint
        )

    def define(self, place: Loc) -> None:
        """Notes that the equation exists; raises SE103 the second time."""
        if self.defined is not None:
            raise fail(
                "SE103", f"{self.what} `{self.var.name}` is defined twice", place,
                ("the first definition", self.defined), ("it was made here", self.var.loc),
                hint="one equation per variable: choose between values with `sc.where`, `sc.merge` or modes",
            )  # fmt: skip
        self.defined = place


@dataclass(frozen=True, eq=False)
class Use:
    """An instance: the line that uses it, what opens its memory again, and the instance (of the same graph) around it."""

    caller: Loc
    resets: tuple[Var, ...]
    outer: Use | None


@dataclass(frozen=True, eq=False)
class Context:
    """Where tracing stands: the region, the path of instances, and the resets that new memories take (each on a clock of
    its own). `around` is where the frame stands whose body is traced; `pace` is the clock of an instance whose arguments
    are slower than the region: that of its memories which nothing else ties to a clock.
    """

    region: Region
    path: tuple[str, ...] = ()
    resets: tuple[Var, ...] = ()
    around: Context | None = None
    pace: Region | None = None
    use: Use | None = None

    @property
    def clock(self) -> Region:
        """The region whose ticks are those of the instance that is traced."""
        return self.pace or self.region

    def of(self, graph: Graph) -> Context:
        """This context, or that around a frame, within a graph."""
        context = self
        while context.region.graph is not graph and context.around is not None:
            context = context.around
        return context


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
def instance(
    name: str, reset: Stream | None = None, arguments: tuple[Stream, ...] = ()
) -> Iterator[None]:
    """One use of a node: a step down the path, at the pace of its arguments, with a reset of its own if given."""
    context = current()
    home = home_of(arguments, context.region)
    inner = replace(
        context, path=(*context.path, name), pace=context.pace if home is context.region else home
    )
    if reset is not None:
        inner = replace(inner, resets=(*context.resets, as_reset(reset)))
    with within(replace(inner, use=Use(here(), inner.resets, context.use))), holders.entered(name):
        yield


@contextmanager
def clock(cond: Stream, on: bool = True) -> Iterator[Region]:
    """Traces on the sub-clock where `cond` is `on`."""
    context = current()
    region = context.region.clock(lift(cond, context.region), on)
    with within(replace(context, region=region, pace=None)):
        yield region


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


def as_reset(stream: Stream) -> Var:
    """The Var of a reset in the graph here, on whatever clock it is: it is latched once all clocks are known."""
    return lift(stream, current().region.graph.root)


def _leave(stream: Stream, var: Var, home: Region) -> tuple[Var, Region]:
    """Out of a closed graph: only frames let their streams out."""
    graph = home.graph
    draft = next(
        (d for d in (graph.around.graph.frames if graph.around else ()) if d.graph is graph), None
    )
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
