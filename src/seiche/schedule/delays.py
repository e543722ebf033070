"""Delays of streams on the base clock: a chain of states where short, a ring of rows where long; each shared by all readers.

What comes out before the first tick has arrived is zero.
"""

from __future__ import annotations

from seiche.ir.core import Apply, Fby, Var
from seiche.numbers.formats import Type
from seiche.schedule.emit import Emitter

CHAIN_MAX = 8
"""Ticks of the longest chain: each link copies a value per tick, where a ring has an index to compute."""


class Delays:
    """`by(var, ticks)` is the Var as it was that many ticks ago; `finish` writes the rings."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter
        self.made: dict[tuple[Var, int], Var] = {}
        self.cycles: dict[int, Var] = {}

    def by(self, var: Var, ticks: int) -> Var:
        if ticks == 0:
            return var
        if (var, ticks) not in self.made:
            b = self.emitter
            b.serve(var)
            if ticks <= CHAIN_MAX:
                before = self.by(var, ticks - 1)
                self.made[var, ticks] = b.fby(None, before, name=f"{var.name}.{ticks}")
            else:
                self.made[var, ticks] = b.declare(var.type, f"{var.name}.{ticks}")
        return self.made[var, ticks]

    def position(self, rows: int) -> Var:
        """The physical tick modulo `rows`."""
        if rows not in self.cycles:
            self.emitter.scope = ()
            self.cycles[rows] = self.emitter.cycle(rows, f"tick.mod{rows}")
        return self.cycles[rows]

    def finish(self) -> None:
        """The equations of the long delays: one ring per Var, as long as its longest."""
        longest: dict[Var, int] = {}
        for var, ticks in self.made:
            if ticks > CHAIN_MAX:
                longest[var] = max(ticks, longest.get(var, 0))
        for var, rows in longest.items():
            self._ring(var, rows)

    def _ring(self, var: Var, rows: int) -> None:
        b, position = self.emitter, self.position(rows)
        b.serve(var)
        ring = b.declare(Type(var.type.format, (rows, *var.type.shape)), f"{var.name}.ring")
        for (of, ticks), out in self.made.items():
            if of is var and ticks > CHAIN_MAX:
                row = position if ticks == rows else b.wrapped(b.sub(position, b.int(ticks)), rows)
                b.equation((out,), Apply("index", (ring, row), {"axis": 0}))
        b.equation((ring,), Fby(None, b.update(ring, var, position, axis=0)))
