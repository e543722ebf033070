"""The work of a slower clock, done in slots at the ticks that follow: what leaves it comes with the clock's next tick.

    y, s.next = f(x, s) at the ticks where k     |-     at the first tick after k: slot 0; then slot 1; ...
                                                        where k next: y of the last time leaves

Equal to a program in which all that leaves the clock's region is late by one of its ticks, absent at the first. Between slots, values are
kept in states of the base clock, overwritten in place; a scan goes on from tick to tick as one in chunks does (`diff.resume`). Rows
that were collected since the clock's last tick are not copied: the next ones go to the other half of the buffer.

What cannot be: a stream that returns to the ticks of its frame, or a choice whose other branch is not there at each tick (SE912).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seiche.diff.resume import held
from seiche.errors import fail
from seiche.ir import core
from seiche.ir.clocks import Clock
from seiche.ir.core import (
    Check,
    Equation,
    Fby,
    Merge,
    Node,
    Var,
    When,
)
from seiche.numbers.formats import Type
from seiche.schedule.counters import Rows, collected
from seiche.schedule.emit import BOOL, INT, Emitter
from seiche.schedule.portion import Portion
from seiche.schedule.slots import Region, Slot, cost, is_free, readers_of


@dataclass(frozen=True)
class Amortised:
    """A node whose region runs in slots. `gates[i]`: true at the ticks of slot i; `done`: where results leave."""

    node: Node
    slots: tuple[Slot, ...]
    gates: tuple[Var, ...]
    done: Var


def amortised(region: Region, slots: Sequence[Slot], watched: bool) -> Amortised:
    """The node with that region in slots. `watched`: a check says where the clock comes again before the work is done (SE913)."""
    return _Rewriting(region, slots, watched).run()


class _Rewriting:
    def __init__(self, region: Region, slots: Sequence[Slot], watched: bool) -> None:
        self.region, self.watched = region, watched
        self.b = Emitter(region.node.loc)
        self.made: dict[tuple[Var, int], Var] = {}
        self.memories: dict[Var, Var] = {}
        self.halves: dict[Var, tuple[Rows, Var]] = {}
        self.more: list[tuple[Var, int]] = []
        self.next = {
            eq.rhs.arg: state for state, eq in reversed(region.states.items())
            if isinstance(eq.rhs, Fby) and not region.below(state)
        }  # fmt: skip
        self._place(list(slots) or [Slot(())])

    # Which slot does what.

    def _place(self, slots: list[Slot]) -> None:
        """The slot of each unit; and of each state the one where it takes its next value, after all who read the old one."""
        self.slot = {eq: i for i, slot in enumerate(slots) for eq in slot.eqs}
        self.slots, region = slots, self.region
        self.commit = dict.fromkeys(region.states, 0)
        for eq, i in self.slot.items():
            for state in region.states_read(eq):
                self._not_before(state, i)
        for state in region.states:
            self._not_before(state, 0)
        moving = True
        while moving:
            before = dict(self.commit)
            for state, eq in region.states.items():
                assert isinstance(eq.rhs, Fby)
                for v in (eq.rhs.arg, *(c for c, _ in region.below(state))):
                    for unit in region.made_by(v):
                        self._not_before(state, self.slot[unit])
                    for read in self._states_in(v):
                        self._not_before(read, self.commit[state])
            moving = before != self.commit

    def _states_in(self, var: Var) -> list[Var]:
        """The states that a next value is, or shows."""
        if var in self.region.states:
            return [var]
        shown = var in self.region.members and var not in self.region.entries
        return (
            list(self.region.states_read(self.region.defs[var]))
            if shown and is_free(self.region.defs[var])
            else []
        )

    def _not_before(self, state: Var, i: int) -> None:
        """Only a slot of one tick will do, as it is taken once."""
        i = max(i, self.commit[state])
        while i < len(self.slots) and self.slots[i].rows is not None:
            i += 1
        if i == len(self.slots):
            self.slots.append(Slot(()))
        self.commit[state] = i

    # The node.

    def run(self) -> Amortised:
        b, region = self.b, self.region
        self._control()
        self._halves()
        for i, slot in enumerate(self.slots):
            for eq in slot.eqs:
                self._unit(eq, i, slot.rows)
        for state in region.states:
            self._state(state)
        outside, outputs = self._outside()
        checks = tuple(self._check(c) for c in region.node.checks)
        self._advance()
        if self.watched:
            checks = (*checks, self._watch())
        node = replace(region.node, eqs=[*outside, *b.eqs], outputs=outputs, checks=checks)
        return Amortised(core.live(node), tuple(self.slots), tuple(self.gates), self.done)

    def _control(self) -> None:
        """The slot of this tick, the rows that its scan has behind it, and where the work of the clock's last tick is done."""
        b, cond = self.b, self.region.cond
        b.serve(cond)
        self.starts = cond if self.region.on else b.logical_not(cond)
        self.phase, self.rows = b.declare(INT, "slot"), b.declare(INT, "rows_done")
        self.gates = [b.eq(self.phase, b.int(i)) for i in range(len(self.slots))]
        for i, gate in enumerate(self.gates):
            gate.name = f"slot{i}"
        begun = b.declare(BOOL, "begun")
        b.equation((begun,), Fby(b.false(), b.logical_or(begun, self.starts)))
        self.done = b.logical_and(begun, self.starts)
        self.done.name = cond.name
        self.half: Var | None = None

    def _advance(self) -> None:
        """The next slot, or the next rows of this one."""
        b, last = self.b, len(self.slots)
        b.serve(self.region.cond)
        onward = b.minimum(b.add(self.phase, b.int(1)), b.int(last))
        rows, unfinished = b.int(0), None
        for more, i in self.more:
            chunk = self.slots[i].rows
            assert chunk is not None
            rows = b.select(more, b.add(self.rows, b.int(chunk)), rows)
            unfinished = b.either(unfinished, more)
        if unfinished is not None:
            onward = b.select(unfinished, self.phase, onward)
        rows = b.select(self.starts, b.int(0), rows)
        b.equation((self.phase,), Fby(b.int(last), b.select(self.starts, b.int(0), onward)))
        b.equation((self.rows,), Fby(b.int(0), rows))

    def _watch(self) -> Check:
        b = self.b
        idle = b.ge(self.phase, b.int(len(self.slots)))
        fits = b.logical_or(b.logical_not(self.starts), idle)
        ticks = sum(slot.ticks for slot in self.slots)
        name, main = self.region.cond.name, max(self.slot, key=cost, default=None)
        text = f"`{name}` came again before the work of the last time was done, which takes up to {ticks} ticks"
        return Check(
            fits, "SE913", text, self.region.cond.loc if main is None else main.outs[0].loc
        )

    # What the region reads and leaves.

    def gate(self, i: int) -> Var:
        """The condition of slot i; after the last, that of what leaves."""
        return self.gates[i] if i < len(self.slots) else self.done

    def clock(self, var: Var, i: int) -> Clock:
        """The clock of a Var of the region, in slot i."""
        return ((self.gate(i), True), *((self.at(c, i), on) for c, on in self.region.below(var)))

    def at(self, var: Var, i: int) -> Var:
        """A Var as it is read in slot i."""
        if var in self.region.fixed:
            return var
        if (var, i) not in self.made:
            self.b.serve(var)
            self.made[var, i] = self._read(var, i)
        return self.made[var, i]

    def _read(self, var: Var, i: int) -> Var:
        b, region = self.b, self.region
        state = self.next.get(var)
        if state is not None and i > self.commit[state]:
            return b.when(self.memory(state), self.gate(i))
        if var in self.halves:
            return self._half(var, i)
        if var in region.entries:
            return b.when(self.memory(var), self.gate(i))
        if var in region.states:
            kept = self.memory(var) if i <= self.commit[var] else self._copied(var)
            return b.sampled(kept, self.clock(var, i))
        eq = region.defs[var]
        if is_free(eq):
            rhs = core.substitute(eq.rhs, lambda v: self.at(v, i))
            b.serve(var)
            return b.define(rhs, var.type, var.name)
        return b.sampled(self.memory(var), self.clock(var, i))

    def memory(self, var: Var) -> Var:
        """A Var of the region at every tick of the base clock, from its slot on: an entry, a state, or a result."""
        if var not in self.memories:
            b, region = self.b, self.region
            b.serve(var)
            self.memories[var] = kept = b.declare(var.type, var.name)
            if var in region.entries:
                now = region.entries[var].rhs
                assert isinstance(now, When)
                self._keep(kept, region.cond, region.on, b.when(now.arg, region.cond, region.on))
            elif var not in region.states:
                i = self.slot[region.defs[var]]
                self._keep(kept, self.gates[i], True, self._whole(self.made[var, i], var, i))
        return self.memories[var]

    def _keep(self, kept: Var, cond: Var, on: bool, value: Var) -> None:
        """kept = the last value where `cond` was `on`, one tick late."""
        b = self.b
        before = b.when(kept, cond, not on)
        after = b.merge(cond, *((value, before) if on else (before, value)))
        b.equation((kept,), Fby(None, after))

    def _whole(self, value: Var, var: Var, i: int) -> Var:
        """A value of a slower clock at every tick of its slot: zeros where it is absent."""
        b, path = self.b, self.clock(var, i)[1:]
        for cond, on in reversed(path):
            zero = b.zeros(value.type)
            value = b.merge(cond, *((value, zero) if on else (zero, value)))
        return value

    def _copied(self, state: Var) -> Var:
        """What a state was in this work, when it has its next value already."""
        b = self.b
        b.serve(state)
        kept = b.declare(state.type, f"{state.name}.before")
        self._keep(kept, self.gates[0], True, b.when(self.memory(state), self.gates[0]))
        return kept

    def _state(self, state: Var) -> None:
        """The memory of a state takes its next value."""
        b, i = self.b, self.commit[state]
        eq = self.region.states[state]
        assert isinstance(eq.rhs, Fby)
        kept = self.memory(state)
        next = self.at(eq.rhs.arg, i)
        b.serve(state)
        now = ((self.gates[i], True),)
        clock = self.clock(state, i)[1:]
        if clock:
            next = held(b, next, b.sampled(kept, now), clock)
        after = b.merge(self.gates[i], next, b.when(kept, self.gates[i], False))
        b.equation((kept,), Fby(eq.rhs.init, after))

    def _outside(self) -> tuple[list[Equation], tuple[Var, ...]]:
        """The equations around the region, and the outputs."""
        region, last = self.region, len(self.slots)
        gone = {eq for rows, _ in self.halves.values() for eq in (rows.state, rows.filled)}
        eqs = [
            self._choice(eq, eq.rhs)
            if isinstance(eq.rhs, Merge) and eq.rhs.cond is region.cond
            else eq
            for eq in region.node.eqs
            if eq not in gone and not region.inside(eq.outs[0])
        ]
        outputs = tuple(self.at(v, last) if v in region.members else v for v in region.node.outputs)
        return eqs, outputs

    def _choice(self, eq: Equation, rhs: Merge) -> Equation:
        """A choice between what leaves and something else: now where it leaves."""
        b, region = self.b, self.region
        ours, other = (rhs.yes, rhs.no) if region.on else (rhs.no, rhs.yes)
        if ours not in region.members and ours not in region.fixed:
            return eq
        found = region.defs.get(other)
        there = (
            found is not None and isinstance(found.rhs, When) and not region.clocks[found.rhs.arg]
        )
        if not (there or other in region.fixed):
            raise self._no_choice(eq.out, other)
        late = self.at(ours, len(self.slots))
        b.serve(eq.out)
        if other not in region.fixed:
            assert found is not None and isinstance(found.rhs, When)
            other = b.when(found.rhs.arg, self.done, False)
        return Equation(eq.outs, Merge(self.done, late, other))

    def _no_choice(self, out: Var, other: Var) -> Exception:
        name = self.region.cond.name
        why = (
            f"at its first tick nothing leaves yet, and `{other.name}` is not there either",
            other.loc,
        )
        return fail(
            "SE912", f"`{out.name}` needs a result of the clock `{name}`, which comes late", out.loc, why,
            hint="take the result with `hold`, or let the other branch be a sample of a stream of the clock around",
        )  # fmt: skip

    def _check(self, check: Check) -> Check:
        """A check of the region is made in its slot."""
        units = self.region.made_by(check.cond) if check.cond in self.region.members else ()
        if check.cond not in self.region.members:
            return check
        return replace(
            check, cond=self.at(check.cond, max((self.slot[u] for u in units), default=0))
        )

    # Rows that are collected in one half of a buffer while the other is worked on.

    def _halves(self) -> None:
        region = self.region
        if not region.on:
            return
        readers = readers_of(region.node)
        for var, sample in region.entries.items():
            rows = collected(region.defs, readers, sample, region.cond)
            if rows is not None:
                self.halves[var] = rows, self._two(rows)

    def _two(self, rows: Rows) -> Var:
        """Both halves, one after the other."""
        b, kept = self.b, rows.state.out
        if self.half is None:
            b.serve(self.region.cond)
            self.half = b.declare(INT, "half")
            other = b.sub(b.int(1), self.half)
            b.equation((self.half,), Fby(b.int(0), b.select(self.starts, other, self.half)))
        b.serve(kept)
        n = kept.type.shape[0]
        two = b.declare(Type(kept.type.format, (2 * n, *kept.type.shape[1:])), kept.name)
        place = b.add(rows.count, b.mul(self.half, b.int(n)))
        b.equation((two,), Fby(None, b.update(two, rows.row, place, axis=0)))
        return two

    def _half(self, var: Var, i: int) -> Var:
        """The rows that were there at the clock's last tick."""
        b, (rows, two) = self.b, self.halves[var]
        assert self.half is not None
        shape = rows.state.out.type.shape
        there = b.reshape(b.when(two, self.gate(i)), shape=(2, *shape))
        other = b.sub(b.int(1), b.when(self.half, self.gate(i)))
        found = b.index(there, other, axis=0)
        found.name = var.name
        return found

    def first_row(self, var: Var, i: int) -> tuple[Var, Var] | None:
        """Both halves, and where the rows of the clock's last tick begin; None where it is no such buffer."""
        if var not in self.halves:
            return None
        b, (rows, two) = self.b, self.halves[var]
        assert self.half is not None
        n = b.int(rows.state.out.type.shape[0])
        return b.when(two, self.gate(i)), b.sub(n, b.mul(b.when(self.half, self.gate(i)), n))

    # Slots.

    def _unit(self, eq: Equation, i: int, rows: int | None) -> None:
        if rows is not None:
            Portion(self, eq, i, rows).run()
            return
        rhs = core.substitute(eq.rhs, lambda v: self.at(v, i))
        for condition in self.region.below(eq.outs[0]):
            self.at(condition[0], i)
        outs = tuple(Var(v.name, v.type, v.loc, v.scope) for v in eq.outs)
        self.b.equation(outs, rhs)
        self.made.update(((old, i), new) for old, new in zip(eq.outs, outs, strict=True))
