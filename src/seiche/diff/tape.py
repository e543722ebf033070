"""The tape of a scan: what the backward sweep reads of the forward one, row by row.

The transposed body needs Vars of the forward body. Arguments of the scan are given again. Of the rest, what is cheap (a move,
a choice, one arithmetic operation) is computed again when that stores no more bytes than it has; all else is stacked. A Var on a sub-clock is merged with zeros, and sampled again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from seiche.diff.hoist import is_move
from seiche.ir import clocks
from seiche.ir.builder import Builder
from seiche.ir.clocks import Clock
from seiche.ir.core import (
    Apply,
    Equation,
    Lit,
    Merge,
    Node,
    Scan,
    Var,
    When,
    operands,
)
from seiche.ir.ops.indexing import blank
from seiche.numbers.formats import Type

ONE_OPERATION = frozenset(
    ("add", "sub", "mul", "neg", "abs", "sign", "square", "minimum", "maximum", "select")
    + (
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
    )
)
"""Ops whose value costs no more than reading it from memory."""


class Tape:
    """What the equations `backward` need of a scan's body, of which `forward` are the equations."""

    def __init__(
        self, scan: Scan, forward: Sequence[Equation], backward: Sequence[Equation]
    ) -> None:
        self.scan = scan
        self.forward = list(forward)
        self.backward = list(backward)
        self._defs = {out: eq for eq in forward for out in eq.outs}
        self._whole = Node("", scan.body.inputs, (), self.forward)
        self._constants = clocks.constants(self._whole)
        needed = self._needed()
        stored = self._choose(needed)
        self.again = self._recompute(needed, stored)
        self.kept = stored
        self._restore = self._sample()
        read = set(_operands([*self.again, *self._restore, *self.backward]))
        self._given = [i for i, v in enumerate(scan.body.inputs) if v in read]

    @property
    def args(self) -> tuple[Var, ...]:
        """The arguments of the scan that the backward body reads too."""
        return tuple(self.scan.args[i] for i in self._given)

    @property
    def mapped(self) -> tuple[bool, ...]:
        return tuple(self.scan.mapped[i] for i in self._given)

    def record(self, eq: Equation) -> tuple[Equation, tuple[Var, ...]]:
        """The equation of the forward scan with what is kept among its results, and those results."""
        body, b = self.scan.body, Builder()
        outputs, kinds, outs, results = (
            list(body.outputs),
            list(self.scan.outs),
            list(eq.outs),
            list[Var](),
        )
        for var in self.kept:
            b.loc, b.scope = var.loc, var.scope
            there = self._stacked.get(var, len(outputs))
            if there == len(outputs):
                rows = Type(var.type.format, (self.scan.extent, *var.type.shape))
                outputs.append(self._on_base(b, var))
                kinds.append("stack")
                outs.append(Var(var.name, rows, var.loc, var.scope))
            results.append(outs[there])
        recording = Node(
            body.name, body.inputs, tuple(outputs), [*self.forward, *b.eqs], body.loc, body.checks
        )
        scan = Scan(
            recording,
            self.scan.args,
            self.scan.mapped,
            tuple(kinds),
            self.scan.extent,
            self.scan.length,
        )
        return Equation(tuple(outs), scan), tuple(results)

    def replay(self, seeds: tuple[Var, ...], outputs: tuple[Var, ...]) -> Node:
        """The backward body: its inputs are `args`, what is kept, and the seeds."""
        body = self.scan.body
        given = tuple(body.inputs[i] for i in self._given)
        rows = tuple(self._rows.get(var, var) for var in self.kept)
        eqs = [*self._restore, *self.again, *self.backward]
        return Node(f"{body.name}'", (*given, *rows, *seeds), outputs, eqs, body.loc)

    # Sub-clocks.

    @cached_property
    def _clocks(self) -> clocks.Clocks:
        return clocks.infer(self._whole)

    def _clock(self, var: Var) -> Clock:
        return () if var in self._constants else self._clocks[var]

    def _on_base(self, b: Builder, var: Var) -> Var:
        row = var
        for cond, on in reversed(self._clock(var)):
            zero = blank(b, var.type)
            row = b.merge(cond, *((row, zero) if on else (zero, row)))
        return row

    def _sample(self) -> list[Equation]:
        """The equations that take what is kept back to its clock."""
        self._rows: dict[Var, Var] = {}
        eqs: list[Equation] = []
        for var in self.kept:
            clock = self._clock(var)
            if not clock:
                continue
            row = self._rows[var] = Var(var.name, var.type, var.loc, var.scope)
            for cond, on in clock[:-1]:
                sampled = Var(var.name, var.type, var.loc, var.scope)
                eqs.append(Equation((sampled,), When(row, cond, on)))
                row = sampled
            eqs.append(Equation((var,), When(row, *clock[-1])))
        return eqs

    # What to keep.

    @cached_property
    def _stacked(self) -> dict[Var, int]:
        """The results that the scan stacks anyway."""
        pairs = enumerate(zip(self.scan.body.outputs, self.scan.outs, strict=True))
        return {var: k for k, (var, kind) in pairs if kind == "stack"}

    def _needed(self) -> list[Var]:
        """The forward Vars that the backward equations read, and the conditions of their clocks."""
        found: dict[Var, None] = {}
        for var in _operands(self.backward):
            if var in self._defs:
                found[var] = None
                found.update((cond, None) for cond, _ in self._clock(var) if cond in self._defs)
        return list(found)

    def _choose(self, needed: Sequence[Var]) -> list[Var]:
        stored = {v: None for v in needed if not self._is_cheap(v)}
        for var in needed:
            if var in stored or not self._is_cheap(var):
                continue
            sources = [v for v in self._sources(var, stored) if v not in stored]
            price = sum(self._bytes(v) for v in sources)
            stored.update((v, None) for v in (sources if price <= self._bytes(var) else [var]))
        return list(stored)

    def _is_cheap(self, var: Var) -> bool:
        rhs = self._defs[var].rhs
        if var in self._constants or isinstance(rhs, Lit | When | Merge):
            return True
        if not isinstance(rhs, Apply):
            return False
        return rhs.op in ONE_OPERATION or is_move(rhs)

    def _bytes(self, var: Var) -> int:
        return 0 if var in self._stacked else var.type.nbytes

    def _sources(self, var: Var, stored: Iterable[Var]) -> list[Var]:
        """What a cheap Var is computed from: what is stored, and what is not cheap."""
        found: dict[Var, None] = {}
        seen, todo = {var}, [var]
        while todo:
            for v in operands(self._defs[todo.pop()].rhs):
                if v in seen or v not in self._defs:
                    continue
                seen.add(v)
                if v in stored or not self._is_cheap(v):
                    found[v] = None
                else:
                    todo.append(v)
        return list(found)

    def _recompute(self, needed: Sequence[Var], stored: Sequence[Var]) -> list[Equation]:
        seen, eqs = set(stored), list[Equation]()
        todo = [v for v in needed if v not in seen]
        while todo:
            var = todo.pop()
            if var in seen or var not in self._defs:
                continue
            seen.add(var)
            eqs.append(self._defs[var])
            todo += operands(self._defs[var].rhs)
        return eqs[::-1]


def _operands(eqs: Iterable[Equation]) -> Iterable[Var]:
    return (v for eq in eqs for v in operands(eq.rhs))
