"""Physical time during lowering: delayed operands, and the ticks at which streams of a given latency begin and end.

A stream of latency l holds at physical tick p its value of logical tick p - l. Before p = l it holds what was computed
from nothing: states open at l, checks are silent until then, and again from the end of input on.
"""

from __future__ import annotations

from collections.abc import Callable

from seiche.ir import core
from seiche.ir.clocks import Clock
from seiche.ir.core import Apply, Fby, Lit, Post, Var, When
from seiche.schedule.delays import Delays
from seiche.schedule.emit import BOOL, INT, Emitter
from seiche.schedule.retime import Latencies, is_register


class Timeline:
    def __init__(self, emitter: Emitter, lat: Latencies) -> None:
        self.emitter, self.lat = emitter, lat
        self.delays = Delays(emitter)
        self.horizon = 1 + max([0, *lat.at.values()]) + max([0, *map(lat.extra, lat.defs)])
        self.returning: list[Var] = []
        self._ended: Var | None = None
        self._made: dict[tuple[str, Clock, int], Var] = {}
        self._looks: dict[tuple[Var, int], Var] = {}
        self._late: dict[tuple[Var, int], Var] = {}
        self._dense: dict[Var, Var] = {}

    def at(self, var: Var, latency: int) -> Var:
        """The Var as it is read at that latency; constants are there already."""
        if var in self.lat.fixed:
            return var
        if self.lat.clocks[var]:
            return self._sampled(var, latency)
        ahead = self.look_ahead(var) if latency > self.lat.of(var) else None
        if ahead is None:
            return self.delays.by(var, latency - self.lat.of(var))
        root, final, by = ahead
        if (var, latency) not in self._looks:
            self.emitter.serve(var)
            late = self.at(root, latency - by)
            self._looks[var, latency] = self.emitter.choose(self.past(latency - by), final, late)
        return self._looks[var, latency]

    def _sampled(self, var: Var, latency: int) -> Var:
        """A Var of a sub-clock at a later latency: by way of the base, unless it was sampled from there."""
        by = latency - self.lat.of(var)
        if by == 0:
            return var
        if (var, latency) not in self._late:
            b, rhs = self.emitter, self.lat.defs[var].rhs
            b.serve(var)
            if isinstance(rhs, When):
                over = core.substitute(rhs, lambda v: self.at(v, latency))
                self._late[var, latency] = b.define(over, var.type, var.name)
            else:
                if var not in self._dense:
                    there = self.clock(self.lat.clocks[var], latency - by)
                    self._dense[var] = self.on_base(var, there, b.zeros(var.type))
                clock = self.clock(self.lat.clocks[var], latency)
                self._late[var, latency] = b.sampled(self.delays.by(self._dense[var], by), clock)
        return self._late[var, latency]

    def on_base(self, var: Var, clock: Clock, otherwise: Var) -> Var:
        """A Var of a clock (of the lowered node) at every tick of the base: where it is absent, what `otherwise` is."""
        b = self.emitter
        for depth in reversed(range(len(clock))):
            cond, on = clock[depth]
            absent = b.when(b.sampled(otherwise, clock[:depth]), cond, not on)
            var = b.merge(cond, *((var, absent) if on else (absent, var)))
        return var

    def registered(self, var: Var) -> Var:
        """What is in a chain of registers: all of them are one delay."""
        while (eq := self.lat.defs.get(var)) is not None and is_register(eq.rhs):
            (var,) = core.operands(eq.rhs)
        return var

    def look_ahead(self, var: Var) -> tuple[Var, Var, int] | None:
        """What a look-ahead reads that many ticks ahead, and what it gives at the end: chains of them share one delay.

        y = post(post(x, k), k)  |-  y delayed is x delayed by two less, or k beyond the end
        """
        root, final, by = var, None, 0
        while (eq := self.lat.defs.get(root)) is not None and isinstance(eq.rhs, Post):
            this = self.lat.defs.get(eq.rhs.final)
            if eq.rhs.reset is not None or this is None or not isinstance(this.rhs, Lit):
                break
            if final is not None and final[1].tobytes() != this.rhs.value.tobytes():
                break
            root, final, by = eq.rhs.arg, final or (eq.rhs.final, this.rhs.value), by + 1
        return None if final is None else (root, final[0], by)

    def clock(self, clock: Clock, latency: int) -> Clock:
        """A clock of the logical node, by the condition that samples it here."""
        return tuple((self.at(cond, latency), on) for cond, on in clock)

    @property
    def ended(self) -> Var | None:
        """The hidden input that is true at the ticks after the last, if anything asked for it."""
        return self._ended

    def past(self, latency: int) -> Var:
        """True where the logical tick of that latency lies after the end of input."""
        if latency == 0:
            return self._end()
        b = self.emitter
        return self._once("past", (), latency, lambda: b.ge(self._since(), b.int(latency + 1)))

    def cut(self, latency: int) -> Var:
        """True where the logical tick of that latency is the first after the end of input."""
        b = self.emitter
        return self._once("cut", (), latency, lambda: b.eq(self._since(), b.int(latency + 1)))

    def _end(self) -> Var:
        if self._ended is None:
            self._ended = Var("ended", BOOL)
        return self._ended

    def _since(self) -> Var:
        """How many ticks have come after the last, with this one; up to `horizon + 1`."""
        b = self.emitter

        def make() -> Var:
            since = b.declare(INT, "ticks_after_end")
            more = b.minimum(
                b.add(b.fby(b.int(0), since, name=since.name), b.int(1)), b.int(self.horizon + 1)
            )
            b.equation((since,), Apply("select", (self._end(), more, b.int(0))))
            return since

        return self._once("since", (), 0, make)

    def begun(self, latency: int) -> Var:
        """True from physical tick `latency` on."""
        b = self.emitter
        return self._once("begun", (), latency, lambda: b.ge(self._ticks(), b.int(latency)))

    def opening(self, clock: Clock, latency: int) -> Var:
        """True at the first tick of a clock (of the lowered node) at or after physical tick `latency`."""
        b = self.emitter

        def make() -> Var:
            if latency == 0:
                return b.fby(b.true(), b.false(), name="first")
            if not clock:
                return b.eq(self._ticks(), b.int(latency))
            begun = b.sampled(self.begun(latency), clock)
            before = b.fby(b.false(), begun, name="begun")
            return b.logical_and(begun, b.logical_not(before))

        return self._once("opening", clock, latency, make)

    def _ticks(self) -> Var:
        """The physical tick, up to `horizon`."""
        b = self.emitter

        def make() -> Var:
            tick = b.declare(INT, "tick")
            b.equation(
                (tick,), Fby(b.int(0), b.minimum(b.add(tick, b.int(1)), b.int(self.horizon)))
            )
            return tick

        return self._once("tick", (), 0, make)

    def _once(self, what: str, clock: Clock, latency: int, make: Callable[[], Var]) -> Var:
        key = (what, clock, latency)
        if key not in self._made:
            loc, scope = self.emitter.loc, self.emitter.scope
            self.emitter.scope = ()
            self._made[key] = make()
            self.emitter.loc, self.emitter.scope = loc, scope
        return self._made[key]
