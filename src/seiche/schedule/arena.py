"""Scratch memory: which buffers are alive together, and where each lies in an arena that they share.

A buffer lives from the first to the last statement that touches it, counted in the innermost block that holds all of these
statements; what is carried around a loop lives through the loop. Buffers whose lives are disjoint may share bytes. Offsets are
given greedily, the largest buffer first, each in the smallest gap that holds it (Pisarchyk & Lee 2020, "Efficient memory
management for deep neural net inference", greedy by size).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from seiche.ir.loops import (
    Assign,
    Binary,
    Buffer,
    Choose,
    Const,
    Convert,
    Declare,
    Expr,
    For,
    If,
    Intrinsic,
    Invoke,
    Let,
    Load,
    Local,
    Name,
    Note,
    Stmt,
    Store,
    Unary,
    carrier,
)
from seiche.numbers.formats import Format, u8

Life: TypeAlias = tuple[int, int]
"""The first and the last statement between which the content matters, both included."""


def loads(expr: Expr) -> Iterable[Buffer]:
    """The buffers that an expression reads; shared sub-expressions once."""
    todo, seen = [expr], set[int]()
    while todo:
        e = todo.pop()
        if id(e) in seen:
            continue
        seen.add(id(e))
        match e:
            case Load(buffer, index):
                yield buffer
                todo += index
            case Unary(_, arg) | Convert(arg) | Intrinsic(_, arg):
                todo.append(arg)
            case Binary(_, left, right):
                todo += (left, right)
            case Choose(cond, yes, no):
                todo += (cond, yes, no)
            case Invoke(_, _, args):
                todo += args
            case Const() | Name():
                pass
            case _:
                raise AssertionError(e)


class Lives:
    """Numbers the statements in their textual order and finds each scratch buffer's life."""

    def __init__(self, block: list[Stmt], carried: Mapping[Buffer, For]) -> None:
        self.count = 0
        self.spans: dict[int, Life] = {}
        self.life: dict[Buffer, Life] = {}
        self._block(block)
        for buffer, loop in carried.items():
            if buffer in self.life and id(loop) in self.spans:
                a, z = self.life[buffer]
                first, last = self.spans[id(loop)]
                self.life[buffer] = (min(a, first), max(z, last))

    def _block(self, block: list[Stmt]) -> set[Buffer]:
        """The buffers that a block touches. Where two statements do, it is (so far) the innermost that holds all of them."""
        touched: dict[Buffer, list[Life]] = {}
        for stmt in block:
            first = self.count
            self.count += 1
            parts = self._parts(stmt)
            span = self.spans[id(stmt)] = (first, self.count - 1)
            for buffer in set[Buffer]().union(*parts):
                touched.setdefault(buffer, []).append(span)
                if buffer not in self.life or sum(buffer in p for p in parts) > 1:
                    self.life[buffer] = span
        for buffer, spans in touched.items():
            if len(spans) > 1:
                self.life[buffer] = (spans[0][0], spans[-1][1])
        return set(touched)

    def _parts(self, stmt: Stmt) -> list[set[Buffer]]:
        """What a statement touches itself, then what its blocks do."""
        match stmt:
            case Let(_, value) | Local(_, value) | Assign(_, value):
                return [scratch(value)]
            case Store(buffer, index, value):
                own = {buffer} if buffer.storage == "scratch" else set[Buffer]()
                return [own | scratch(value, *index)]
            case For(start=start, stop=stop, body=body):
                return [scratch(start, stop), self._block(body)]
            case If(cond, yes, no):
                return [scratch(cond), self._block(yes), self._block(no)]
            case Declare() | Note():
                return []
            case _:
                assert_never(stmt)


def scratch(*exprs: Expr) -> set[Buffer]:
    """The scratch buffers that expressions read."""
    return {b for e in exprs for b in loads(e) if b.storage == "scratch"}


@dataclass(frozen=True)
class Arenas:
    """Offsets in elements, the size of the arena of each C type, and the lives that they were computed from."""

    offsets: dict[Buffer, int]
    sizes: dict[Format, int]
    lives: dict[Buffer, Life]
    statements: int


def memory_format(buffer: Buffer) -> Format:
    """The arena's format: a bool is a byte."""
    held = carrier(buffer.type.format)
    return u8 if held.kind == "bool" else held


def allocate(block: list[Stmt], carried: Mapping[Buffer, For], buffers: Sequence[Buffer]) -> Arenas:
    """Places those of the scratch buffers that the statements touch; equal ones in the given order."""
    found = Lives(block, carried)
    alive = [b for b in buffers if b in found.life]
    offsets: dict[Buffer, int] = {}
    sizes: dict[Format, int] = {}
    for buffer in sorted(alive, key=lambda b: (-b.type.size, found.life[b])):
        format = memory_format(buffer)
        taken = sorted(
            (offsets[b], offsets[b] + b.type.size)
            for b in offsets
            if memory_format(b) is format and _together(found.life[b], found.life[buffer])
        )
        offsets[buffer] = _best_fit(taken, buffer.type.size)
        sizes[format] = max(sizes.get(format, 0), offsets[buffer] + buffer.type.size)
    return Arenas(offsets, sizes, found.life, found.count)


def _together(a: Life, b: Life) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _best_fit(taken: list[tuple[int, int]], size: int) -> int:
    """The start of the smallest gap between the taken ranges that holds `size`, else their end.

    >>> _best_fit([(0, 4), (10, 12), (15, 20)], 3)
    12
    """
    best: tuple[int, int] | None = None
    at = 0
    for start, stop in taken:
        if start - at >= size and (best is None or start - at < best[0]):
            best = (start - at, at)
        at = max(at, stop)
    return at if best is None else best[1]
