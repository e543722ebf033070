"""What is known of a program before it runs: its memory byte by byte, its sweeps, its operations. Facts for reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from seiche.errors import Loc
from seiche.ir.core import Scope
from seiche.numbers.formats import Type

Place: TypeAlias = Literal["state", "scratch", "weights", "table", "in", "out"]


@dataclass(frozen=True)
class BufferFact:
    """A piece of memory, or a state that shares one (`shared_with`; then `nbytes` is 0).

    `offset` is in bytes from the start of the struct it lies in (of the arena, for scratch). `first` and `last` number the
    statements of the step between which its content matters; memory that outlives the step has the whole of it.
    """

    name: str
    user_name: str
    loc: Loc
    scope: Scope
    type: Type
    place: Place
    nbytes: int
    offset: int
    first: int
    last: int
    kind: str = ""


@dataclass(frozen=True)
class EquationFact:
    """One equation and the operations that it costs per tick at most: its own, times the rows that it runs over."""

    name: str
    what: str
    loc: Loc
    scope: Scope
    operations: int
    trips: int
    inlined: bool


@dataclass(frozen=True)
class SweepFact:
    """One pass over the rows of a scan. `stored` are the streams that it leaves for a later sweep, with their bytes."""

    scan: str
    loc: Loc
    scope: Scope
    depth: int
    reverse: bool
    extent: int
    equations: tuple[str, ...]
    stored: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CheckpointFact:
    """A tape that a budget has cut: its streams, its rows, the rows of the chunks of each level, its bytes then and now.

    `bytes_before` and `operations_before` are those of the whole program without a budget.
    """

    streams: tuple[str, ...]
    loc: Loc
    scope: Scope
    extent: int
    levels: tuple[int, ...]
    whole_bytes: int
    kept_bytes: int
    bytes_before: int
    operations_before: int


@dataclass
class Plan:
    """The facts of one program. `struct_bytes` is `sizeof(struct X)` for that pointer size: states, scratch, bookkeeping."""

    name: str
    pointer_bytes: int
    struct_bytes: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    weights_bytes: int = 0
    table_bytes: int = 0
    state_bytes: int = 0
    arena_bytes: dict[str, int] = field(default_factory=dict[str, int])
    statements: int = 0
    buffers: list[BufferFact] = field(default_factory=list["BufferFact"])
    equations: list[EquationFact] = field(default_factory=list["EquationFact"])
    sweeps: list[SweepFact] = field(default_factory=list["SweepFact"])

    @property
    def scratch_bytes(self) -> int:
        return sum(self.arena_bytes.values())

    @property
    def operations(self) -> int:
        """Per tick, in the worst case: every clock present, every frame full."""
        return sum(e.operations for e in self.equations)

    def of(self, place: Place) -> Iterator[BufferFact]:
        """The buffers that lie there."""
        return (b for b in self.buffers if b.place == place)
