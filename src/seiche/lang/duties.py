"""The duties of a graph's contracts, written as checks when all its clocks are known.

    guarantee g of an instance:     so far all its assumptions  =>  g
    assumption a of an instance:    so far all assumptions of the instance that uses it  =>  a

"So far" is at all ticks up to this one, since the instance opened: a state at the base of the graph, reset with the instance.
The conditions may be on any clocks; where one is absent, it holds. A body over rows or ticks is an instance of its own, used by
the line that it stands in; a function without memory (that is folded, or differentiated) starts afresh at each tick.

Source: Champion, Gurfinkel, Kahsai & Tinelli 2016, "CoCoSpec: a mode-aware contract language for reactive systems".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING

from seiche.errors import NOWHERE, Loc
from seiche.ir.clocks import Clocks
from seiche.ir.core import (
    Apply,
    Check,
    Contract,
    Equation,
    Fby,
    Frame,
    OutKind,
    Post,
    Role,
    Scope,
    Var,
    When,
)
from seiche.numbers.formats import Type, bool_

if TYPE_CHECKING:
    from seiche.lang.trace import Graph, Use

BOOL = Type(bool_)
CODES: dict[Role, str] = {"assumption": "SE803", "guarantee": "SE804"}


@dataclass(frozen=True, eq=False)
class Claim:
    """A condition that an instance states (at `path`, which may end in its mode), in words and by its line."""

    cond: Var
    text: str
    loc: Loc
    path: Scope


@dataclass(eq=False)
class Ledger:
    """The contract of one instance (None: of the graph itself), and what the bodies that it runs owe."""

    use: Use | None
    assumption: list[Claim] = field(default_factory=list["Claim"])
    guarantee: list[Claim] = field(default_factory=list["Claim"])
    bodies: list[Check] = field(default_factory=list["Check"])


def attach(graph: Graph, kind: OutKind) -> None:
    """Writes the duties of a graph's contracts as checks; those of a body as conditions that are to leave it as `kind`."""
    if graph.ledgers:
        _Writing(graph, kind).run()


def leave(around: Graph, use: Use | None, duty: Check, out: Var | None = None) -> Var:
    """What a duty of a body becomes in the graph around, where an instance (None: that graph) runs the body."""
    cond = out or Var(duty.cond.name, BOOL, duty.loc, duty.cond.scope)
    ledger = around.ledgers.setdefault(use, Ledger(use))
    ledger.bodies.append(replace(duty, cond=cond))
    return cond


