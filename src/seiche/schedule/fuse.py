"""Readers computed where a product is stored: a bias, an activation, a residual, a rounding without a pass of its own over memory.

    p = matmul(a, b)                                     for tiles: acc = ...; p[i, j] = acc
    y = tanh(p + c)        is written not as             for all i, j: y[i, j] = tanh(p[i, j] + c[j])
                           but as                        for tiles: acc = ...; y[i, j] = tanh(acc + c[j])

This holds where p has a single reader and that reads it at the index that it computes itself; p then has no memory. Each element is
rounded to p's own format first, as it would be in memory: no bit changes. Sums that tiles of k leave unfinished are kept in the memory
of y, or in scratch memory where y is of another carrier or lies over what its reader still needs; the last tile stores y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from seiche.errors import SeicheError, fail
from seiche.ir import tiling
from seiche.ir.core import Apply, Equation, Var
from seiche.ir.loops import Const, Expr, Name, Writer, carrier, integer
from seiche.ir.op import OPS, Kernel
from seiche.ir.ops.contraction import dims, extents_of
from seiche.ir.vectors import wide
from seiche.numbers.formats import Shape, Type
from seiche.schedule.pull import Index, Puller, code_of, flat_index, rounded, use_of
from seiche.schedule.tasks import (
    Compute,
    Fill,
    Inlining,
    Place,
    Probe,
    Task,
    Work,
    both,
    squeezed,
)

PRODUCTS = frozenset({"matmul", "packed_matmul"})
REDUCTIONS = frozenset({"sum", "prod", "max", "min"})
"""These store each element once, when its sum is whole: the sum of a depthwise convolution has readers as a product does."""
LANE_WORK_MAX = 4
"""Operations of a reader, per element, that may leave loops along whole rows for the few columns of a tile in lane order."""


def settle(work: Work, inlining: Inlining) -> None:
    """The last value of each chain of readers gets memory of its own, so that it can be stored in place of the product.

    What is read several times on the way there, as by both sides of a rectifier, is computed once for each element, and needs none.
    """
    for eq in _products(inlining):
        chain = _best(work, inlining, eq)
        if chain:
            inlining.inline.update(shared(inlining, chain))
            inlining.inline.discard(chain[-1].out)


def merged(work: Work, inlining: Inlining, tasks: list[Task]) -> list[Task]:
    """The tasks, with a product and its reader as one; raises SE607 where a product asks for it that has no such reader."""
    made = {task.unit.var: task for task in tasks if isinstance(task.unit, Compute | Fill)}
    joined: dict[Task, Task] = {}
    for eq in sorted(_products(inlining), key=lambda eq: not _wish(eq)):
        chain = _best(work, inlining, eq)
        reader = made.get(chain[-1].out) if chain else None
        free = reader is not None and reader not in joined and isinstance(reader.unit, Compute)
        if reader is not None and free:
            one = _both(made[eq.out], reader, shared(inlining, chain))
            joined[made[eq.out]] = joined[reader] = one
        elif _wish(eq):
            raise _refused(work, inlining, eq, _chain(work, inlining, eq))
    return list(dict.fromkeys(joined.get(task, task) for task in tasks))


def _both(product: Task, reader: Task, shared: tuple[Var, ...]) -> Task:
    assert isinstance(product.unit, Fill) and isinstance(reader.unit, Compute)
    made, var = product.unit.var, reader.unit.var
    reads = both(product.reads, {v: same for v, same in reader.reads.items() if v is not made})
    unit = Fill(var, product.unit.apply, product.unit.kernel, made, shared)
    return Task(unit, reader.clock, None, reads, (var,))


def _products(inlining: Inlining) -> list[Equation]:
    """The kernels among them that may be fused (a product over a single k is computed in its readers anyway)."""
    return [
        eq
        for eq in inlining.order
        if isinstance(eq.rhs, Apply)
        and (eq.rhs.op in PRODUCTS or eq.rhs.op in REDUCTIONS)
        and isinstance(code_of(eq.rhs, eq.out), Kernel)
        and _wish(eq) is not False
    ]


def _wish(eq: Equation) -> bool | None:
    """What the user says."""
    assert isinstance(eq.rhs, Apply)
    text = eq.rhs.params.get("loops")
    return None if text is None else tiling.parse(text).fused


def _best(work: Work, inlining: Inlining, eq: Equation) -> list[Equation]:
    """The longest part of the chain at whose end the product may be stored; empty where there is none."""
    chain = _chain(work, inlining, eq)
    while chain and not _wanted(work, inlining, eq, chain):
        chain.pop()
        while chain and chain[-1].out in inlining.inline:
            chain.pop()
    return chain


def _chain(work: Work, inlining: Inlining, eq: Equation) -> list[Equation]:
    """The readers of a product, each the only one of the last, up to one that others need in memory."""
    chain: list[Equation] = []
    while (next := _reader(work, inlining, (chain[-1] if chain else eq).out)) is not None:
        chain.append(next)
        if next.out not in inlining.inline and not _often(inlining, next.out):
            break
    while len(chain) > 1 and _only_shows(work, inlining, chain[-1].out):
        chain.pop()
    return chain


def _only_shows(work: Work, inlining: Inlining, var: Var) -> bool:
    """Whether it is a view, and no result: better what it shows is stored, under the user's name."""
    view = var in inlining.inline and var in inlining.patterns and inlining.patterns[var].view
    return view and not _kept(work, inlining, var)


