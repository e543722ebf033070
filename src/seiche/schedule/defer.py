"""Sums of outer products over the rows of a sweep, a chunk of rows at a time.

    for row: for i: for j: g[i, j] += a[row][i] * b[row][j]
        |-   for row: keep b[row]; after each CHUNK rows: for tiles of g: for those rows: tile += a[row] b[row]

This is how the gradient of a weight arises, row by row back in time: reading and writing all of it at every row takes longer than
the products do. A tile stays in registers while the rows of a chunk are added to it, in the order in which the sweep meets them: each
element is the same sum of the same terms in the same order, and no bit changes. What is on the tape already is read there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seiche.ir.core import Apply, Equation, Fby, Post, Var, operands
from seiche.ir.loops import Access, Expr, Name, Writer, integer
from seiche.ir.op import Use
from seiche.ir.ops.contraction import accumulate_products
from seiche.numbers.formats import Type
from seiche.schedule.sweeps import Sweep
from seiche.schedule.tasks import Place, Target

CHUNK = 16
"""Rows that are kept: their vectors stay in the first-level cache."""
LEAST_ROWS = 4
"""Rows of a sweep from which on it is worth it."""
SMALLEST = 512
"""Elements of a sum from which on it is worth it."""


@dataclass(frozen=True)
class Deferred:
    """`total = state + left^T right` at each row; `left` and `right` are vectors of `m` and `n` elements."""

    state: Equation
    total: Equation
    product: Equation
    left: Var
    right: Var

    @property
    def equations(self) -> tuple[Equation, Equation]:
        """What no row computes."""
        return self.total, self.product


def deferred(
    sweep: Sweep, result: Callable[[Var], bool], elsewhere: Callable[[Var], bool]
) -> list[Deferred]:
    """The sums of a sweep that can wait.

    `result`: whether a Var's last value leaves the scan, and no more of it; `elsewhere`: whether anything outside of the sweep reads it.
    """
    defs = {out: eq for eq in sweep.eqs for out in eq.outs}
    readers: dict[Var, list[Equation]] = {}
    for eq in sweep.eqs:
        for var in operands(eq.rhs):
            readers.setdefault(var, []).append(eq)
    found: list[Deferred] = []
    for eq in sweep.eqs:
        if isinstance(eq.rhs, Fby | Post) and eq.rhs.reset is None and result(eq.rhs.arg):
            each = _sum_of_products(eq, defs, readers)
            if each and not elsewhere(each.state.out) and not elsewhere(each.product.out):
                found.append(each)
    return found


def _sum_of_products(
    state: Equation, defs: dict[Var, Equation], readers: dict[Var, list[Equation]]
) -> Deferred | None:
    assert isinstance(state.rhs, Fby | Post)
    total, type = defs.get(state.rhs.arg), state.out.type
    wanted = type.format.exact and type.format.is_float and len(type.shape) == 2
    if total is None or not wanted or min(type.shape) < 2 or type.size < SMALLEST:
        return None
    if not isinstance(total.rhs, Apply) or total.rhs.op != "add":
        return None
    others = [v for v in total.rhs.args if v is not state.out]
    if len(others) != 1 or readers.get(state.out) != [total] or readers[total.out] != [state]:
        return None
    product = defs.get(others[0])
    if product is None or readers[product.out] != [total]:
        return None
    rhs = product.rhs
    if not isinstance(rhs, Apply) or rhs.op != "matmul" or rhs.params.get("loops") is not None:
        return None
    left, right = rhs.args
    # One term per element: the sum over the rows is the only one.
    if left.type.format != type.format or left.type.size * right.type.size != type.size:
        return None
    return Deferred(state, total, product, _bare(left, defs), _bare(right, defs))


def _bare(var: Var, defs: dict[Var, Equation]) -> Var:
    """A vector without the axes of size 1 that were given to it."""
    while (eq := defs.get(var)) is not None and isinstance(eq.rhs, Apply):
        if eq.rhs.op != "reshape" or len([n for n in eq.rhs.args[0].type.shape if n > 1]) != 1:
            break
        (var,) = eq.rhs.args
    return var


@dataclass(frozen=True)
class Kept:
    """A vector at the rows of a chunk: in `memory` at the row's place in its chunk, or where all rows lie anyway."""

    type: Type
    memory: Access
    in_chunk: bool

    def at(self, row: Expr, slot: Expr, i: Expr | int) -> Expr:
        index = (i if n > 1 else 0 for n in self.type.shape)
        return self.memory(slot if self.in_chunk else row, *index)


@dataclass(frozen=True)
class Chunk:
    """Where a sweep stands: `row` of `stop`, `reverse` or not."""

    w: Writer
    row: Name
    stop: Expr
    reverse: bool

    @property
    def full(self) -> Expr:
        """Whether this row is the last of its chunk."""
        if self.reverse:
            return (self.row % CHUNK).eq(0)
        return (self.row % CHUNK).eq(CHUNK - 1) | self.row.eq(self.stop - 1)

    def add(self, sum: Deferred, place: Place, left: Kept, right: Kept) -> None:
        """The products of the chunk's rows, onto what is there."""
        w = self.w
        if self.reverse:
            first, ahead = self.row, w.let(self.stop - self.row)
            terms = w.let(w.select(ahead < CHUNK, ahead, CHUNK))
        else:
            terms = w.let(self.row % CHUNK + 1)
            first = w.let(self.row - (terms - 1))
        m, n = place.type.shape

        def read(kept: Kept, i: Expr | int, term: Expr | int) -> Expr:
            slot = terms - 1 - term if self.reverse else integer(term)
            return kept.at(first + slot, slot, i)

        format = place.type.format
        a = _Matrix(format[m, CHUNK], lambda i, k: read(left, i, k))
        b = _Matrix(format[CHUNK, n], lambda k, j: read(right, j, k))
        use = Use((a.type, b.type), {}, place.type)
        accumulate_products(w, Target(w, place), (a, b), use, terms)


@dataclass(frozen=True)
class _Matrix:
    """An Access by a function."""

    type: Type
    element: Callable[[Expr | int, Expr | int], Expr]

    def __call__(self, *index: Expr | int) -> Expr:
        return self.element(*index)
