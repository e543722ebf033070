"""Values stored on the way: a matrix that is computed element by element and then multiplied by one row, in one sweep.

    w' = w - a b        for k: for j: w'[k, j] = ...        |-   for k: for j: w'[k, j] = ...; y[j] += x[k] * w'[k, j]
    y = x w'            for k: for j: y[j] += x[k] * w'[k, j]

The row takes each element of the matrix once, in the same order; so nothing is computed twice and no sum is reordered. Online
training whose update waits for the next tick (its two factors are kept) reads and writes its weights once per tick this way.
"""

from __future__ import annotations

from dataclasses import dataclass

from seiche.ir.core import Var, operands
from seiche.ir.loops import Expr, Result, Writer, carrier, integer
from seiche.ir.op import Use
from seiche.ir.ops.contraction import fill_rows
from seiche.ir.ops.operands import Operands
from seiche.numbers.formats import Type
from seiche.schedule.homes import Homes
from seiche.schedule.pull import Puller
from seiche.schedule.tasks import Compute, Fill, Place, Task


@dataclass(frozen=True)
class Through:
    """An Access that computes each element where it is read, and stores it."""

    w: Writer
    puller: Puller
    var: Var
    place: Place

    @property
    def type(self) -> Type:
        return self.var.type

    def __call__(self, *index: Expr | int) -> Expr:
        at = tuple(map(integer, index))
        value = self.w.let(self.puller.computed(self.var, at))
        self.place.put(self.w, at, value)
        return value


def one_sweep(homes: Homes, first: Task, second: Task) -> bool:
    """Whether the second task is the product of a row by the matrix that the first one computes, and they may run as one."""
    if not isinstance(first.unit, Compute) or not isinstance(second.unit, Fill):
        return False
    var, apply, out = first.unit.var, second.unit.apply, second.unit.made or second.unit.var
    if apply.op != "matmul" or apply.args[1] is not var or len(var.type.shape) != 2:
        return False
    plain = not (apply.params.get("trans_a") or apply.params.get("trans_b"))
    exact = out.type.format.exact and carrier(out.type.format) == carrier(var.type.format)
    if not (plain and exact and out.type.shape[0] == 1 and apply.params.get("loops") is None):
        return False
    # The row is written while the matrix is still being computed: nothing that it needs may lie there.
    there = homes.slot.get(second.unit.var)
    apart = all(there is None or homes.slot.get(v) is not there for v in first.reads)
    return apart and homes.slot.get(var) is not None and var not in _beside(homes, second.unit)


def _beside(homes: Homes, unit: Fill) -> set[Var]:
    """What the product reads beside the matrix, and what its reader reads beside the product."""
    found, todo = set[Var](), [unit.apply.args[0]]
    if unit.made is not None:
        todo += operands(homes.work.defs[unit.var].rhs)
    while todo:
        v = todo.pop()
        if v is not unit.made and v not in found:
            found.add(v)
            if v not in homes.made_by and v in homes.work.defs:
                todo += operands(homes.work.defs[v].rhs)
    return found


def write_sweep(w: Writer, puller: Puller, matrix: Through, unit: Fill, out: Result) -> None:
    """The loops."""
    row, apply = puller.access(unit.apply.args[0]), unit.apply
    k, n = matrix.type.shape
    use = Use(tuple(a.type for a in apply.args), apply.params, (unit.made or unit.var).type)
    both = Operands(w, (), (row, matrix), use)
    fill_rows(w, out, both, [0], k, n)
