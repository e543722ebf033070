"""A scan: the sweeps of its body, one loop each, forward or backward, over the rows of one tick.

    streams    mapped arguments, and what an earlier sweep leaves for later ones: `[extent, ...]`
    constants  the other arguments and all that is computed from them alone: once, before the rows
    carry      what the states hold; and the results "last" of a forward sweep, "first" of a backward one

A scan whose length is fixed is a `lax.scan`; with a dynamic `length` it is a loop of that many turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seiche.backends.xla import rowwise, ticks
from seiche.backends.xla.fission import Split, Splitter, Sum
from seiche.backends.xla.library import Array, jnp, lax
from seiche.ir.clocks import conditions_of
from seiche.ir.core import Apply, Equation, Fby, Lit, Post, Scan, Var, operands
from seiche.schedule.sweeps import Sweep, crossing

Row = dict[Var, Array]


@dataclass(frozen=True)
class Work:
    """What one sweep does: its parts, the streams that its loop reads and makes, its states, the results that it carries."""

    sweep: Sweep
    split: Split
    reads: tuple[Var, ...]
    makes: tuple[Var, ...]
    states: tuple[Equation, ...]
    ends: tuple[Var, ...]
    begins: tuple[Var, ...]


class Body:
    """The body of a scan."""

    def __init__(self, scan: Scan) -> None:
        self.scan, self.node = scan, scan.body
        self.equations = ticks.Equations(scan.body)
        self.kinds = list(zip(self.node.outputs, scan.outs, strict=True))
        given = list(zip(self.node.inputs, scan.mapped, strict=True))
        self.streams = {v for v, mapped in given if mapped}
        self.fixed = {v for v, mapped in given if not mapped}
        self.crossing = crossing(self.equations.sweeps, self.node)
        self.once = self._once()
        self.works = tuple(map(self._work, self.equations.sweeps))
        self.equations.kept |= {v for work in self.works for v in work.makes}

    def _once(self) -> tuple[Equation, ...]:
        """Equations of constants alone, in order; what they define is constant too."""
        once: list[Equation] = []
        for sweep in self.equations.sweeps:
            for eq in sweep.eqs:
                base = not self.equations.clocks[eq.outs[0]]
                if (
                    base
                    and isinstance(eq.rhs, Lit | Apply | Scan)
                    and self.fixed.issuperset(operands(eq.rhs))
                ):
                    once.append(eq)
                    self.fixed.update(eq.outs)
        return tuple(once)

    def _work(self, sweep: Sweep) -> Work:
        eqs = [eq for eq in sweep.eqs if eq not in set(self.once)]
        made = {out for eq in eqs for out in eq.outs}
        ends, begins = ("first", "last") if sweep.reverse else ("last", "first")
        owed = (self.crossing | {v for v, kind in self.kinds if kind == "stack"}) & made
        end, begin = (
            {v for v, kind in self.kinds if kind == k and v in made} for k in (ends, begins)
        )
        split = Splitter(self.equations, eqs, self.streams, self.fixed, owed, end | begin).run()
        self.streams.update(out for eq in split.before for out in eq.outs)
        looped = {out: None for eq in split.loop for out in eq.outs}
        read = [
            v
            for eq in split.loop
            for v in (*operands(eq.rhs), *conditions_of(eq, self.equations.clocks))
        ]
        reads = tuple(v for v in dict.fromkeys(read) if v in self.streams)
        makes = tuple(v for v in looped if v in owed | split.demanded)
        self.streams.update(makes)
        self.streams.update(eq.out for eq in split.late)
        states = tuple(eq for eq in split.loop if isinstance(eq.rhs, Fby | Post))
        carried = {v: None for v, _ in self.kinds if v in looped and v not in self.streams}
        return Work(
            sweep, split, reads, makes, states, tuple(v for v in carried if v in end),
            tuple(v for v in carried if v in begin),
        )  # fmt: skip

    def run_rows(self, scan: Scan, env: Row) -> list[Array]:
        """The results of the scan, from the values of its arguments."""
        length = None if scan.length is None else jnp.clip(env[scan.length], 1, scan.extent)
        given = list(zip(self.node.inputs, (env[a] for a in scan.args), scan.mapped, strict=True))
        fixed = ticks.Tick({v: x for v, x, mapped in given if not mapped}, {})
        self.equations.run(self.once, fixed)
        streams = {v: x for v, x, mapped in given if mapped}
        found: dict[tuple[Var, str], Array] = {}
        for work in self.works:
            self._sweep(work, fixed.env, streams, length, found)
        return [
            self._leave(out, kind, fixed.env, streams, length, found) for out, kind in self.kinds
        ]

    def _sweep(
        self, work: Work, fixed: Row, streams: Row, length: Array | None, found: dict[tuple[Var, str], Array]
    ) -> None:  # fmt: skip
        """Runs one sweep: adds the streams that it makes, and the results that it carries."""
        self._all_rows(work.split.before, fixed, streams)
        if work.makes or work.ends or work.begins:
            self._loop(work, fixed, streams, length, found)
        self._all_rows(work.split.late, fixed, streams)
        end = "first" if work.sweep.reverse else "last"
        for one in work.split.sums:
            found[one.total, end] = self._sum(one, fixed, streams, length)

    def _loop(
        self, work: Work, fixed: Row, streams: Row, length: Array | None, found: dict[tuple[Var, str], Array]
    ) -> None:  # fmt: skip
        slots = Slots(work, fixed)

        def row(
            carry: list[Array], here: tuple[Array, list[Array]]
        ) -> tuple[list[Array], list[Array]]:
            first, rows = here
            tick = ticks.Tick(
                {**fixed, **dict(zip(work.reads, rows, strict=True))}, slots.memory(carry)
            )
            self.equations.run(work.split.loop, tick)
            return slots.following(carry, tick, first), [tick.env[v] for v in work.makes]

        loop = Loop(self.scan.extent, length, work.sweep.reverse)
        carry, made = loop.run(row, slots.start(), [streams[v] for v in work.reads], work.makes)
        streams.update(zip(work.makes, made, strict=True))
        found.update(slots.results(carry))

    def _all_rows(self, eqs: Sequence[Equation], fixed: Row, streams: Row) -> None:
        """Equations on all rows at once."""
        for eq in eqs:
            assert isinstance(eq.rhs, Apply)
            mapped = [v in streams for v in eq.rhs.args]
            args = [
                streams[v] if has else fixed[v] for v, has in zip(eq.rhs.args, mapped, strict=True)
            ]
            use, loc = self.equations.uses[eq], eq.out.loc
            made = rowwise.all_rows(eq.rhs.op, use, args, mapped, self.scan.extent, loc)
            streams[eq.out] = self.equations.as_written(eq.out, made)

    def _sum(self, one: Sum, fixed: Row, streams: Row, length: Array | None) -> Array:
        """The sum over the rows; those beyond the length count for nothing."""
        terms = [self._valid(streams[v], length) for v in one.reads]
        if one.product is None:
            total = jnp.sum(terms[0], axis=0, dtype=terms[0].dtype)
        else:
            total = rowwise.summed_product(self.equations.uses[one.product], *terms)
        return total if one.init is None else fixed[one.init] + total

    def _valid(self, whole: Array, length: Array | None) -> Array:
        """A stream with zeros from the length on."""
        if length is None:
            return whole
        valid = lax.iota(jnp.int32, self.scan.extent) < length
        return jnp.where(
            valid.reshape(-1, *(1,) * (whole.ndim - 1)), whole, jnp.zeros((), whole.dtype)
        )

    def _leave(
        self, out: Var, kind: str, fixed: Row, streams: Row, length: Array | None, found: dict[tuple[Var, str], Array]
    ) -> Array:  # fmt: skip
        """An output of the scan."""
        if (out, kind) in found:
            return found[out, kind]
        extent = self.scan.extent
        if out in fixed and kind != "stack":
            return fixed[out]
        whole = (
            streams[out]
            if out in streams
            else jnp.broadcast_to(fixed[out], (extent, *out.type.shape))
        )
        if kind == "first":
            return whole[0]
        if kind == "last":
            return (
                whole[-1]
                if length is None
                else lax.dynamic_index_in_dim(whole, length - 1, 0, False)
            )
        return self._valid(whole, length)


class Slots:
    """The carry of a sweep: states that hold the same share a slot, and a result that a state holds anyway needs none."""

    def __init__(self, work: Work, fixed: Row) -> None:
        self.work = work
        self.starts: list[Array] = []
        self.slot: dict[Var, int] = {}
        self.carried: dict[Var, int] = {}
        same: dict[tuple[Var, Var | None], int] = {}
        for eq in work.states:
            init, arg = self._parts(eq)
            if (arg, init) not in same:
                same[arg, init] = len(self.starts)
                self.starts.append(ticks.blank(eq.out.type) if init is None else fixed[init])
            self.slot[eq.out] = same[arg, init]
            self.carried.setdefault(arg, same[arg, init])
        for out in work.ends:
            if out not in self.carried:
                self.carried[out] = len(self.starts)
                self.starts.append(ticks.blank(out.type))
        self.firsts = {out: len(self.starts) + k for k, out in enumerate(work.begins)}
        self.starts += [ticks.blank(out.type) for out in work.begins]

    @staticmethod
    def _parts(eq: Equation) -> tuple[Var | None, Var]:
        assert isinstance(eq.rhs, Fby | Post)
        return (eq.rhs.init if isinstance(eq.rhs, Fby) else eq.rhs.final), eq.rhs.arg

    def start(self) -> list[Array]:
        return [jnp.asarray(x) for x in self.starts]

    def memory(self, carry: Sequence[Array]) -> Row:
        """What the states give at this row."""
        return {var: carry[k] for var, k in self.slot.items()}

    def following(self, carry: Sequence[Array], tick: ticks.Tick, first: Array) -> list[Array]:
        """The carry of the next row; `first` says whether this is the first one to run."""
        new = list(carry)
        for var, k in self.slot.items():
            new[k] = tick.following[var]
        states = set(self.slot.values())
        for out in self.work.ends:
            if self.carried[out] not in states:
                new[self.carried[out]] = tick.env[out]
        for out, k in self.firsts.items():
            new[k] = jnp.where(first, tick.env[out], carry[k])
        return new

    def results(self, carry: Sequence[Array]) -> dict[tuple[Var, str], Array]:
        """The results that the carry holds after the last row."""
        end, begin = ("first", "last") if self.work.sweep.reverse else ("last", "first")
        found = {(out, end): carry[self.carried[out]] for out in self.work.ends}
        return found | {(out, begin): carry[k] for out, k in self.firsts.items()}


@dataclass(frozen=True)
class Loop:
    """Rows 0 to `length` (all `extent` of them where it is None), in either direction."""

    extent: int
    length: Array | None
    reverse: bool

    def run(
        self,
        row: Callable[[list[Array], tuple[Array, list[Array]]], tuple[list[Array], list[Array]]],
        start: list[Array],
        streams: list[Array],
        makes: Sequence[Var],
    ) -> tuple[list[Array], list[Array]]:
        """The last carry, and the streams made: zeros where no row was run."""
        start_at = None if not streams else streams[0]
        made = [_room((self.extent, *v.type.shape), v.type.format.dtype, start_at) for v in makes]
        length = self.extent if self.length is None else self.length

        def turn(
            i: Array, both: tuple[list[Array], list[Array]]
        ) -> tuple[list[Array], list[Array]]:
            carry, made = both
            r = length - 1 - i if self.reverse else i
            here = [lax.dynamic_index_in_dim(x, r, 0, keepdims=False) for x in streams]
            carry, new = row(carry, (i == 0, here))
            made = [
                lax.dynamic_update_index_in_dim(x, y, r, 0) for x, y in zip(made, new, strict=True)
            ]
            return carry, made

        return lax.fori_loop(0, length, turn, (start, made))


def _room(shape: tuple[int, ...], dtype: Any, after: Array | None) -> Array:
    """Zeros for what a loop makes; allocated when `after` is there, and not while earlier loops run.

    A constant is made as early as can be: so the zero is computed, from an element that is not both above and below zero.
    """
    if after is None:
        return jnp.zeros(shape, dtype)
    some = after[(0,) * after.ndim].astype(jnp.int32)
    never = (some > 0) & (some < 0)
    return jnp.broadcast_to(never.astype(dtype), shape)
