"""Frames as collecting states, a scan where they close, and a ring by which streams return to their ticks.

At each tick, row `count` of a buffer per mapped argument is written (in place); `count` starts again where the frame closes
or is reset. On the clock `until`, a scan over these rows gives what leaves once per frame. Streams take a scan of their own,
which also runs where the end of input cuts a frame or the frame is full; its rows go to a ring indexed by the physical
tick, and each is read `extent - 1` ticks after its own: before its slot is written again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seiche.ir import core
from seiche.ir.clocks import Clock
from seiche.ir.core import Apply, Check, Equation, Fby, Frame, Node, OutKind, Scan, Var
from seiche.numbers.formats import Type, i32
from seiche.schedule.bodies import emit_scan
from seiche.schedule.emit import INT, Emitter
from seiche.schedule.reopen import Reopen
from seiche.schedule.timeline import Timeline


@dataclass(frozen=True)
class Timed:
    """A check of the lowered node: the clock and the latency at which it is evaluated.

    `to_the_end`: its clock is off after the end of input, but for what is still to be checked.
    """

    check: Check
    clock: Clock
    latency: int
    to_the_end: bool = False


@dataclass(frozen=True)
class Collected:
    """A frame's rows at a tick: how many there were before it, how many with it, and where they are scanned.

    `args` are the arguments of a scan on its clock, the mapped ones as buffers on the clock of the frame's ticks.
    """

    eq: Equation
    frame: Frame
    clock: Clock
    latency: int
    until: Var
    before: Var
    rows: Var
    args: tuple[Var, ...]


def lower_frame(b: Emitter, time: Timeline, eq: Equation, held: dict[Var, Var]) -> list[Timed]:
    """The equations of a frame; its checks. `held` collects the slow states that must be present at every tick."""
    assert isinstance(eq.rhs, Frame)
    collected = _collect(b, time, eq, eq.rhs)
    checks = [_overflow(b, collected)]
    slow = [k for k, kind in enumerate(eq.rhs.outs) if kind != "stream"]
    streams = [k for k, kind in enumerate(eq.rhs.outs) if kind == "stream"]
    if slow:
        # The scan of the streams runs the body's checks too, and for cut frames as well.
        checks += _leave_once(b, collected, slow, with_checks=not streams)
    if streams:
        checks += _return_streams(b, time, collected, streams, held)
    return checks


def _collect(b: Emitter, time: Timeline, eq: Equation, frame: Frame) -> Collected:
    """The counter and the buffers."""
    latency = time.lat.of_equation(eq)
    clock = time.clock(time.lat.clocks[frame.until], latency)
    until = time.at(frame.until, latency)
    reset = None if frame.reset is None else time.at(frame.reset, latency)
    opening = time.opening(clock, latency) if latency else None
    mapped = [time.at(a, latency) for a, m in zip(frame.args, frame.mapped, strict=True) if m]
    b.serve(eq.outs[0])
    before = b.declare(INT, f"{eq.outs[0].name}.count")
    rows = b.minimum(b.add(before, b.int(1)), b.int(frame.extent))
    after = b.select(until, b.int(0), rows)
    b.equation((before,), Fby(b.int(0), after, b.either(reset, opening)))

    def gather(arg: Var, at_tick: Var) -> Var:
        stacked = Type(arg.type.format, (frame.extent, *arg.type.shape))
        buffer = b.declare(stacked, f"{arg.name}.rows")
        filled = b.update(buffer, at_tick, before, axis=0)
        b.equation((buffer,), Fby(None, filled))
        return filled

    ready = iter(mapped)
    pairs = zip(frame.args, frame.mapped, strict=True)
    args = tuple(gather(arg, next(ready)) if m else time.at(arg, latency) for arg, m in pairs)
    return Collected(eq, frame, clock, latency, until, before, rows, args)


def _overflow(b: Emitter, c: Collected) -> Timed:
    extent, where = c.frame.extent, c.frame.body.loc
    fits = b.lt(c.before, b.int(extent))
    text = f"the frame holds {extent} ticks at most, and `{c.frame.until.name}` did not close it in time"
    return Timed(
        Check(fits, "SE602", text, where if where.line else c.eq.outs[0].loc), c.clock, c.latency
    )


def _part(body: Node, outputs: list[int]) -> Node:
    """The body with some of its outputs."""
    return core.live(replace(body, outputs=tuple(body.outputs[k] for k in outputs)))


def _leave_once(b: Emitter, c: Collected, slow: list[int], with_checks: bool) -> list[Timed]:
    """The scan of the outputs on the frame's clock."""
    frame, close = c.frame, ((c.until, True),)
    body = _part(frame.body if with_checks else replace(frame.body, checks=()), slow)
    pairs = zip(c.args, frame.mapped, strict=True)
    args = tuple(b.sampled(arg, close) if m else arg for arg, m in pairs)
    kinds: tuple[OutKind, ...] = tuple(frame.outs[k] for k in slow)
    scan = Scan(body, args, frame.mapped, kinds, frame.extent, b.sampled(c.rows, close))
    checks = emit_scan(b, tuple(c.eq.outs[k] for k in slow), scan)
    return [Timed(check, (*c.clock, *close), c.latency) for check in checks]


