"""The clocks of a folded function: which row of which stream a tick brings, told from one counter of ticks.

    tick = 0 fby (tick + 1 < end ? tick + 1 : end - rows)        wraps by whole frames, once everything has begun
    rows of a stream come where (tick - late) mod rows mod every = 0        a value where (tick - late) mod rows = 0, from `late` on

Streams of one cadence share a clock; rows that are beyond the last of a frame, or before the first frame, hold anything.
"""

from __future__ import annotations

from typing import TypeAlias

from seiche.errors import Loc
from seiche.ir.core import Fby, Merge, Var
from seiche.numbers.formats import Shape, Type, bool_
from seiche.timespace.opened import INT, Opened
from seiche.timespace.pieces import Rows

Clock: TypeAlias = Var | None
"""The condition of a clock right below the base; None is the base itself."""

BOOL = Type(bool_)


class Cadence(Opened):
    """A builder of the folded node, with the clocks of frames of `rows` ticks."""

    def __init__(self, rows: int, loc: Loc) -> None:
        super().__init__(loc)
        self.rows = rows
        self.tick = self.declare(INT, "tick")
        self.latest = 0
        self.same: dict[Var, Var] = {}
        self._clocks: dict[tuple[str, int, int], Var] = {}
        self._present: dict[tuple[int, int, int], Var] = {}
        self._numbers: dict[tuple[int, int], Var] = {}
        self._sampled: dict[tuple[Var, Var], Var] = {}

    def int(self, value: int) -> Var:
        return self.lit(value, INT)

    def finish(self) -> None:
        """The counter, now that the latest of all values is known."""
        frames = 1 + -(-self.latest // self.rows)
        more = self.add(self.tick, self.int(1))
        wraps = self.lt(more, self.int(frames * self.rows))
        back = self.int((frames - 1) * self.rows)
        self.equation(self.tick, Fby(self.int(0), self.select(wraps, more, back)))

    # Clocks.

    def clock(self, every: int, late: int) -> Clock:
        """Of rows with that cadence."""
        self.latest = max(self.latest, late)
        if every == 1:
            return None
        phase = late % (every if self.rows % every == 0 else self.rows)
        key = ("rows", every, phase)
        if key not in self._clocks:
            at = self.mod(self._since(phase), self.int(every))
            self._clocks[key] = self._named(self.eq(at, self.int(0)), "row")
        return self._clocks[key]

    def clock_of(self, x: Rows) -> Clock:
        return self.clock(x.every, x.late)

    def done(self, late: int) -> Var:
        """Of what is known once per frame."""
        self.latest = max(self.latest, late)
        key = ("done", self.rows, late)
        if key not in self._clocks:
            here = self.eq(self._since(late), self.int(0))
            begun = self.ge(self.tick, self.int(late))
            self._clocks[key] = self._named(self.logical_and(begun, here), "done")
        return self._clocks[key]

    def present(self, x: Rows) -> Clock:
        """Where the rows of a frame are, without those that hold anything; on the clock of the rows."""
        conds: list[Var] = []
        if x.late >= (x.every if self.rows % x.every == 0 else 1):
            conds.append(self.ge(self.tick, self.int(x.late)))
        if x.count < -(-self.rows // x.every):
            conds.append(self.lt(self.number(x.every, x.late), self.int(x.count)))
        if not conds:
            return None
        key = (x.every, x.late, x.count)
        if key in self._present:
            return self._present[key]
        both = conds[0] if len(conds) == 1 else self.logical_and(*conds)
        self._present[key] = self.at(self._named(both, "present"), self.clock_of(x))
        return self._present[key]

    def number(self, every: int, late: int) -> Var:
        """Which row of its frame comes, on the base clock."""
        key = (every, late % self.rows)
        if key not in self._numbers:
            at = self._since(late)
            self._numbers[key] = at if every == 1 else self.floor_div(at, self.int(every))
        return self._numbers[key]

    def row(self, x: Rows) -> Var:
        """Which row of its frame comes, on the clock of the rows."""
        return self.at(self.number(x.every, x.late), self.clock_of(x))

    def _since(self, late: int) -> Var:
        """Ticks since a frame's value of that lateness, modulo a frame."""
        key = (1, late % self.rows)
        if key not in self._numbers:
            ahead = self.add(self.tick, self.int(-late % self.rows))
            self._numbers[key] = self._named(self.mod(ahead, self.int(self.rows)), "since")
        return self._numbers[key]

    def _named(self, var: Var, name: str) -> Var:
        var.name = name
        return var

    # Between clocks.

    def at(self, var: Var, clock: Clock) -> Var:
        """A Var of the base clock on another."""
        if clock is None:
            return var
        if (var, clock) not in self._sampled:
            self._sampled[var, clock] = self.when(var, clock)
        return self._sampled[var, clock]

    def up(self, var: Var, clock: Clock) -> Var:
        """A Var of a clock on the base: zero elsewhere."""
        if clock is None:
            return var
        return self.define(Merge(clock, var, self.zeros(var.type)), var.type, var.name)

    def move(self, var: Var, clock: Clock, to: Clock) -> Var:
        """A Var of a clock on another: zero where it is absent."""
        return var if clock is to else self.at(self.up(var, clock), to)

    def kept(self, var: Var, clock: Var, to: Clock) -> Var:
        """The latest value of a Var, on another clock."""
        memory = self.declare(var.type, var.name)
        now = self.merge(clock, var, self.when(memory, clock, False))
        self.equation(memory, Fby(self.zeros(var.type), now))
        return self.at(now, to)

    def meant(self, var: Var) -> Var:
        """What a declared Var stands for."""
        while var in self.same:
            var = self.same[var]
        return var

    # Values.

    def zeros(self, type: Type) -> Var:
        return self.filled(0, type)

    def filled(self, value: object, type: Type) -> Var:
        """One number everywhere."""
        scalar = self.lit(value, Type(type.format))
        return self.broadcast(scalar, shape=type.shape) if type.shape else scalar

    def spread(self, scalar: Var, shape: Shape) -> Var:
        return self.broadcast(scalar, shape=shape) if shape else scalar
