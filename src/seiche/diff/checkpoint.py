"""Scans that recompute what they would keep for a later, opposite sweep: a tape of one chunk in place of a tape of all rows.

    ys, tape = scan f(xs[]), state s                       [n rows]
    zs       = scan g(tape[], xs[]), costate c             [n rows, the other way]
    |-
    ys, s0   = scan over chunks:  ys, s.next = scan f(xs[]) from s            s0: the state where each chunk opens
    zs       = scan over chunks, the other way:
                   tape        = scan f(xs[]) from s0[]                       [the rows of one chunk]
                   zs, c.prev  = scan g(tape[], xs[]) from c

Every row is computed by the same equations from the same values in the same order: the results are equal in bits. Kept are
the states of n / rows chunks and the tape of one; the two inner scans are such a pair again, and may be cut further.

Griewank 1992, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation"; Chen et al.
2016, "Training deep nets with sublinear memory cost". Nested loops in place of a binomial schedule: these are programs.

The bodies are in the form that lowering gives, with one sweep each (`schedule.distribute`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from seiche.diff.chunks import Chunk, Grid
from seiche.diff.resume import resumed
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.clocks import constants
from seiche.ir.core import Equation, Fby, Node, OutKind, Post, Scan, Var, operands

Levels: TypeAlias = tuple[int, ...]
"""Rows of a chunk, of a chunk of a chunk, ...; () leaves the tape as it is."""
Choose: TypeAlias = "Callable[[Pair], Levels]"


@dataclass(frozen=True, eq=False)
class Pair:
    """A scan that leaves rows for scans of the other direction alone; `kept` are these rows."""

    first: Equation
    readers: tuple[Equation, ...]
    kept: tuple[Var, ...]

    @property
    def scan(self) -> Scan:
        return _scan(self.first)

    @property
    def extent(self) -> int:
        return self.scan.extent

    @property
    def tape_bytes(self) -> int:
        return sum(v.type.nbytes for v in self.kept)

    @property
    def state_bytes(self) -> int:
        """What is kept where a chunk opens."""
        return sum(eq.out.type.nbytes for eq in self.again().eqs if isinstance(eq.rhs, Fby | Post))

    def again(self, kept: Iterable[Var] | None = None) -> Node:
        """What of the body gives these rows (all by default)."""
        row = dict(zip(self.first.outs, self.scan.body.outputs, strict=True))
        outputs = tuple(row[v] for v in (self.kept if kept is None else kept))
        return core.live(replace(self.scan.body, outputs=outputs, checks=()))


def _scan(eq: Equation) -> Scan:
    assert isinstance(eq.rhs, Scan)
    return eq.rhs


def way(body: Node) -> Literal["forward", "backward", "either", "both"]:
    """How the rows of a body follow each other."""
    forward = any(isinstance(eq.rhs, Fby) for eq in body.eqs)
    backward = any(isinstance(eq.rhs, Post) for eq in body.eqs)
    return ("both" if backward else "forward") if forward else "backward" if backward else "either"


# Pairs.


def pairs(node: Node) -> Iterator[Pair]:
    """The pairs of a node, not of bodies; no scan is in two of them."""
    readers, used = _readers(node), set[Equation]()
    for eq in node.eqs:
        if eq in used or not isinstance(eq.rhs, Scan) or eq.rhs.extent < 2:
            continue
        rows: dict[Var, list[Equation]] = {}
        for out, kind in zip(eq.outs, eq.rhs.outs, strict=True):
            found = readers.get(out, [])
            fits = kind == "stack" and found and all(_takes_rows(eq.rhs, out, r) for r in found)
            if fits and not used.intersection(found):
                rows[out] = found
        later = tuple(dict.fromkeys(r for found in rows.values() for r in found))
        if rows and not _waits(node, eq, later):
            used.update((eq, *later))
            yield Pair(eq, later, tuple(rows))


def _readers(node: Node) -> dict[Var, list[Equation]]:
    """The equations that read each Var; outputs and checks read as one that takes no rows."""
    found: dict[Var, list[Equation]] = {}
    outside = Equation((), core.Call(node, (*node.outputs, *(check.cond for check in node.checks))))
    for eq in (*node.eqs, outside):
        for var in dict.fromkeys(operands(eq.rhs)):
            found.setdefault(var, []).append(eq)
    return found


def _takes_rows(one: Scan, rows: Var, reader: Equation) -> bool:
    """Whether a reader takes these rows one by one, in the other direction."""
    two = reader.rhs
    if not isinstance(two, Scan) or two.extent != one.extent or two.length is not one.length:
        return False
    mapped = all(m for a, m in zip(two.args, two.mapped, strict=True) if a is rows)
    ways = {way(one.body), way(two.body)}
    return mapped and "both" not in ways and "backward" in ways and len(ways) == 2


def _waits(node: Node, first: Equation, later: tuple[Equation, ...]) -> bool:
    """Whether the first scan needs what one of its readers gives: within the instant it cannot."""
    defs, seen, todo = node.definitions(), set[Var](), list(operands(first.rhs))
    while todo:
        var = todo.pop()
        if var in seen or var not in defs:
            continue
        seen.add(var)
        if defs[var] in later:
            return not isinstance(defs[var].rhs, Fby)
        if not isinstance(defs[var].rhs, Fby):
            todo += operands(defs[var].rhs)
    return False


# Rewriting.


def checkpoint(node: Node, choose: Choose) -> Node:
    """The node with its pairs cut into the chunks that `choose` asks for, inside bodies too; equal in bits."""
    eqs = [
        Equation(eq.outs, replace(eq.rhs, body=checkpoint(eq.rhs.body, choose)))
        if isinstance(eq.rhs, Scan)
        else eq
        for eq in node.eqs
    ]
    node = replace(node, eqs=eqs)
    for pair in list(pairs(node)):
        levels = choose(pair)
        if levels:
            node = cut(node, pair, levels)
    return node


def cut(node: Node, pair: Pair, levels: Levels) -> Node:
    """The node with one pair in chunks of `levels[0]` rows, in chunks of `levels[1]`, ..."""
    first, *readers = _Cut(pair, levels, constants(node)).run()
    instead = {pair.first: first, **dict(zip(pair.readers, readers, strict=True))}
    return replace(node, eqs=[new for eq in node.eqs for new in instead.get(eq, [eq])])


class _Cut:
    def __init__(self, pair: Pair, levels: Levels, fixed: set[Var]) -> None:
        self.pair, self.levels, self.fixed = pair, levels, fixed
        at = pair.first.outs[0]
        self.grid = Grid(Builder(at.loc, at.scope), pair.scan.extent, levels[0], pair.scan.length)
        self.stored: dict[Var, Var] = {}

    def run(self) -> Iterator[list[Equation]]:
        """What comes in place of the first scan, then of each reader."""
        for make in (self._first, *(lambda r=r: self._reader(r) for r in self.pair.readers)):
            new = make()
            yield [*self.grid.b.eqs, *new]
            self.grid.b.eqs = []

    def _first(self) -> list[Equation]:
        """The scan over chunks that leaves no tape, but the states where chunks open."""
        pair, scan = self.pair, self.pair.scan
        left = [k for k, out in enumerate(pair.first.outs) if out not in pair.kept]
        again = set(pair.again().eqs)
        needed = replace(scan.body, outputs=tuple(scan.body.outputs[k] for k in left), checks=())
        wanted = again.union(core.live(needed).eqs)
        body = replace(needed, eqs=[eq for eq in scan.body.eqs if eq in wanted])
        chunk = Chunk(self.grid, pair.first.outs[0])
        kinds: tuple[OutKind, ...] = tuple(scan.outs[k] for k in left)
        outs, states = chunk.carry(resumed(body), scan, kinds, {})
        for k, var in zip(left, outs, strict=True):
            self._leave(chunk, var, scan.outs[k], pair.first.outs[k])
        for eq in scan.body.eqs:
            if eq in again and isinstance(eq.rhs, Fby | Post):
                old = eq.out
                rows = old.type.format[(self.grid.count, *old.type.shape)]
                self.stored[old] = Var(old.name, rows, old.loc, old.scope)
                chunk.leave(states[old], "stack", self.stored[old])
        return [self._anchored(chunk, scan).equation(scan.body.name)] if chunk.outputs else []

    def _reader(self, reader: Equation) -> list[Equation]:
        """The scan over chunks that recomputes the tape of each, and reads it."""
        pair, first, scan = self.pair, self.pair.scan, _scan(reader)
        chunk = Chunk(self.grid, reader.outs[0])
        read = tuple(v for v in pair.kept if v in scan.args)
        open = resumed(pair.again(read))
        starts = {d.start: (chunk.row(self.stored[d.old]), False) for d in open.delays}
        stacks: list[OutKind] = ["stack"] * len(read)
        tape = dict(zip(read, chunk.rows(open.body, first, stacks, starts), strict=True))
        recording = chunk.b.eqs[-1]
        here = {
            v: (tape[arg], True)
            for v, arg in zip(scan.body.inputs, scan.args, strict=True)
            if arg in tape
        }
        outs, _ = chunk.carry(resumed(scan.body), scan, scan.outs, here)
        for var, kind, out in zip(outs, scan.outs, reader.outs, strict=True):
            self._leave(chunk, var, kind, out)
        over = self._anchored(chunk, scan).equation(scan.body.name)
        if not self.levels[1:]:
            return [over]
        reading = next(
            eq for eq in _scan(over).body.eqs if isinstance(eq.rhs, Scan) and eq is not recording
        )
        inner = Pair(recording, (reading,), recording.outs)
        body = cut(_scan(over).body, inner, self.levels[1:])
        return [Equation(over.outs, replace(_scan(over), body=body))]

    def _leave(self, chunk: Chunk, var: Var, kind: OutKind, out: Var) -> None:
        chunk.leave(var, kind, self.grid.join(out) if kind == "stack" else out)

    def _anchored(self, chunk: Chunk, scan: Scan) -> Chunk:
        """With an argument that has a clock, where the scan had one: that is where a scan has its own from."""
        given = (*scan.args, *self.pair.scan.args)
        varying = [arg for arg in given if arg not in self.fixed and arg not in self.pair.kept]
        made = {*self.grid.made.values(), *self.stored.values(), *varying}
        if varying and not any(arg in made for arg, _ in chunk.inputs):
            chunk.given(varying[0])
        return chunk
