"""Slow arguments of a frame where the end of input cuts it: what they would be if its last tick closed it.

No tick closes a cut frame, so the clock of its slow arguments is absent there. They are computed once more, on a clock
that is on at the cut too: samples are of the tick before (the last), states keep their value at every tick of the base.
"""

from __future__ import annotations

from dataclasses import replace

from seiche.errors import fail
from seiche.ir import core
from seiche.ir.clocks import Clock
from seiche.ir.core import Apply, Equation, Fby, Lit, Merge, Scan, Var, When
from seiche.schedule.bodies import emit_scan
from seiche.schedule.emit import Emitter
from seiche.schedule.timeline import Timeline


class Reopen:
    """`reopen(var)`: a Var of the clock `until`, on the clock `ends`."""

    def __init__(
        self,
        b: Emitter,
        time: Timeline,
        until: Var,
        ends: Var,
        cut: Var,
        latency: int,
        held: dict[Var, Var],
    ) -> None:
        self.b, self.time, self.until, self.ends, self.cut = b, time, until, ends, cut
        self.latency, self.held = latency, held
        self.made: dict[Var, Var] = {}

    def __call__(self, var: Var) -> Var:
        if var in self.time.lat.fixed:
            return var
        if var not in self.made:
            self._define(self.time.lat.defs[var])
        return self.made[var]

    def _define(self, eq: Equation) -> None:
        b, out = self.b, eq.outs[0]
        b.serve(out)
        match eq.rhs:
            case When(arg, cond, True) if cond is self.until:
                self.made[out] = b.when(self._last(arg), self.ends)
            case When() | Merge() | Apply() | Lit():
                self.made[out] = b.define(core.substitute(eq.rhs, self), out.type, out.name)
            case Scan() as scan:
                fresh = tuple(b.declare(v.type, v.name) for v in eq.outs)
                self.made.update(zip(eq.outs, fresh, strict=True))
                over = core.substitute(scan, self)
                assert isinstance(over, Scan)
                emit_scan(b, fresh, replace(over, body=replace(over.body, checks=())))
            case Fby():
                self._state(out, eq.rhs)
            case _:
                why = (
                    "the end of input may cut the frame, and then this would have to be computed once more",
                    out.loc,
                )
                hint = (
                    "let it be a state of the frame's clock, or a function of states and of samples"
                )
                raise fail(
                    "SE603",
                    f"the streams of a frame depend on `{out.name}`",
                    out.loc,
                    why,
                    hint=hint,
                )

    def _last(self, arg: Var) -> Var:
        """A stream of the base clock at the frame's last tick: this one, or at a cut the one before."""
        b, now = self.b, self.time.at(arg, self.latency)
        if arg in self.time.lat.fixed:
            return now
        return b.choose(self.cut, b.fby(None, now, name=arg.name), now)

    def _state(self, out: Var, rhs: Fby) -> None:
        b, time = self.b, self.time
        _, *inner = time.lat.clocks[out]
        at_end = ((self.ends, True), *((self(cond), on) for cond, on in inner))
        memory, since = hold(b, time, out, rhs, self.held), self.latency - time.lat.of(out)
        value = b.sampled(time.delays.by(memory, since), at_end)
        unseen = None
        if self.latency or is_late(time, out, rhs) or not ready(time, rhs.init):
            unseen = b.sampled(self._unseen(time.clock(time.lat.clocks[out], self.latency)), at_end)
        opens = b.either(unseen, None if rhs.reset is None else self(rhs.reset))
        if opens is not None and rhs.init is not None:
            value = b.choose(opens, self(rhs.init), value)
        self.made[out] = value

    def _unseen(self, clock: Clock) -> Var:
        """At each tick of the base: whether a clock (of the lowered node) was never on before."""
        b = self.b
        seen = b.declare(self.until.type, "closed")
        *outer, (cond, on) = clock
        there = self.time.on_base(cond if on else b.logical_not(cond), tuple(outer), b.false())
        b.equation(
            (seen,),
            Fby(b.false(), b.logical_or(seen, b.logical_and(there, self.time.begun(self.latency)))),
        )
        return b.logical_not(seen)


def ready(time: Timeline, init: Var | None) -> bool:
    """Whether an initial value is there before the first tick."""
    return init is None or init in time.lat.fixed


def is_late(time: Timeline, out: Var, rhs: Fby) -> bool:
    """Whether the argument of a state is there a tick later than the state, which is before the next one reads it."""
    return rhs.arg not in time.lat.fixed and time.lat.of(rhs.arg) > time.lat.of(out)


def hold(b: Emitter, time: Timeline, out: Var, rhs: Fby, held: dict[Var, Var]) -> Var:
    """The memory of a state on a sub-clock, present at each tick of the base: what its next tick will find."""
    if out not in held:
        late = is_late(time, out, rhs)
        latency = time.lat.of(out) + late
        clock = time.clock(time.lat.clocks[out], latency)
        arg = time.at(rhs.arg, latency)
        b.serve(out)
        before = b.declare(out.type, out.name)
        after = time.on_base(arg, clock, before)
        b.equation((before,), Fby(rhs.init if ready(time, rhs.init) else None, after))
        held[out] = after if late else before
    return held[out]