class _Writing:
    def __init__(self, graph: Graph, kind: OutKind) -> None:
        self.graph, self.kind = graph, kind
        self.clocks: Clocks = graph.clocks()
        self.defs = {out: eq for eq in graph.eqs for out in eq.outs}
        self.made: dict[Use | None, Var] = {}
        memory = any(isinstance(eq.rhs, Fby | Post | Frame) for eq in graph.eqs)
        self.lasting = graph.kind != "function" or memory

    def run(self) -> None:
        for ledger in self.graph.ledgers.values():
            outer = None if ledger.use is None else ledger.use.outer
            around = None if ledger.use is None else self.assuming(outer)
            self.duties(ledger, "assumption", around)
            self.duties(ledger, "guarantee", ledger)
            for duty in ledger.bodies:
                assumed = duty.contract is not None and duty.contract.role == "assumption"
                self.write(duty, self.assuming(ledger.use) if assumed else None)

    def assuming(self, use: Use | None) -> Ledger | None:
        """The contract of an instance, or of the closest one around it, that assumes something."""
        while use is not None and not self._assumes(use):
            use = use.outer
        return self.graph.ledgers.get(use)

    def _assumes(self, use: Use) -> bool:
        return use in self.graph.ledgers and bool(self.graph.ledgers[use].assumption)

    def duties(self, ledger: Ledger, role: Role, under: Ledger | None) -> None:
        """One check per claim."""
        caller = self.graph.caller if ledger.use is None else ledger.use.caller
        place = caller if role == "assumption" else NOWHERE
        claims: list[Claim] = getattr(ledger, role)
        for claim in claims:
            cond = self.graph.alias(claim.cond)
            contract = Contract(role, claim.path, place, tuple(self.about(cond)))
            self.write(Check(cond, CODES[role], claim.text, claim.loc, contract), under)

    def write(self, duty: Check, under: Ledger | None) -> None:
        """A duty that is owed while the assumptions of `under` have held."""
        if under is not None and under.assumption:
            duty = replace(duty, cond=self.implied(self.so_far(under), duty.cond, duty.loc))
        if self.graph.kind in ("node", "function"):
            self.graph.checks.append(duty)
        else:
            self.graph.owed.append(replace(duty, cond=self.leaving(duty.cond)))

    def leaving(self, cond: Var) -> Var:
        """A condition at every row of a body; that it has held at all rows so far, where only the last row leaves."""
        self.graph.loc, self.graph.scope = cond.loc, cond.scope
        holds = self.raised(cond, absent=True)
        return self.held(holds, None, "held") if self.kind == "last" else holds

    def held(self, holds: Var, reset: Var | None, name: str) -> Var:
        """Whether a condition of the base clock has held at all ticks up to this one since the reset."""
        graph = self.graph
        now = Var(name, BOOL, graph.loc, graph.scope)
        before = graph.fby(graph.lit(True, BOOL), now, reset, name)
        graph.eqs.append(Equation((now,), Apply("logical_and", (before, holds))))
        return now

    def about(self, cond: Var) -> Iterator[str]:
        """The names of the streams that a condition is made of: the closest that the user named, states and inputs."""
        seen, todo = {cond}, [*self.read(cond)]
        while todo:
            var = todo.pop(0)
            if var in seen or var in self.graph.constants:
                continue
            seen.add(var)
            inner = () if var in self.graph.named else self.read(var)
            if inner:
                todo[:0] = inner
            else:
                yield var.name

    def read(self, var: Var) -> tuple[Var, ...]:
        """What a value is computed of at its own tick."""
        match self.defs.get(var):
            case Equation(rhs=Apply(args=args)):
                return tuple(map(self.graph.alias, args))
            case Equation(rhs=When(arg=arg)):
                return (self.graph.alias(arg),)
            case _:
                return ()

    def implied(self, premise: Var, cond: Var, place: Loc) -> Var:
        """`premise` (on the base clock) implies `cond`, at the ticks of `cond`."""
        graph = self.graph
        graph.loc, graph.scope = place, cond.scope
        for key, on in self.clocks[cond]:
            premise = graph.define(When(premise, key, on), BOOL, premise.name)
        implied = graph.logical_or(graph.logical_not(premise), cond)
        self.clocks.terms[implied] = self.clocks.terms[cond]
        return implied

    def so_far(self, ledger: Ledger) -> Var:
        """Whether all assumptions of an instance have held at all ticks up to this one, since it opened."""
        if ledger.use not in self.made:
            self.made[ledger.use] = self._so_far(ledger)
        return self.made[ledger.use]

    def _so_far(self, ledger: Ledger) -> Var:
        graph, first = self.graph, ledger.assumption[0]
        graph.loc, graph.scope = first.loc, first.path
        resets = () if ledger.use is None else ledger.use.resets
        opens = [self.raised(graph.alias(reset), absent=False) for reset in resets]
        holds = [self.raised(graph.alias(claim.cond), absent=True) for claim in ledger.assumption]
        reset = reduce(graph.logical_or, opens) if opens else None
        met = reduce(graph.logical_and, holds)
        return self.held(met, reset, "assumptions_met") if self.lasting else met

    def raised(self, cond: Var, absent: bool) -> Var:
        """A condition at every tick of the base clock; `absent` where it is not there."""
        graph = self.graph
        for key, on in reversed(self.clocks[cond]):
            other = graph.lit(absent, BOOL)
            cond = graph.merge(key, *((cond, other) if on else (other, cond)))
        return cond
