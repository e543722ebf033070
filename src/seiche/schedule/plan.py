"""What is known of a program before it runs: its memory byte by byte, its sweeps, its operations. Facts for reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from seiche.errors import Loc
from seiche.ir.clocks import Clock
from seiche.ir.core import Scope, Var
from seiche.ir.tiling import Chosen
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
    """One equation and the operations that it costs per tick at most: its own, times the rows that it runs over.

    `clock` is that of the node's equation that it belongs to.
    """

    name: str
    what: str
    loc: Loc
    scope: Scope
    operations: int
    trips: int
    inlined: bool
    clock: Clock = ()


@dataclass(frozen=True)
class ProductFact:
    """How a matrix product is cut up for the target; `into`: its reader that is computed where it is stored."""

    name: str
    loc: Loc
    scope: Scope
    cut: Chosen
    into: str = ""


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


@dataclass(frozen=True)
class SlotFact:
    """A part of the work that a deadline has spread: `ticks` ticks, in each `rows` rows of one scan, or equations (None)."""

    what: str
    loc: Loc
    ticks: int
    rows: int | None
    operations: int


@dataclass(frozen=True)
class SpreadFact:
    """The work of a clock, done in slots. `gap`: ticks from one of its ticks to the next at least (None: known at run time).

    `states` are what it carries on (parameters), `late` the results that come with the clock's next tick.
    """

    clock: str
    loc: Loc
    gap: int | None
    slots: tuple[SlotFact, ...]
    states: tuple[str, ...]
    late: tuple[str, ...]

    @property
    def ticks(self) -> int:
        """How many ticks the whole work takes."""
        return sum(slot.ticks for slot in self.slots)


@dataclass(frozen=True)
class DeadlineFact:
    """What a deadline has changed: operations of the worst and the mean tick, bytes of an instance, before and after.

    The means are None where a clock's ticks are any number of ticks apart.
    """

    limit: int
    worst_before: int
    mean_before: float | None
    worst: int
    mean: float | None
    bytes_before: int
    bytes: int
    spread: tuple[SpreadFact, ...]


Exclusive: TypeAlias = tuple[frozenset[Var], ...]
"""Sets of conditions: where one of a set holds, none of another set does (nor of the last, unless a check says so)."""


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
    products: list[ProductFact] = field(default_factory=list["ProductFact"])
    exclusive: tuple[Exclusive, ...] = ()

    @property
    def scratch_bytes(self) -> int:
        return sum(self.arena_bytes.values())

    @property
    def operations(self) -> int:
        """Per tick, in the worst case: every frame full, every clock present that can be at once."""
        rest, sets = self.shares
        return rest + sum(max(costs.values(), default=0) for costs in sets)

    @property
    def shares(self) -> tuple[int, list[dict[frozenset[Var], int]]]:
        """Operations of ticks where no exclusive condition holds, and for each group those of each of its sets."""
        rest, sets = 0, [dict.fromkeys(group, 0) for group in self.exclusive]
        places = {
            c: (k, some) for k, group in enumerate(self.exclusive) for some in group for c in some
        }
        for e in self.equations:
            cond = next((c for c, on in e.clock if on and c in places), None)
            if cond is None:
                rest += e.operations
            else:
                k, some = places[cond]
                sets[k][some] += e.operations
        return rest, sets

    def of(self, place: Place) -> Iterator[BufferFact]:
        """The buffers that lie there."""
        return (b for b in self.buffers if b.place == place)
