"""The work of a region (a step, or one row of a sweep) as tasks; what has memory of its own and what its readers compute.

A value is computed in its reader when nothing is computed twice by that: it is a mere view, or has one reader that asks for each
element at most once. All else is a task that leaves its result in memory, or in names where all its readers share its loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from seiche.ir.clocks import Clock
from seiche.ir.core import Apply, Check, Equation, Merge, Rhs, Scan, Var, When, operands
from seiche.ir.loops import (
    PLAIN,
    Access,
    Buffer,
    Expr,
    Hardware,
    Load,
    Name,
    Writer,
    integer,
)
from seiche.ir.op import OPS, Element, Kernel
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Shape, Type
from seiche.schedule.pull import (
    Index,
    Pattern,
    Puller,
    code_of,
    flat_index,
    key,
    knows,
    pattern,
    use_of,
)

CHAIN_MAX = 40
"""Equations computed inside one another: bounds the recursion."""
KERNEL_WORK_MAX = 64
"""Operations that a kernel may repeat in its text for the sake of an operand without memory."""


def squeezed(shape: Shape) -> Shape:
    """Without the axes of size 1."""
    return tuple(n for n in shape if n > 1)


@dataclass(frozen=True)
class Place:
    """Where a value lies: elements of a buffer behind fixed indices, or a mutable local.

    The buffer may have axes of size 1 that the value lacks, and the other way round.
    """

    type: Type
    buffer: Buffer | None
    prefix: Index = ()
    name: Name | None = None

    def __call__(self, *index: Expr | int) -> Expr:
        if self.buffer is None:
            assert self.name is not None
            return self.name
        return Load(self.buffer, self._inside(self.buffer, tuple(map(integer, index))))

    def put(self, w: Writer, index: Index, value: Expr) -> None:
        if self.buffer is None:
            assert self.name is not None
            w.assign(self.name, value)
        else:
            w.store(self.buffer, self._inside(self.buffer, index), value)

    def _inside(self, buffer: Buffer, index: Index) -> Index:
        shape = buffer.type.shape[len(self.prefix) :]
        if shape == self.type.shape:
            return (*self.prefix, *index)
        kept = [i for i, n in zip(index, self.type.shape, strict=True) if n > 1]
        return (*self.prefix, *(kept.pop(0) if n > 1 else integer(0) for n in shape))

    def seen_as(self, type: Type) -> Place:
        """The same memory for a value that differs in axes of size 1."""
        return self if type == self.type else Place(type, self.buffer, self.prefix, self.name)


def fill(w: Writer, place: Place, source: Access) -> None:
    """place = source, element by element."""
    with w.loops(place.type.shape) as index:
        place.put(w, index, source(*index))


@dataclass(frozen=True)
class Target:
    """A Place with a writer: the `Result` of a kernel."""

    w: Writer
    place: Place

    @property
    def type(self) -> Type:
        return self.place.type

    @property
    def fused(self) -> bool:
        return False

    def put(self, index: tuple[Expr | int, ...], value: Expr) -> None:
        self.place.put(self.w, tuple(map(integer, index)), value)

    part = put

    def takes(self, index: tuple[Expr | int, ...], lanes: int) -> bool:
        return True

    def get(self, index: tuple[Expr | int, ...]) -> Expr:
        return self.place(*index)


@dataclass(eq=False)
class State:
    """A memory that is read as `old` and ends as `next`; `init` at its opening is an access that is there from the start."""

    old: Var
    next: Var
    init: Access | None
    reset: Var | None
    place: Place
    clock: Clock


@dataclass(eq=False)
class Compute:
    """An element-wise equation that is not computed in its readers."""

    var: Var


@dataclass(eq=False)
class Fill:
    """A kernel. Where it stores an element of `made`, it computes that of `var`, which alone has memory (`fuse`).

    `shared`: the values between them that are computed once for each element.
    """

    var: Var
    apply: Apply
    kernel: Kernel
    made: Var | None = None
    shared: tuple[Var, ...] = ()


@dataclass(eq=False)
class Choice:
    """A merge."""

    var: Var
    merge: Merge


@dataclass(eq=False)
class Rows:
    """A scan."""

    outs: tuple[Var, ...]
    scan: Scan


@dataclass(eq=False)
class Open:
    """Makes a state's old value readable: loads a scalar; sets a memory back where a reset holds."""

    state: State


