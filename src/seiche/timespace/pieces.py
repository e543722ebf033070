"""What becomes of a tensor when its function is folded over time.

    Rows    row r is at tick `late + r * every` of its frame, one after the other
    Done    known once per frame, at tick `late`
    Whole   the same at every tick: what does not depend on the rows

Ticks count from the one that brings the frame's first row; where `late` is large, they are ticks of a later frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from seiche.errors import Diagnostic, SeicheError
from seiche.ir.core import Var
from seiche.numbers.formats import Shape, Type


@dataclass(frozen=True, eq=False)
class Rows:
    """A tensor whose `axis` has length `count * inner`; `var` holds `inner` of it at a time, on the clock of its rows.

    `low` and `high` rows of `value` stand before and after; they exist where a window reads them, and nowhere else.
    """

    var: Var
    axis: int
    count: int
    every: int = 1
    late: int = 0
    inner: int = 1
    low: int = 0
    high: int = 0
    value: Any = 0

    @property
    def total(self) -> int:
        """Rows, with those that stand around."""
        return self.low + self.count + self.high

    @property
    def last(self) -> int:
        """The tick of the last row."""
        return self.late + (self.count - 1) * self.every

    @property
    def chunk(self) -> Shape:
        return self.var.type.shape

    @property
    def rest(self) -> Shape:
        """The shape of a row, its axis left out."""
        return self.chunk[: self.axis] + self.chunk[self.axis + 1 :]


@dataclass(frozen=True, eq=False)
class Done:
    """A tensor that is known at tick `late` of its frame; `var` is on the clock of these ticks."""

    var: Var
    late: int


@dataclass(frozen=True, eq=False)
class Whole:
    """A tensor that is there at every tick."""

    var: Var


Piece: TypeAlias = Rows | Done | Whole


def with_axis(type: Type, axis: int, length: int) -> Shape:
    """The shape with another length along an axis."""
    return (*type.shape[:axis], length, *type.shape[axis + 1 :])


def stopped(what: str, out: Var, why: str, *reads: Var, hint: str = "") -> SeicheError:
    """SE605: the equation of `out` is what stops the fold."""
    because = ((why, None), *((f"it reads `{v.name}`, which is {v.type}", v.loc) for v in reads))
    return SeicheError(
        [Diagnostic("SE605", f"{what} cannot be folded over the rows", out.loc, because, hint)]
    )