def shared(inlining: Inlining, chain: list[Equation]) -> tuple[Var, ...]:
    """The values on the way to the end of a chain of which an element is read more than once."""
    return tuple(eq.out for eq in chain[:-1] if _often(inlining, eq.out))


def _often(inlining: Inlining, var: Var) -> bool:
    return len(inlining.readers.get(var, ())) > 1 or inlining.evals[var] > var.type.size


def _reader(work: Work, inlining: Inlining, var: Var) -> Equation | None:
    """What alone reads a value, element by element; or beside what it alone reads (x > 0 and x, in a rectifier)."""
    readers = inlining.readers.get(var, [])
    if _kept(work, inlining, var) or not all(_alike(work, eq, var) for eq in readers):
        return None
    for last in readers:
        aside = [eq.out for eq in readers if eq is not last]
        if all(_only_for(work, inlining, v, last) for v in aside):
            return last
    return None


def _only_for(work: Work, inlining: Inlining, var: Var, reader: Equation) -> bool:
    """Whether a value is computed in that equation and nowhere else."""
    alone = inlining.readers.get(var) == [reader] and not _kept(work, inlining, var)
    return alone and var in inlining.inline


def _kept(work: Work, inlining: Inlining, var: Var) -> bool:
    """Whether something else than an equation needs the value."""
    kept = var in work.exports or var in work.stored or var in inlining.scalars
    return kept or bool(inlining.others.get(var))


def _alike(work: Work, eq: Equation, var: Var) -> bool:
    """Whether it computes an element of its result for each of the value's, on the same ticks."""
    if not isinstance(eq.rhs, Apply) or isinstance(code_of(eq.rhs, eq.out), Kernel):
        return False
    shape = eq.out.type.shape
    return bool(shape) and prod(shape) == var.type.size and work.clocks[eq.out] == work.clocks[var]


def _wanted(work: Work, inlining: Inlining, eq: Equation, chain: list[Equation]) -> bool:
    """Whether each element of the chain's end takes the product's at the same place; and the user says so, or it pays."""
    end = chain[-1].out
    probe = Probe(work, inlining.inline.union(shared(inlining, chain)) - {end})
    if probe.elements(end, end.type.shape, own=True).get(eq.out) is not True:
        return False
    return bool(_wish(eq)) or _pays(work, inlining, eq, chain)


def _pays(work: Work, inlining: Inlining, eq: Equation, chain: list[Equation]) -> bool:
    """Whether no more memory is taken, and none that is better used: a state that the product reads cannot be overwritten by it."""
    assert isinstance(eq.rhs, Apply)
    end, use = chain[-1].out, use_of(eq.rhs, eq.out)
    if end.type.nbytes > eq.out.type.nbytes:
        return False
    for var in Probe(work, inlining.inline).whole(eq.rhs.args):
        if var in work.olds and squeezed(var.type.shape) == squeezed(end.type.shape):
            return False
    if eq.rhs.op in REDUCTIONS:
        return True
    in_lanes = extents_of(dims(use), use.params, use.out.format).lane_order
    return not in_lanes or sum(map(_effort, chain)) <= LANE_WORK_MAX


def _effort(eq: Equation) -> int:
    """Operations per element."""
    assert isinstance(eq.rhs, Apply)
    return OPS[eq.rhs.op].cost(use_of(eq.rhs, eq.out)) // eq.out.type.size


def _refused(work: Work, inlining: Inlining, eq: Equation, chain: list[Equation]) -> SeicheError:
    return fail(
        "SE607", f"nothing can be computed where `{eq.out.name}` is stored", eq.out.loc, _why(work, inlining, eq, chain),
        hint="leave `.fuse()` out: by default a reader is computed there where that is possible and pays",
    )  # fmt: skip