@dataclass(eq=False)
class Copy:
    """A value goes to a fixed place: a state's next value, an output, a row of a stored stream. `flag` is set on the way."""

    source: Var
    place: Place
    clock: Clock
    state: State | None = None
    flag: Buffer | None = None
    guard: Expr | None = None


@dataclass(eq=False)
class Guard:
    """A check; `number` is what `fault` becomes when it fails first."""

    check: Check
    number: int
    fault: Buffer


@dataclass(eq=False)
class Keep:
    """Readers after the region."""

    vars: tuple[Var, ...]


Unit: TypeAlias = Compute | Fill | Choice | Rows | Open | Copy | Guard | Keep


@dataclass(eq=False)
class Task:
    """A unit on its clock. `reads`: what it loads, and whether only at the index that it computes. `shape` is None where it has
    no loop that others could join.
    """

    unit: Unit
    clock: Clock
    shape: Shape | None
    reads: dict[Var, bool]
    writes: tuple[Var, ...]

    @property
    def squeezed(self) -> Shape | None:
        return None if self.shape is None else squeezed(self.shape)


@dataclass
class Work:
    """What a region is given: acyclic equations, values from outside, states, copies, checks, Vars that are read later."""

    eqs: list[Equation]
    given: dict[Var, Access]
    clocks: dict[Var, Clock]
    states: list[State] = field(default_factory=list["State"])
    copies: list[Copy] = field(default_factory=list["Copy"])
    guards: list[Guard] = field(default_factory=list["Guard"])
    exports: tuple[Var, ...] = ()
    stored: set[Var] = field(default_factory=set["Var"])
    slots: dict[Var, tuple[int, int]] = field(default_factory=dict["Var", tuple[int, int]])
    """Conditions of which at most one holds, by their group and number."""

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """After equations or states have changed."""
        self.defs = {out: eq for eq in self.eqs for out in eq.outs}
        self.olds = {s.old: s for s in self.states}

    def root(self, var: Var) -> Var:
        """What a chain of `when` samples."""
        while var in self.defs and isinstance(rhs := self.defs[var].rhs, When):
            var = rhs.arg
        return var


