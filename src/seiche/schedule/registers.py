"""Vectors of a loop in registers: what all rows of a sweep read and write at the same place is loaded before it and stored after it.

    for row < 13: far[0..7] = min(far[0..7], ...)     becomes      v = far[0..7]; for row < 13: v = min(v, ...); far[0..7] = v

A buffer is kept so where the loop touches it nowhere else. No bit changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from seiche.ir.loops import (
    Assign,
    Buffer,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Local,
    Name,
    Stmt,
    Store,
    Writer,
)  # fmt: skip
from seiche.ir.positions import Index, flat_index
from seiche.schedule.lanes import rebuilt

Place: TypeAlias = tuple[int, int]
"""Where lanes start in a buffer, and how many they are."""

KEPT = ("state", "scratch")
KEPT_MAX = 12
"""Vectors that a loop keeps: registers are left for its arithmetic."""


def keep(block: list[Stmt], w: Writer) -> None:
    """Rewrites the loops of a block in place, the innermost first."""
    made: list[Stmt] = []
    for stmt in block:
        match stmt:
            case If(_, yes, no):
                keep(yes, w)
                keep(no, w)
                made.append(stmt)
            case For(start=Const(first), stop=Const(stop), body=body) if int(first) < int(stop):
                keep(body, w)
                made += _kept(stmt, w)
            case For(body=body):
                keep(body, w)
                made.append(stmt)
            case _:
                made.append(stmt)
    block[:] = made


def _kept(loop: For, w: Writer) -> list[Stmt]:
    """The loop, and what is loaded before it and stored after it."""
    touched = _Touched()
    touched.block(loop.body)
    names: dict[tuple[Buffer, Place], Name] = {}
    before: list[Stmt] = []
    after: list[Stmt] = []
    for buffer, places in touched.fixed():
        if len(names) + len(places) > KEPT_MAX:
            continue
        for place, index in places.items():
            there = Load(buffer, index, place[1])
            name = names[buffer, place] = w.fresh("kept", there.format, place[1])
            before.append(Local(name, there))
            after.append(Store(buffer, index, name))
    if names:
        loop.body[:] = _named(loop.body, names)
    return [*before, loop, *after]


def _place(buffer: Buffer, index: Index, lanes: int) -> Place | None:
    """Where that is, if it is known and side by side."""
    at = flat_index(index, buffer.type.shape)
    return (int(at.value), lanes) if isinstance(at, Const) else None


@dataclass
class _Touched:
    """Where a block touches its buffers; None is anywhere."""

    places: dict[Buffer, dict[Place, Index] | None] = field(
        default_factory=dict["Buffer", "dict[Place, Index] | None"]
    )
    stored: set[Buffer] = field(default_factory=set["Buffer"])

    def block(self, stmts: list[Stmt]) -> None:
        for stmt in stmts:
            match stmt:
                case Let(_, value) | Local(_, value) | Assign(_, value):
                    self._reads(value)
                case Store(buffer, index, value):
                    self._reads(value, *index)
                    self.stored.add(buffer)
                    self._touch(buffer, index, value.lanes)
                case For(start=start, stop=stop, body=body):
                    self._reads(start, stop)
                    self.block(body)
                case If(cond, yes, no):
                    self._reads(cond)
                    self.block(yes)
                    self.block(no)
                case _:
                    pass

    def _reads(self, *values: Expr) -> None:
        def look(e: Expr) -> None:
            if isinstance(e, Load):
                self._touch(e.buffer, e.index, e.lanes)

        for e in values:
            rebuilt(e, look)

    def _touch(self, buffer: Buffer, index: Index, lanes: int) -> None:
        known = self.places.setdefault(buffer, {})
        place = _place(buffer, index, lanes)
        if place is None or known is None:
            self.places[buffer] = None
        else:
            known[place] = index

    def fixed(self) -> list[tuple[Buffer, dict[Place, Index]]]:
        """The buffers that are stored to, in vectors, and only at known places."""
        return [
            (buffer, places)
            for buffer, places in self.places.items()
            if buffer in self.stored and buffer.storage in KEPT and places and _apart(places)
        ]


def _apart(places: Iterable[Place]) -> bool:
    """Whether there are vectors among them, and no two overlap."""
    order = sorted(places)
    vectors = any(n > 1 for _, n in order)
    return vectors and all(a + n <= b for (a, n), (b, _) in pairwise(order))


def _named(stmts: list[Stmt], names: dict[tuple[Buffer, Place], Name]) -> list[Stmt]:
    """Statements about the names instead of the memory."""

    def swap(e: Expr) -> Expr | None:
        if not isinstance(e, Load):
            return None
        place = _place(e.buffer, e.index, e.lanes)
        return None if place is None else names.get((e.buffer, place))

    made: list[Stmt] = []
    for stmt in stmts:
        match stmt:
            case Let(name, value):
                made.append(Let(name, rebuilt(value, swap)))
            case Local(name, value):
                made.append(Local(name, rebuilt(value, swap)))
            case Assign(name, value):
                made.append(Assign(name, rebuilt(value, swap)))
            case Store(buffer, index, value):
                place = _place(buffer, index, value.lanes)
                held = rebuilt(value, swap)
                name = None if place is None else names.get((buffer, place))
                there = tuple(rebuilt(i, swap) for i in index)
                made.append(Store(buffer, there, held) if name is None else Assign(name, held))
            case For(body=body):
                body[:] = _named(body, names)
                made.append(stmt)
            case If(cond, yes, no):
                stmt.cond, yes[:], no[:] = (
                    rebuilt(cond, swap),
                    _named(yes, names),
                    _named(no, names),
                )
                made.append(stmt)
            case _:
                made.append(stmt)
    return made