def _why(work: Work, inlining: Inlining, eq: Equation, chain: list[Equation]) -> str:
    readers = inlining.readers.get(eq.out, [])
    if chain:
        end = chain[-1].out.name
        return f"`{end}` reads it at other places than its own, or is computed where another product is stored"
    if not readers or inlining.others.get(eq.out) or eq.out in work.exports:
        return "it is kept as it is: as an output, or for a later tick"
    if len(readers) > 1:
        names = ", ".join(f"`{r.outs[0].name}`" for r in readers)
        return f"it has several readers, which need it in memory: {names}"
    return f"its reader `{readers[0].outs[0].name}` does not compute element by element at the same ticks"


# Writing.


@dataclass
class Fused:
    """The `Result` of a product that stores what its reader makes of each element. `unfinished`: where partial sums are kept."""

    w: Writer
    puller: Puller
    names: dict[Var, Expr]
    made: Var
    var: Var
    place: Place
    shared: tuple[Var, ...]
    """Values on the way that are read more than once."""
    scratch: Callable[[], Place] | None
    """Makes memory for partial sums; None where they may lie in `place`."""
    unfinished: Place | None = None

    @property
    def type(self) -> Type:
        return self.made.type

    @property
    def fused(self) -> bool:
        return True

    def put(self, index: tuple[Expr | int, ...], value: Expr) -> None:
        at = tuple(map(integer, index))
        if value.lanes > 1:
            found = self._in_lanes(at, value)
            assert found is not None, "lanes are put only where they are taken"
        else:
            found = self._computed(self.w.let(value), at)
        self.place.put(self.w, self._there(at), found)

    def part(self, index: tuple[Expr | int, ...], value: Expr) -> None:
        at = tuple(map(integer, index))
        if self.scratch is None:
            self.place.put(self.w, self._there(at), value)
            return
        if self.unfinished is None:
            self.unfinished = self.scratch()
        self.unfinished.put(self.w, at, value)

    def get(self, index: tuple[Expr | int, ...]) -> Expr:
        at = tuple(map(integer, index))
        return self.place(*self._there(at)) if self.unfinished is None else self.unfinished(*at)

    def takes(self, index: tuple[Expr | int, ...], lanes: int) -> bool:
        """Whether the reader is plain arithmetic on what lies side by side: that is written for each register, else once."""
        with self.w.into([]):
            value = self.w.fresh("sum", carrier(self.made.type.format), max(2, lanes))
            return self._in_lanes(tuple(map(integer, index)), value) is not None

    def _there(self, index: Index) -> Index:
        return same_element(index, self.made.type.shape, self.var.type.shape)

    def _computed(self, value: Expr, index: Index) -> Expr:
        """The reader's element, given the product's."""
        self.names[self.made] = rounded(self.w, value, self.made.type.format)
        with self.puller.sharing():
            for var in self.shared:
                there = same_element(index, self.made.type.shape, var.type.shape)
                self.names[var] = self.w.let(self.puller.computed(var, there))
            found = self.puller.computed(self.var, self._there(index))
        for var in (self.made, *self.shared):
            del self.names[var]
        return found

    def _in_lanes(self, index: Index, value: Expr) -> Expr | None:
        one = Name(self.w.fresh("sum", value.format).name, value.format)
        *before, last = index

        def at(q: Expr) -> Expr:
            return self._computed(one, (*before, q))

        found = wide(self.w, at, last, value.lanes, {one.name: value})
        return found if found is not None and found.lanes == value.lanes else None


def same_element(index: Index, shape: Shape, other: Shape) -> Index:
    """The index of the same element in another shape of that size, in row-major order; axes at the end that are alike stay.

    >>> from seiche.ir.loops import integer
    >>> [i.value for i in same_element((integer(7), integer(2)), (8, 5), (2, 1, 4, 5))]
    [1, 0, 3, 2]
    """
    left = [(i, n) for i, n in zip(index, shape, strict=True) if n > 1]
    sizes, found = list(other), list[Expr]()
    while sizes and (sizes[-1] == 1 or (left and left[-1][1] == sizes[-1])):
        found.insert(0, integer(0) if sizes.pop() == 1 else left.pop()[0])
    rest = flat_index(tuple(i for i, _ in left), tuple(n for _, n in left))
    while sizes:
        n = sizes.pop()
        first = prod(sizes) == 1
        found.insert(0, integer(0) if n == 1 else rest if first else _modulo(rest, n))
        rest = rest if n == 1 or first else _divided(rest, n)
    return tuple(found)


def _modulo(e: Expr, n: int) -> Expr:
    return integer(int(e.value) % n) if isinstance(e, Const) else e % n


def _divided(e: Expr, n: int) -> Expr:
    return integer(int(e.value) // n) if isinstance(e, Const) else e // n