class Inlining:
    """`inline`: the Vars that are computed in their readers."""

    def __init__(self, work: Work, pinned: Iterable[Var] = (), hardware: Hardware = PLAIN) -> None:
        self.work, self.hardware = work, hardware
        self.patterns: dict[Var, Pattern] = {}
        self.inline: set[Var] = set()
        self.evals: dict[Var, int] = {}
        self.readers: dict[Var, list[Equation]] = {}
        self.others: dict[Var, int] = {}
        self.scalars = set(pinned)
        self._collect()
        self.order = self._topological()
        for eq in reversed(self.order):
            if isinstance(eq.rhs, Apply | When) and self._decide(eq.out, eq.rhs):
                self.inline.add(eq.out)
        self._cut_chains()

    def _collect(self) -> None:
        """Who reads what; the scalars that conditions need by name."""
        work = self.work
        for eq in work.eqs:
            for var in dict.fromkeys(operands(eq.rhs)):
                self.readers.setdefault(var, []).append(eq)
            if isinstance(eq.rhs, Apply) and eq.rhs.args:
                code, use = code_of(eq.rhs, eq.out), use_of(eq.rhs, eq.out)
                self.patterns[eq.out] = pattern(code, use, self.hardware)
            if isinstance(eq.rhs, Merge):
                self.scalars.add(eq.rhs.cond)
            if isinstance(eq.rhs, Scan) and eq.rhs.length is not None:
                self.scalars.add(eq.rhs.length)
            for var in eq.outs:
                self.scalars.update(cond for cond, _ in work.clocks[var])
        for copy in work.copies:
            self.others[copy.source] = self.others.get(copy.source, 0) + 1
        self.scalars.update(s.reset for s in work.states if s.reset is not None)
        self.scalars.update(g.check.cond for g in work.guards)

    def _topological(self) -> list[Equation]:
        """Each equation after those it reads."""
        done: set[Equation] = set()
        order: list[Equation] = []
        for root in self.work.eqs:
            todo = [root]
            while todo:
                eq = todo[-1]
                missing = [
                    d for v in operands(eq.rhs) if (d := self.work.defs.get(v)) and d not in done
                ]
                if missing and eq not in done:
                    todo += missing
                    continue
                todo.pop()
                if eq not in done:
                    done.add(eq)
                    order.append(eq)
        return order

    def _decide(self, var: Var, rhs: Apply | When) -> bool:
        total = self.others.get(var, 0) * var.type.size
        repeats = False
        for eq in self.readers.get(var, ()):
            count, heavy = self._asked(var, eq)
            total += count
            repeats |= heavy
        self.evals[var] = total
        if isinstance(rhs, When):
            return True
        if var in self.scalars or var in self.work.stored:
            return False
        if isinstance(code_of(rhs, var), Kernel):
            return rhs.op == "concat" and total <= var.type.size and self._picked(var, rhs)
        size, view = var.type.size, var not in self.patterns or self.patterns[var].view
        if view:
            return True
        if var in self.work.exports or repeats or (var.type.shape == () and total > 1):
            return False
        if _cheap(rhs, var):
            return total <= 2 * size
        single = len(self.readers.get(var, ())) + self.others.get(var, 0) == 1
        return single and total <= size

    def _picked(self, var: Var, rhs: Apply) -> bool:
        """Whether all that read a `concat` know in which of its parts each element lies."""
        finals: dict[Equation, None] = {}
        todo = [var]
        while todo:
            v = todo.pop()
            readers = self.readers.get(v, [])
            if v in self.others or v in self.work.exports:
                return False
            if not all(isinstance(eq.rhs, Apply) for eq in readers):
                return False
            todo += [eq.out for eq in readers if eq.out in self.inline]
            finals.update((eq, None) for eq in readers if eq.out not in self.inline)
        axis = rhs.params["axis"]
        known = partial(knows, self.work.defs, self.inline, self.hardware)
        return all(known(eq, var, axis) for eq in finals)

    def _asked(self, var: Var, eq: Equation) -> tuple[int, bool]:
        """How many elements of var an equation asks for; whether that repeats too much text."""
        rhs = eq.rhs
        size = var.type.size
        match rhs:
            case Apply(args=args):
                p = self.patterns[eq.out]
                places = [k for k, a in enumerate(args) if a is var]
                reads = sum(p.reads[k] for k in places)
                if isinstance(code_of(rhs, eq.out), Kernel):
                    work = _work(self.work.defs[var].rhs, var) if var in self.work.defs else 0
                    return reads, sum(p.sites[k] for k in places) * work > KERNEL_WORK_MAX
                evals = self.evals[eq.out] if eq.out in self.inline else eq.out.type.size
                return reads * evals, False
            case When():
                return self.evals[eq.out], False
            case Merge(cond, yes, no):
                # A branch of its own shares loops on its clock, and the memory of the merge.
                return size * ((yes is var) + (no is var)) + (cond is var), bool(var.type.shape)
            case Scan():
                return size, True
            case _:
                raise AssertionError(eq)

    def _cut_chains(self) -> None:
        """Ends chains that would recurse too deeply."""
        level: dict[Var, int] = {}
        for eq in self.order:
            if not isinstance(eq.rhs, Apply | When):
                continue
            out = eq.out
            below = max([0, *(level[v] for v in operands(eq.rhs) if v in self.inline)])
            if out in self.inline:
                level[out] = below + 1
                if below + 1 > CHAIN_MAX and isinstance(eq.rhs, Apply):
                    self.inline.discard(out)


def _cheap(apply: Apply, out: Var) -> bool:
    code = code_of(apply, out)
    return isinstance(code, Element) and code.cheap