def _return_streams(
    b: Emitter, time: Timeline, c: Collected, streams: list[int], held: dict[Var, Var]
) -> list[Timed]:
    """The scan of the outputs that return to their ticks, and their rings."""
    frame, outs = c.frame, [c.eq.outs[k] for k in streams]
    past = time.past(c.latency)
    b.serve(c.eq.outs[0])
    cut = time.cut(c.latency)
    rows = b.select(cut, c.before, c.rows)
    # A full frame is closed here or by the end of input: its first row leaves now, before anyone can know which.
    full = b.eq(c.rows, b.int(frame.extent))
    waiting = b.logical_and(b.lt(b.int(0), c.before), b.lt(c.before, b.int(frame.extent)))
    ends = b.select(past, b.logical_and(cut, waiting), b.logical_or(c.until, full))
    time.returning += [c.until, ends]
    close: Clock = ((ends, True),)
    length = b.sampled(rows, close)
    reopen = Reopen(b, time, frame.until, ends, cut, c.latency, held)
    triples = zip(frame.args, c.args, frame.mapped, strict=True)
    args = tuple(b.sampled(buffer, close) if m else reopen(arg) for arg, buffer, m in triples)
    stacks = tuple(
        b.declare(Type(v.type.format, (frame.extent, *v.type.shape)), f"{v.name}.rows")
        for v in outs
    )
    scan = Scan(
        _part(frame.body, streams),
        args,
        frame.mapped,
        ("stack",) * len(streams),
        frame.extent,
        length,
    )
    checks = emit_scan(b, stacks, scan)
    ring = _Ring(b, time.delays.position(frame.extent), c.before, length, ends, frame.extent)
    for out, stack in zip(outs, stacks, strict=True):
        b.serve(out)
        ring.send(stack, out)
    return [Timed(check, close, c.latency, to_the_end=True) for check in checks]


class _Ring:
    """A place per physical tick modulo the extent, for values that leave `extent - 1` ticks later."""

    def __init__(
        self, b: Emitter, position: Var, before: Var, length: Var, ends: Var, extent: int
    ) -> None:
        """The first row of a scan belongs to the tick `before` ticks ago (at a cut, this tick is not among the rows)."""
        self.b, self.ends, self.extent = b, ends, extent
        self.next = b.successor(position, extent)
        start = b.when(b.wrapped(b.sub(position, before), extent), ends)
        slots = b.iota(shape=(extent,), axis=0, format=i32)
        self.row = b.wrapped(b.sub(slots, b.spread(start, (extent,))), extent)
        self.fresh = b.lt(self.row, b.spread(length, (extent,)))

    def send(self, stack: Var, out: Var) -> None:
        """The rows of `stack` go to their slots; `out` is the oldest slot."""
        b, shape = self.b, stack.type.shape
        ring = b.declare(stack.type, f"{out.name}.ring")
        fresh = b.reshape(self.fresh, shape=(self.extent, *(1 for _ in shape[1:])))
        fresh = b.broadcast(fresh, shape=shape)
        moved = b.select(fresh, b.take(stack, self.row, axis=0), b.when(ring, self.ends))
        after = b.merge(self.ends, moved, b.when(ring, self.ends, False))
        b.equation((ring,), Fby(None, after))
        b.equation((out,), Apply("index", (after, self.next), {"axis": 0}))
