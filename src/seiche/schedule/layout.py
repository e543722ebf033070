"""The layout of C structs, known before a compiler runs: no padding inside, and large arrays on cache lines.

Members are sorted by the largest power of two that divides their size, up to a line: before each of them lie only multiples of
that, so that each is aligned to it. Arrays of whole lines come first and start on lines where the struct does: a vector that
crosses a line costs two accesses, and online training sweeps over its weights ran 1.4 times as long. Every common ABI (System V, AAPCS, RISC-V, Windows) aligns a scalar to its size. Only the pointer to the weights differs:
8 bytes or 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seiche.ir.loops import Buffer, Machine
from seiche.numbers.formats import NAMED

POINTER = "weights"
"""The member of `struct X` that points to the weights."""
UNUSED = "unused_"
"""The only member of a struct that would be empty, which C does not allow."""
LINE = 64
"""Bytes of a cache line."""


@dataclass(frozen=True)
class Member:
    """A member of a struct; `buffer` is None for arenas, the pointer and the filler."""

    name: str
    carrier: str
    itemsize: int
    count: int | None
    buffer: Buffer | None = None

    @property
    def nbytes(self) -> int:
        return self.itemsize * (1 if self.count is None else self.count)

    @property
    def grain(self) -> int:
        """The largest power of two that divides its size, up to a line.

        >>> [Member("a", "f32", 4, n).grain for n in (10, 16, 48)]
        [8, 64, 64]
        """
        return math.gcd(self.nbytes, LINE)


@dataclass(frozen=True)
class Layout:
    """A struct: its members in order, the offset of each, its size and alignment."""

    members: tuple[Member, ...]
    offsets: dict[str, int]
    size: int
    alignment: int


def layout(members: Sequence[Member]) -> Layout:
    """Places the members in the given order.

    >>> layout([Member("a", "f64", 8, None), Member("b", "u8", 1, 3)]).size
    16
    """
    offsets: dict[str, int] = {}
    at, alignment = 0, 1
    for m in members:
        at += -at % m.itemsize
        offsets[m.name] = at
        at += m.nbytes
        alignment = max(alignment, m.itemsize)
    return Layout(tuple(members), offsets, at + -at % alignment, alignment)


def _member(buffer: Buffer) -> Member:
    type = buffer.type
    return Member(
        buffer.name,
        type.format.carrier,
        type.format.itemsize,
        type.size if type.shape else None,
        buffer,
    )


def _sorted(members: Sequence[Member]) -> list[Member]:
    """A stable sort, so that equals keep the order of the program."""
    return sorted(members, key=_order) or [Member(UNUSED, "u8", 1, None)]


def _order(m: Member) -> tuple[int, bool]:
    """By grain, descending; within that, first what fills a line."""
    return -m.grain, m.nbytes < LINE


def arena_name(carrier: str) -> str:
    """
    >>> arena_name("f32")
    'scratch_f32'
    """
    return f"scratch_{carrier}"


def self_layout(machine: Machine, pointer: int = 8) -> Layout:
    """`struct X`: states and arenas, and the pointer to the weights between what is aligned to 8 bytes and the rest.

    The order is the same for pointers of 4 bytes and of 8, as one text of C serves both.
    """
    arenas = [
        Member(arena_name(f.name), f.name, NAMED[f.name].itemsize, n)
        for f, n in machine.arenas.items()
        if n
    ]
    members = sorted([*map(_member, machine.state), *arenas], key=_order)
    wide = [m for m in members if m.grain >= 8]
    rest = [m for m in members if m.grain < 8]
    return layout([*wide, Member(POINTER, "pointer", pointer, None), *rest])


def in_layout(machine: Machine) -> Layout:
    return layout(_sorted([_member(b) for b in machine.inputs]))


def out_layout(machine: Machine) -> Layout:
    """`struct X_out`: the outputs, then a flag for each that may be absent."""
    flags = [_member(b) for b in machine.present.values()]
    return layout(_sorted([*map(_member, machine.outputs), *flags]))


def weights_layout(machine: Machine) -> Layout:
    return layout(_sorted([_member(b) for b, _ in machine.weights]))