def _work(rhs: Rhs, out: Var) -> int:
    """Operations per element; 1 for the index arithmetic of a move that is no view."""
    if not isinstance(rhs, Apply):
        return 0
    return max(1, OPS[rhs.op].cost(use_of(rhs, out)) // out.type.size)


# What a task reads.


class Probe:
    """Writes a task's expressions to nowhere and notes which stored values they load, at which index."""

    def __init__(self, work: Work, inline: set[Var]) -> None:
        self.work, self.inline = work, inline

    def elements(self, var: Var, shape: Shape, own: bool = False) -> dict[Var, bool]:
        """Reads of one element of var; `own`: var itself is computed, not loaded."""
        index: list[Expr] = [
            Name(f"at{k}", fmt.i32) if n > 1 else integer(0) for k, n in enumerate(shape)
        ]
        here = key(flat_index(tuple(index), shape))
        found: dict[Var, bool] = {}

        def leaf(v: Var) -> Access | None:
            return None if v in self.inline else Seen(v, here, found)

        puller = Puller(Writer(), self.work.defs, leaf)
        (puller.computed if own else puller.at)(var, tuple(index))
        return found

    def whole(self, vars: Iterable[Var]) -> dict[Var, bool]:
        """Reads of whole values."""
        found: dict[Var, bool] = {}
        todo, seen = list(vars), set[Var]()
        while todo:
            var = todo.pop()
            if var in seen:
                continue
            seen.add(var)
            if var in self.inline:
                todo += operands(self.work.defs[var].rhs)
            else:
                found[var] = False
        return found


@dataclass(frozen=True)
class Seen:
    var: Var
    here: object
    found: dict[Var, bool]

    @property
    def type(self) -> Type:
        return self.var.type

    def __call__(self, *index: Expr | int) -> Expr:
        at = tuple(map(integer, index))
        same = key(flat_index(at, self.var.type.shape)) == self.here
        self.found[self.var] = self.found.get(self.var, True) and same
        return Load(Buffer(self.var.name, self.var.type, "in"), at)


def both(*reads: dict[Var, bool]) -> dict[Var, bool]:
    """All of these reads."""
    found: dict[Var, bool] = {}
    for some in reads:
        for var, same in some.items():
            found[var] = found.get(var, True) and same
    return found


Add: TypeAlias = Callable[..., None]


def tasks(work: Work, inlining: Inlining) -> list[Task]:
    """The tasks of a region, in no order."""
    probe = Probe(work, inlining.inline)
    made: list[Task] = []

    def add(
        unit: Unit,
        clock: Clock,
        shape: Shape | None,
        reads: dict[Var, bool],
        writes: tuple[Var, ...] = (),
    ) -> None:
        conds = {cond: False for cond, _ in clock}
        made.append(Task(unit, clock, shape, both(reads, probe.whole(conds)), writes))

    for s in work.states:
        if not s.old.type.shape or s.reset is not None:
            reads = {} if s.reset is None else probe.whole([s.reset])
            add(Open(s), s.clock, None if s.old.type.shape else (), reads, (s.old,))
    for eq in inlining.order:
        _add_equation(eq, work, inlining.inline, probe, add)
    for c in work.copies:
        shape = c.source.type.shape
        add(c, c.clock, None if c.guard is not None else shape, probe.elements(c.source, shape))
    for g in work.guards:
        add(g, work.clocks[g.check.cond], None, probe.whole([g.check.cond]))
    if work.exports:
        add(Keep(work.exports), (), None, probe.whole(work.exports))
    return made


def _add_equation(eq: Equation, work: Work, inline: set[Var], probe: Probe, add: Add) -> None:
    rhs, clock = eq.rhs, work.clocks[eq.outs[0]]
    match rhs:
        case Apply():
            code = code_of(rhs, eq.out)
            if isinstance(code, Kernel) and eq.out not in inline:
                add(Fill(eq.out, rhs, code), clock, None, probe.whole(rhs.args), eq.outs)
            elif eq.out not in inline:
                shape = eq.out.type.shape
                add(Compute(eq.out), clock, shape, probe.elements(eq.out, shape, own=True), eq.outs)
        case When():
            pass
        case Merge(cond, yes, no):
            shape = eq.out.type.shape
            reads = both(probe.whole([cond]), probe.elements(yes, shape), probe.elements(no, shape))
            add(Choice(eq.out, rhs), clock, None, reads, eq.outs)
        case Scan(args=args, length=length):
            reads = probe.whole(args if length is None else (*args, length))
            add(Rows(eq.outs, rhs), clock, None, reads, eq.outs)
        case _:
            raise AssertionError(rhs)
