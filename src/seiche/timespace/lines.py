"""Line buffers: the rows of a stream that a window still needs, in a ring that is updated in place.

    y[o] = x[o * stride + k * dilation - low]  for k < window    ->    ring' = update(ring, row, at)    at' = at + 1 mod depth
                                                                       y = take(ring, at - ages) ++ row        zero outside

The age of a tap is the number of rows that have come since the one it reads: the same at each output, unless the rows of
a frame do not divide by the stride. The newest row is read where it is made, so that a window of w rows keeps w - 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seiche.ir.core import Apply, Fby, Lit, Merge, Var
from seiche.ir.ops.batching import behind
from seiche.numbers.formats import Type, i32
from seiche.timespace.cadence import Cadence, Clock
from seiche.timespace.opened import INT
from seiche.timespace.pieces import Rows, stopped

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reach:
    """Which rows a window reads: tap k of output o is row `o * stride + k * dilation - low`."""

    count: int
    window: int = 1
    stride: int = 1
    dilation: int = 1
    low: int = 0

    def taps(self) -> Array:
        """`[count, window]`: the row of each tap."""
        return (
            np.arange(self.count)[:, None] * self.stride
            + np.arange(self.window) * self.dilation
            - self.low
        )

    def behind(self, x: Rows) -> int:
        """How many ticks after row 0 of x the first output is: each is made once its last row is there."""
        taps = self.taps()
        ahead = np.where(
            (taps >= 0) & (taps < x.count), taps - np.arange(self.count)[:, None] * self.stride, 0
        )
        return max(0, int(ahead.max())) * x.every


@dataclass(eq=False)
class Ring:
    """The line buffer of one stream; how many rows it holds is known when all its readers are."""

    x: Rows
    clock: Clock
    slots: Var
    depth: Var
    at: Var
    now: Var
    rows: int = 0
    olds: dict[Clock, Var] = field(default_factory=dict[Clock, Var])
    news: dict[Clock, Var] = field(default_factory=dict[Clock, Var])


class Lines:
    """All line buffers of a folded function."""

    def __init__(self, cadence: Cadence) -> None:
        self.c = cadence
        self.rings: dict[Var, Ring] = {}
        self.apart: dict[Var, Var] = {}

    # Reading.

    def fetch(self, x: Rows, reach: Reach, late: int, out: Var) -> Var:
        """The taps of each output, `window` of them along the axis of x, on the clock of the outputs.

        Around the rows of x stand those that it says, and zeros outside of these.
        """
        every = x.every * reach.stride
        if (reach.count - 1) * every >= self.c.rows:
            ticks = f"{self.c.rows} ticks of a frame"
            why = f"its {reach.count} rows, one every {every} ticks, do not fit the {ticks}"
            raise stopped(
                f"`{out.name}`",
                out,
                why,
                hint="a stack of rows may not grow: pad by less, or crop what was padded",
            )
        if x.inner > 1:
            return self._grouped(x, reach, late, out)
        reach = replace(reach, low=reach.low + x.low)
        clock, taps = self.c.clock(every, late), reach.taps()
        inside = (taps >= 0) & (taps < x.count)
        data = self._taps(x, reach, late, inside, clock)
        if inside.all():
            return data
        around = (taps >= -x.low) & (taps < x.count + x.high)
        first = self._first(reach, self.c.at(self.c.number(every, late), clock))
        data = self._masked(data, x, first, reach, (0, x.count), x.value)
        return (
            data
            if around.all() or not x.value
            else self._masked(data, x, first, reach, (-x.low, x.count + x.high), 0)
        )

    def _grouped(self, x: Rows, reach: Reach, late: int, out: Var) -> Var:
        """Several elements of the axis per row: they move together."""
        assert reach.window == 1
        if x.var not in self.apart:
            self.apart[x.var] = self.c.reshape(x.var, shape=(1, *x.chunk))
        apart = replace(x, var=self.apart[x.var], axis=0, inner=1)
        return self.c.reshape(self.fetch(apart, reach, late, out), shape=x.chunk)

    def _taps(self, x: Rows, reach: Reach, late: int, inside: Array, clock: Clock) -> Var:
        """The rows of the taps; anything where a tap is outside."""
        ages, arrives = self._ages(x, reach, late)
        steady = bool((ages == ages[0]).all())
        if steady and arrives and not ages[0].any() and clock is self.c.clock_of(x):
            return x.var
        direct = int((ages[0] <= 0).sum()) if steady and arrives else 0
        parts: list[Var] = []
        if direct < reach.window:
            kept, seen = ages[:, : reach.window - direct], inside[:, : reach.window - direct]
            needed = np.where(seen, kept, 0).max(initial=0) + (0 if arrives and steady else 1)
            ring = self._ring(x, int(max(1, needed)))
            newest = self._older(ring, x, reach, late, kept, steady, clock, arrives and steady)
            parts.append(newest)
        row = self.c.move(x.var, self.c.clock_of(x), clock) if direct else x.var
        parts += [row] * direct
        return parts[0] if len(parts) == 1 else self.c.concat(*parts, axis=x.axis)

    def _ages(self, x: Rows, reach: Reach, late: int) -> tuple[Array, bool]:
        """`[count, window]`: how many rows have come since that of each tap; and whether one comes with each output."""
        since = late - x.late + np.arange(reach.count) * x.every * reach.stride
        frames, within = since // self.c.rows, since % self.c.rows
        come = frames * -(-self.c.rows // x.every) + within // x.every
        return come[:, None] - reach.taps(), bool((within % x.every == 0).all())

    def _older(
        self,
        ring: Ring,
        x: Rows,
        reach: Reach,
        late: int,
        ages: Array,
        steady: bool,
        clock: Clock,
        before: bool,
    ) -> Var:
        """The rows of a ring at these ages; `before` the row of this tick takes the place of the oldest."""
        c, table = self.c, ages[:1] if steady else ages
        table = table if before else table + 1
        held = c.define(Lit(table.astype(np.int32)), Type(i32, table.shape), "ages")
        width = ages.shape[1]
        if steady:
            aged = c.reshape(held, shape=(width,))
        else:
            number = c.at(c.number(x.every * reach.stride, late), clock)
            aged = c.index(held, number, axis=0)
        at = c.broadcast(c.at(ring.at if before else ring.now, clock), shape=(width,))
        slot = c.mod(c.sub(at, aged), c.broadcast(ring.depth, shape=(width,)))
        slots = self._slots(ring, clock, before)
        return self._taken(slots, slot, x)

    def _taken(self, slots: Var, slot: Var, x: Rows) -> Var:
        """The rows at these slots, along the axis of x; how many slots there are is not known yet."""
        width = slot.type.shape[0]
        taken = self.c.define(
            Apply("take", (slots, slot), {"axis": 0}),
            Type(x.var.type.format, (width, *x.rest)),
            x.var.name,
        )
        return behind(self.c, taken, x.axis)

    def _first(self, reach: Reach, number: Var) -> Var:
        """Which row tap 0 reads."""
        c = self.c
        start = c.mul(number, c.int(reach.stride)) if reach.stride > 1 else number
        return c.sub(start, c.int(reach.low)) if reach.low else start

    def _masked(
        self, data: Var, x: Rows, first: Var, reach: Reach, span: tuple[int, int], value: Any
    ) -> Var:
        """Another value where a tap reads no row of that span."""
        c, width = self.c, reach.window
        steps = c.lit(np.arange(width) * reach.dilation, Type(i32, (width,)))
        row = c.add(c.broadcast(first, shape=(width,)), steps)
        low, high = (c.filled(bound, Type(i32, (width,))) for bound in span)
        good = c.logical_and(c.ge(row, low), c.lt(row, high))
        shape = tuple(width if k == x.axis else 1 for k in range(len(data.type.shape)))
        good = c.broadcast(c.reshape(good, shape=shape), shape=data.type.shape)
        return c.select(good, data, c.filled(value, data.type))

    # Writing.

    def _ring(self, x: Rows, rows: int) -> Ring:
        if x.var not in self.rings:
            c = self.c
            slots = c.declare(Type(x.var.type.format), f"{x.var.name}.lines")
            depth, at, now = (
                c.declare(INT, f"{x.var.name}.{name}") for name in ("depth", "slot", "slot")
            )
            self.rings[x.var] = Ring(x, c.clock_of(x), slots, depth, at, now)
        ring = self.rings[x.var]
        ring.rows = max(ring.rows, rows)
        return ring

    def _slots(self, ring: Ring, clock: Clock, before: bool) -> Var:
        """The rows of a ring as they are read on a clock, before or after the row of this tick is written."""
        seen = ring.olds if before else ring.news
        if clock not in seen:
            seen[clock] = self.c.declare(ring.slots.type, ring.slots.name)
        return seen[clock]

    def finish(self) -> None:
        """The equations of the rings."""
        for ring in self.rings.values():
            self._write(ring)

    def _write(self, ring: Ring) -> None:
        c, x = self.c, ring.x
        c.loc, c.scope = ring.slots.loc, ring.slots.scope
        kind = Type(x.var.type.format, (ring.rows, *x.rest))
        for var in (ring.slots, *ring.olds.values(), *ring.news.values()):
            var.type = kind
        c.equation(ring.depth, Lit(np.asarray(ring.rows, np.int32)))
        own, readers = ring.clock, {*ring.olds, *ring.news}
        home = own if readers <= {own} else None
        row = c.reshape(x.var, shape=x.rest)
        slots = c.at(ring.slots, own) if home is not own else ring.slots
        at = c.at(ring.at, own)
        written = c.update(slots, row, at, axis=0)
        if home is not own:
            assert own is not None
            written = c.define(
                Merge(own, written, c.when(ring.slots, own, False)), kind, ring.slots.name
            )
        c.equation(ring.slots, Fby(c.zeros(kind), written))
        self._count(ring)
        for clock, var in ring.olds.items():
            self._same(var, ring.slots, home, clock)
        for clock, var in ring.news.items():
            self._same(var, written, home, clock)

    def _count(self, ring: Ring) -> None:
        """Where the next row goes."""
        c = self.c
        more = c.add(ring.at, c.int(1))
        following = c.select(c.lt(more, ring.depth), more, c.int(0))
        if ring.clock is not None:
            following = c.select(ring.clock, following, ring.at)
        c.equation(ring.at, Fby(c.int(0), following))
        c.same[ring.now] = following

    def _same(self, var: Var, of: Var, home: Clock, clock: Clock) -> None:
        """A declared Var is that one, on its own clock."""
        c = self.c
        c.same[var] = of if clock is home else c.when(of, clock) if clock is not None else of
