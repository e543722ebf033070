"""What of a sweep must run row by row, and what can be done for all rows at once (loop distribution).

    before   heavy ops of streams and constants alone, with what they need: the products of the inputs of a recurrent cell
    loop     the recurrences, and whatever feeds them
    late     heavy ops that no recurrence waits for, with what depends on them: read-outs
    sums     states that only add up a term, s' = s + t: the sum over the rows; of products, one product (gradients of weights)

What leaves after the loop must be stored for all rows, and has to be worth these bytes. Only equations on the base clock whose
op has a rule in `rowwise` leave the loop. Sums of small formats stay: each is rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from seiche.backends.xla import rowwise
from seiche.backends.xla.ticks import Equations
from seiche.ir.core import Apply, Equation, Fby, Post, Var, operands
from seiche.ir.op import OPS
from seiche.schedule.sweeps import conditions_of

HEAVY_PER_ELEMENT = 8
"""Operations per element of the result from which an op is worth an array of all its rows."""

WORTH_PER_ELEMENT = 32
"""Operations per element that would be stored for it from which an op leaves the loop for afterwards."""

VIEWS = ("reshape", "transpose")
SPREADS = (*VIEWS, "pad", "add", "concat")
"""What may be made again from less than it holds."""


@dataclass(frozen=True)
class Sum:
    """`total` after the last row is `init` and the terms of all rows; `product`: the term is this product, not computed by rows."""

    total: Var
    init: Var | None
    term: Var
    product: Equation | None

    @property
    def reads(self) -> tuple[Var, ...]:
        return (self.term,) if self.product is None else operands(self.product.rhs)


@dataclass(frozen=True)
class Split:
    before: tuple[Equation, ...]
    loop: tuple[Equation, ...]
    late: tuple[Equation, ...]
    sums: tuple[Sum, ...]

    @property
    def demanded(self) -> set[Var]:
        """What the late parts read, and do not make."""
        made = {eq.out for eq in self.late}
        read = {v for eq in self.late for v in operands(eq.rhs)} | {
            v for s in self.sums for v in s.reads
        }
        return read - made


class Splitter:
    """Splits the equations of one sweep. `streams` and `fixed` are what is there before it; `makes` and `results` what it owes."""

    def __init__(
        self,
        equations: Equations,
        eqs: Sequence[Equation],
        streams: Collection[Var],
        fixed: Collection[Var],
        makes: Collection[Var],
        results: Collection[Var],
    ) -> None:
        self.equations, self.eqs, self.fixed = equations, eqs, set(fixed)
        self.makes, self.results = set(makes), set(results)
        self.there = set(streams)
        self.defs = {out: eq for eq in eqs for out in eq.outs}
        self.readers: dict[Var, list[Equation]] = {}
        for eq in equations.node.eqs:
            for var in {*operands(eq.rhs), *conditions_of(eq, equations.clocks)}:
                self.readers.setdefault(var, []).append(eq)

    def run(self) -> Split:
        sums = self._sums()
        gone = {self.defs[s.total] for s in sums} | {s.product for s in sums if s.product}
        gone |= {
            eq
            for eq in self.eqs
            for s in sums
            if isinstance(eq.rhs, Fby | Post) and eq.rhs.arg is s.total
        }
        rest = [eq for eq in self.eqs if eq not in gone]
        before = self._before(rest)
        rest = [eq for eq in rest if eq not in set(before)]
        late = self._late(rest, {v for s in sums for v in s.reads})
        loop = tuple(eq for eq in rest if eq not in set(late))
        again = self._spread_again(loop, self._again(loop, late, sums), late, sums)
        return Split(before, loop, (*again, *late), sums)

    def _again(
        self, loop: tuple[Equation, ...], late: tuple[Equation, ...], sums: tuple[Sum, ...]
    ) -> tuple[Equation, ...]:
        """Views that the loop needs too, made again from what they show: rather than storing both."""
        return self._made_again(loop, Split((), (), late, sums).demanded, VIEWS)

    def _spread_again(
        self,
        loop: tuple[Equation, ...],
        views: tuple[Equation, ...],
        late: tuple[Equation, ...],
        sums: tuple[Sum, ...],
    ) -> tuple[Equation, ...]:
        """With them, tensors that are put together from parts, where the parts are fewer elements: they may share some."""
        stored = Split((), (), (*views, *late), sums).demanded
        more = self._made_again(loop, Split((), (), late, sums).demanded, SPREADS)
        parts = Split((), (), (*more, *late), sums).demanded
        return more if self._elements(parts) < self._elements(stored) else views

    def _made_again(
        self, loop: tuple[Equation, ...], demanded: set[Var], ops: Collection[str]
    ) -> tuple[Equation, ...]:
        again: set[Equation] = set()
        for eq in reversed(loop):
            able = isinstance(eq.rhs, Apply) and eq.rhs.op in ops and self.by_rows(eq)
            if able and eq.out in demanded and eq.out not in self.makes:
                again.add(eq)
                demanded.update(operands(eq.rhs))
        return tuple(eq for eq in loop if eq in again)

    def _elements(self, stored: Collection[Var]) -> int:
        """Those of a row that are not there anyway."""
        known = self.there | self.fixed | self.makes
        return sum(v.type.size for v in set(stored) - known)

    def _stored(self, vars: Iterable[Var]) -> set[Var]:
        """What has to be stored for afterwards: views show something else."""
        found: set[Var] = set()
        for var in vars:
            while (eq := self.defs.get(var)) and isinstance(eq.rhs, Apply) and eq.rhs.op in VIEWS:
                (var,) = eq.rhs.args
            found.add(var)
        return found

    def worth(self, eq: Equation, stored: Collection[Var]) -> bool:
        """Whether an op of what is stored, and of more, is worth storing that."""
        assert isinstance(eq.rhs, Apply)
        new = self._elements(self._stored(operands(eq.rhs)) - set(stored))
        return OPS[eq.rhs.op].cost(self.equations.uses[eq]) >= WORTH_PER_ELEMENT * new

    def by_rows(self, eq: Equation) -> bool:
        """Whether all rows of an equation can be computed at once."""
        if not isinstance(eq.rhs, Apply) or self.equations.clocks[eq.out]:
            return False
        mapped = [v not in self.fixed for v in eq.rhs.args]
        return rowwise.can(eq.rhs.op, self.equations.uses[eq], mapped)

    def heavy(self, eq: Equation) -> bool:
        assert isinstance(eq.rhs, Apply)
        cost = OPS[eq.rhs.op].cost(self.equations.uses[eq])
        return cost >= HEAVY_PER_ELEMENT * eq.out.type.size

    def _sums(self) -> tuple[Sum, ...]:
        """Products that are worth it, and what costs nothing beside them."""
        found = [s for eq in self.eqs if (s := self._sum(eq)) is not None]
        stored: set[Var] = set()
        taken: list[Sum] = []
        for one in sorted(found, key=lambda s: s.product is None):
            new = self._stored(one.reads)
            if self.worth(one.product, stored) if one.product else not self._elements(new - stored):
                taken.append(one)
                stored |= new
        return tuple(taken)

    def _sum(self, eq: Equation) -> Sum | None:
        """The sum that a state is, if it is one."""
        if (
            not isinstance(eq.rhs, Fby | Post)
            or eq.rhs.reset is not None
            or self.equations.clocks[eq.out]
        ):
            return None
        total = eq.rhs.arg
        add = self.defs.get(total)
        if (
            add is None
            or not isinstance(add.rhs, Apply)
            or add.rhs.op != "add"
            or not total.type.format.exact
        ):
            return None
        terms = [v for v in add.rhs.args if v is not eq.out]
        alone = self.readers.get(eq.out) == [add] and self.readers.get(total) == [eq]
        owed = self.makes | (self.equations.kept - self.results)
        if len(terms) != 1 or not alone or total in owed or eq.out in owed | self.results:
            return None
        init = eq.rhs.init if isinstance(eq.rhs, Fby) else eq.rhs.final
        (term,) = terms
        if term in self.fixed:
            return None
        return Sum(total, init, term, self._product(term, add))

    def _product(self, term: Var, add: Equation) -> Equation | None:
        """The equation of a term that is a product of two matrices with rows, read by nothing but its sum."""
        eq = self.defs.get(term)
        if (
            eq is None
            or not isinstance(eq.rhs, Apply)
            or eq.rhs.op != "matmul"
            or self.equations.clocks[term]
        ):
            return None
        used = self.readers[term] != [add] or term in self.makes | self.results
        plain = len(term.type.shape) == 2 and not self.fixed.intersection(eq.rhs.args)
        return eq if plain and not used else None

    def _before(self, rest: Sequence[Equation]) -> tuple[Equation, ...]:
        """Heavy equations of what is there before the loop, with those that they need."""
        there = self.there | self.fixed
        able: list[Equation] = []
        for eq in rest:
            if self.by_rows(eq) and there.issuperset(operands(eq.rhs)):
                able.append(eq)
                there.add(eq.out)
        wanted = {eq for eq in able if self.heavy(eq)}
        for eq in reversed(able):
            if any(eq.out in operands(other.rhs) for other in wanted):
                wanted.add(eq)
        for eq in able:
            view = isinstance(eq.rhs, Apply) and eq.rhs.op in VIEWS
            if view and any(self.defs.get(v) in wanted for v in operands(eq.rhs)):
                wanted.add(eq)
        return tuple(eq for eq in able if eq in wanted)

    def _late(self, rest: Sequence[Equation], demanded: set[Var]) -> tuple[Equation, ...]:
        """Equations that nothing in the loop waits for: heavy ones, what depends on them, and moves that only these read."""
        core = self._core(rest)
        free = [eq for eq in rest if eq not in core]
        late: set[Equation] = set()
        made: set[Var] = set()
        stored = self._stored(demanded)
        for eq in free:
            heavy = self.heavy(eq) and self.worth(eq, stored)
            if not core or heavy or made.intersection(operands(eq.rhs)):
                late.add(eq)
                made.add(eq.out)
        for eq in reversed(free):
            cheap = isinstance(eq.rhs, Apply) and not OPS[eq.rhs.op].cost(self.equations.uses[eq])
            readers = [r for r in self.readers.get(eq.out, ()) if r in set(rest)]
            if cheap and eq.out not in self.makes and all(r in late for r in readers):
                if readers or eq.out in demanded:
                    late.add(eq)
        return tuple(eq for eq in free if eq in late)

    def _core(self, rest: Iterable[Equation]) -> set[Equation]:
        """What must run by rows, and all that it reads."""
        rest = list(rest)
        here = {out: eq for eq in rest for out in eq.outs}
        todo = [eq for eq in rest if not self.by_rows(eq) or self.results.intersection(eq.outs)]
        core: set[Equation] = set()
        while todo:
            eq = todo.pop()
            if eq not in core:
                core.add(eq)
                read = (*operands(eq.rhs), *conditions_of(eq, self.equations.clocks))
                todo += [here[v] for v in read if v in here]
        return core
