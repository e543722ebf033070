"""Writes a region: its tasks in order, in loops and under the conditions of their clocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, assert_never

from seiche.errors import Loc
from seiche.ir.core import Apply, Equation, Var
from seiche.ir.loops import (
    Access,
    Buffer,
    Const,
    Expr,
    If,
    Local,
    Name,
    Note,
    Result,
    Stmt,
    carrier,
)
from seiche.ir.op import OPS
from seiche.ir.tiling import Chosen
from seiche.numbers import formats as fmt
from seiche.schedule.carry import same_place
from seiche.schedule.fuse import Fused, merged, settle
from seiche.schedule.homes import Homes
from seiche.schedule.order import Graph, Group, schedule, soften
from seiche.schedule.packing import pack_products
from seiche.schedule.plan import ProductFact
from seiche.schedule.pull import Index, Puller, is_move, named, rounded, stem_of, use_of
from seiche.schedule.rows import write_rows
from seiche.schedule.shop import Shop
from seiche.schedule.tasks import (
    Choice,
    Compute,
    Copy,
    Fill,
    Guard,
    Inlining,
    Keep,
    Open,
    Place,
    Probe,
    Rows,
    State,
    Target,
    Task,
    Work,
    fill,
    tasks,
)
from seiche.schedule.through import Through, one_sweep, write_sweep
from seiche.schedule.windows import advance, move_on

Path: TypeAlias = tuple[int, ...]


@dataclass(eq=False)
class Branch:
    """Groups on a sub-clock: those where `cond` is on, and those where it is off."""

    cond: Var
    yes: list[Item] = field(default_factory=list["Item"])
    no: list[Item] = field(default_factory=list["Item"])


Item: TypeAlias = "Group | Branch"


def nest(groups: list[Group], depth: int = 0) -> list[Item]:
    """Groups of one clock side by side under one condition."""
    items: list[Item] = []
    k = 0
    while k < len(groups):
        if len(groups[k].clock) == depth:
            items.append(groups[k])
            k += 1
            continue
        cond, _ = groups[k].clock[depth]
        run = k
        parts: dict[bool, list[Group]] = {}
        last: bool | None = None
        while (
            run < len(groups)
            and len(groups[run].clock) > depth
            and groups[run].clock[depth][0] is cond
        ):
            on = groups[run].clock[depth][1]
            if on != last and on in parts:
                break
            parts.setdefault(on, []).append(groups[run])
            last, run = on, run + 1
        branch = Branch(cond)
        for on, some in parts.items():
            (branch.yes if on else branch.no).extend(nest(some, depth + 1))
        items.append(branch)
        k = run
    return items


class Region:
    """One straight piece of program. `trips`: how often it runs per tick at most; `depth`: scans around it."""

    def __init__(self, shop: Shop, work: Work, trips: int = 1, depth: int = 0) -> None:
        move_on(work)
        pack_products(work, shop)
        self.shop, self.work, self.trips, self.depth = shop, work, trips, depth
        self.w = shop.w
        self.names: dict[Var, Expr] = {}
        self.puller = Puller(self.w, work.defs, self._leaf)
        self.graph = self._graph()
        soften(self.graph)
        self.groups = schedule(self.graph)
        self.homes = Homes(work, self.groups)
        self.items = nest(self.groups)
        self.paths: dict[Group, Path] = {}
        self.conds: list[tuple[Var, Path]] = []
        self._walk(self.items, ())
        self.hoisted = self._hoisted()

    # Planning.

    def _graph(self) -> Graph:
        """The task graph, in which no two states wait for each other."""
        detached: set[State] = set()
        while True:
            self.inlining = Inlining(self.work, hardware=self.w.hardware)
            settle(self.work, self.inlining)
            made = merged(self.work, self.inlining, tasks(self.work, self.inlining))
            graph = Graph(made, self.work)
            tangled = graph.tangled()
            if not tangled:
                return graph
            assert tangled[0] not in detached, "a state apart from its memory waits for no other"
            detached.add(tangled[0])
            self._detach(tangled[0])

    def _detach(self, state: State) -> None:
        """Computes a state's next value apart from its memory, before any memory changes."""
        work, next = self.work, state.next
        apart = Var(next.name, next.type, next.loc, next.scope)
        eq = Equation((apart,), Apply("stop_gradient", (next,)))
        work.eqs.append(eq)
        work.defs[apart] = eq
        work.clocks[apart] = state.clock
        work.stored.add(apart)
        state.next = apart
        for copy in work.copies:
            if copy.state is state:
                copy.source = apart

    def _walk(self, items: list[Item], path: Path) -> None:
        for k, item in enumerate(items):
            if isinstance(item, Group):
                self.paths[item] = path
            else:
                self.conds.append((item.cond, path))
                self._walk(item.yes, (*path, 2 * k))
                self._walk(item.no, (*path, 2 * k + 1))

    def _hoisted(self) -> dict[Var, Name]:
        """Scalars that are read outside of the block that computes them: locals of the region."""
        seen: dict[Var, list[Path]] = {}
        for task, group in self.homes.group.items():
            for var in task.reads:
                seen.setdefault(var, []).append(self.paths[group])
        probe = Probe(self.work, self.inlining.inline)
        for cond, path in self.conds:
            for var in probe.whole([cond]):
                seen.setdefault(var, []).append(path)
        found: dict[Var, Name] = {}
        for var, task in self.homes.made_by.items():
            here = self.paths[self.homes.group[task]]
            if not var.type.shape and any(p[: len(here)] != here for p in seen.get(var, ())):
                found[var] = self._mutable(var)
        return found

    def _mutable(self, var: Var) -> Name:
        """A local that is assigned later."""
        name = self.w.fresh(stem_of(var.name), carrier(var.type.format))
        self.w.block.append(
            Local(name, Const(False if name.format.kind == "bool" else 0, name.format))
        )
        return name

    def _leaf(self, var: Var) -> Access | None:
        if var in self.names:
            return Held(var, self.names[var])
        if var in self.work.given:
            return self.work.given[var]
        slot = self.homes.slot.get(var)
        if slot is not None:
            if slot.place is None:
                slot.place = self.shop.memory(slot.vars[0])
            return slot.place.seen_as(var.type)
        return None

    def access(self, var: Var) -> Access:
        """How to read a Var after the region (one of its exports, or what was given)."""
        return self.puller.access(var)

    # Writing.

    def write(self) -> None:
        """Appends the statements."""
        for eq in self.inlining.order:
            self._count(eq)
        self._items(self.items)

    def _count(self, eq: Equation) -> None:
        if isinstance(eq.rhs, Apply):
            cost = OPS[eq.rhs.op].cost(use_of(eq.rhs, eq.out))
            inlined = eq.out in self.inlining.inline
            self.shop.count(eq, eq.rhs.op, cost, self.trips, inlined, self.work.clocks[eq.out])
        else:
            self.shop.count(eq, type(eq.rhs).__name__.lower(), 0, self.trips, False, ())

    def _items(self, items: list[Item]) -> None:
        after = [*items[1:], None][: len(items)]
        swept: Item | None = None
        for item, next in zip(items, after, strict=True):
            if isinstance(item, Group):
                both = self._as_one(item, next)
                if both is not None:
                    write_sweep(self.w, self.puller, *both)
                    swept = next
                elif item is not swept:
                    self._group(item)
                continue
            branch = If(self.puller.at(item.cond, ()), [], [])
            with self.w.into(branch.yes):
                self._items(item.yes)
            with self.w.into(branch.no):
                self._items(item.no)
            if branch.yes or branch.no:
                self.w.block.append(branch)

    def _group(self, group: Group) -> None:
        live = [t for t in group.tasks if not self._idle(t)]
        if not live:
            return
        note = Note(*_origin(live))
        body: list[Stmt] = []
        with self.w.into(body):
            if group.shape is None:
                self._unit(live[0])
            else:
                self._loop(group.shape, live)
        if any(not isinstance(s, Note) for s in body):
            self.w.block.append(note)
            self.w.block.extend(body)

    def _as_one(self, one: Group, next: Item | None) -> tuple[Through, Fill, Result] | None:
        """A matrix and the product of a row by it, where they run in the same loops."""
        matrix = [t for t in one.tasks if not self._idle(t)]
        if not isinstance(next, Group) or len(matrix) != 1 or one.clock != next.clock:
            return None
        first, second = matrix[0], next.tasks[0]
        if not one_sweep(self.homes, first, second):
            return None
        assert isinstance(first.unit, Compute) and isinstance(second.unit, Fill)
        self.w.note(*_origin([first, second]))
        there = Through(self.w, self.puller, first.unit.var, self._place(first.unit.var))
        return there, second.unit, self._result(second.unit, self._place(second.unit.var))

    def _idle(self, task: Task) -> bool:
        """Whether nothing is left to do: the value is where it should go."""
        match task.unit:
            case Keep():
                return True
            case Copy(flag=flag):
                return flag is None and self._placed(task)
            case _:
                return False

    def _placed(self, task: Task) -> bool:
        """Whether a copy finds its value in place."""
        if not isinstance(task.unit, Copy):
            return False
        source = self.work.root(task.unit.source)
        if task.unit.state is not None and source is task.unit.state.old:
            return True
        slot = self.homes.slot.get(source)
        return (
            slot is not None and slot.place is not None and same_place(slot.place, task.unit.place)
        )

    def _loop(self, shape: tuple[int, ...], tasks: list[Task]) -> None:
        """One pass over a shape for all of these tasks."""
        for task in tasks:
            if isinstance(task.unit, Copy) and task.unit.flag is not None:
                self.w.store(task.unit.flag, (), Const(True, fmt.bool_))
        tasks = [t for t in tasks if not self._placed(t)]
        if tasks:
            with self.w.loops(shape) as running, self.puller.sharing():
                for task in tasks:
                    self._in_loop(task, running)

    def _in_loop(self, task: Task, running: Index) -> None:
        assert task.shape is not None
        index = _unsqueezed(task.shape, running)
        match task.unit:
            case Compute(var) if not var.type.shape:
                self._hold(var, self.puller.computed(var, ()))
            case Compute(var):
                self._element(task, var, index)
            case Copy():
                self._deliver(task.unit, index)
            case Open(state):
                self._hold_old(state)
            case _:
                raise AssertionError(task)

    def _element(self, task: Task, var: Var, index: Index) -> None:
        value = self.puller.computed(var, index)
        group = self.homes.group[task]
        if any(self.homes.group[r] is group for r in self.homes.readers.get(var, ())):
            if not isinstance(value, Const | Name):
                value = named(self.w, var.name, value)
            if isinstance(value, Name):
                self.puller.share(var, index, value)
        slot = self.homes.slot.get(var)
        if slot is not None:
            self._place(var).put(self.w, index, value)

    def _deliver(self, copy: Copy, index: Index) -> None:
        copy.place.put(self.w, index, self.puller.at(copy.source, index))

    def _place(self, var: Var) -> Place:
        """Where a task stores its result."""
        slot = self.homes.slot.get(var)
        if slot is None:
            name = self.hoisted[var] if var in self.hoisted else self._mutable(var)
            self.names[var] = name
            return Place(var.type, None, (), name)
        if slot.place is None:
            slot.place = self.shop.memory(slot.vars[0])
        return slot.place.seen_as(var.type)

    def _unit(self, task: Task) -> None:
        unit = task.unit
        match unit:
            case Fill():
                self._fill(unit)
            case Choice():
                self._choice(unit)
            case Rows(outs, scan):
                length = None if scan.length is None else self.puller.at(scan.length, ())
                places = [self._place(out) for out in outs]
                args = [self.puller.access(a) for a in scan.args]
                with self.shop.on(self.work.clocks[outs[0]]):
                    write_rows(
                        self.shop, unit, args, length, places, self.trips, self.depth, Region
                    )
            case Open(state):
                self._reopen(state)
            case Copy():
                assert unit.guard is not None
                with self.w.when(unit.guard):
                    fill(self.w, unit.place, self.puller.access(unit.source))
            case Guard():
                self._guard(unit)
            case Keep() | Compute():
                raise AssertionError(unit)
            case _:
                assert_never(unit)

    def _hold(self, var: Var, value: Expr) -> None:
        """A scalar gets its name."""
        if var in self.hoisted:
            self.w.assign(self.hoisted[var], value)
            self.names[var] = self.hoisted[var]
        elif isinstance(value, Const) or (isinstance(value, Name) and not self._changes(value)):
            self.names[var] = value
        else:
            self.names[var] = named(self.w, var.name, value)

    def _changes(self, name: Name) -> bool:
        """Whether a name is a local that is assigned again: a carried scalar."""
        return any(s.place.name is name for s in self.work.states)

    def _hold_old(self, state: State) -> None:
        """The old value of a scalar, by a name that survives the update."""
        value = state.place()
        if state.reset is not None and state.init is not None:
            value = self.w.select(self.puller.at(state.reset, ()), state.init(), value)
        self._hold(state.old, value)

    def _reopen(self, state: State) -> None:
        assert state.reset is not None
        if state.init is not None:
            with self.w.when(self.puller.at(state.reset, ())):
                fill(self.w, state.place, state.init)

    def _fill(self, unit: Fill) -> None:
        place = self._place(unit.var)
        k = unit.kernel.in_place
        args = unit.apply.args
        if k is not None and not self._shares(self.work.root(args[k]), unit.var):
            fill(self.w, place, self.puller.access(args[k]))
        accesses = tuple(map(self.puller.access, args))
        self.w.scratch = partial(self._scratch, unit.var)
        if unit.apply.op == "concat":
            advance(self.w, place, accesses, unit.apply.params["axis"])
        else:
            out = self._result(unit, place)
            unit.kernel.fill(self.w, out, accesses, use_of(unit.apply, unit.made or unit.var))
        var, into = unit.made or unit.var, unit.var.name if unit.made else ""
        for fact in self.w.facts:
            assert isinstance(fact, Chosen)
            self.shop.products.append(ProductFact(var.name, var.loc, var.scope, fact, into))
        self.w.facts.clear()
        format = unit.var.type.format
        if unit.made is None and not (format.exact or is_move(unit.apply, unit.var)):
            with self.w.loops(place.type.shape) as index:
                place.put(self.w, index, rounded(self.w, place(*index), format))

    def _result(self, unit: Fill, place: Place) -> Target | Fused:
        """Where a kernel stores; what computes the reader of a product where that is stored."""
        made = unit.made
        if made is None:
            return Target(self.w, place)
        alike = carrier(unit.var.type.format) == carrier(made.type.format)
        over = any(self._shares(v, unit.var) for v in self.homes.made_by[unit.var].reads)
        scratch = None if alike and not over else partial(self.shop.memory, made)
        return Fused(self.w, self.puller, self.names, made, unit.var, place, unit.shared, scratch)

    def _scratch(self, var: Var, stem: str, type: fmt.Type) -> Buffer:
        """Memory that a kernel needs on the way to a value."""
        return self.shop.buffer(var, "scratch", type, f"{var.name}_{stem}")

    def _shares(self, a: Var, b: Var) -> bool:
        """Whether two values have one memory."""
        slot = self.homes.slot.get(a)
        return slot is not None and slot is self.homes.slot.get(b)

    def _choice(self, unit: Choice) -> None:
        cond = self.puller.at(unit.merge.cond, ())
        if not unit.var.type.shape:
            self._choose(unit, cond)
            return
        place = self._place(unit.var)
        branch = If(cond, [], [])
        for source, block in ((unit.merge.yes, branch.yes), (unit.merge.no, branch.no)):
            if not self._shares(self.work.root(source), unit.var):
                with (
                    self.w.into(block),
                    self.w.loops(place.type.shape) as index,
                    self.puller.sharing(),
                ):
                    place.put(self.w, index, self.puller.at(source, index))
        if branch.yes or branch.no:
            self.w.block.append(branch)

    def _choose(self, unit: Choice, cond: Expr) -> None:
        """A scalar merge: a choice, unless a branch takes statements to compute."""
        branch = If(cond, [], [])
        with self.w.into(branch.yes):
            yes = self.puller.at(unit.merge.yes, ())
        with self.w.into(branch.no):
            no = self.puller.at(unit.merge.no, ())
        if not (branch.yes or branch.no):
            self._hold(unit.var, self.w.select(cond, yes, no))
            return
        place = self._place(unit.var)
        for value, block in ((yes, branch.yes), (no, branch.no)):
            with self.w.into(block):
                place.put(self.w, (), value)
        self.w.block.append(branch)

    def _guard(self, unit: Guard) -> None:
        fault = Place(unit.fault.type, unit.fault)
        first = fault().eq(0) | (fault() > unit.number)
        with self.w.when(~self.puller.at(unit.check.cond, ()) & first):
            fault.put(self.w, (), Const(unit.number, fmt.i32))


@dataclass(frozen=True)
class Held:
    """An Access to a scalar with a name."""

    var: Var
    value: Expr

    @property
    def type(self) -> fmt.Type:
        return self.var.type

    def __call__(self, *index: Expr | int) -> Expr:
        return self.value


def _unsqueezed(shape: tuple[int, ...], running: Index) -> Index:
    """The loop's indices, with 0 at axes of size 1."""
    left = list(running)
    return tuple(left.pop(0) if n > 1 else Const(0, fmt.i32) for n in shape)


def _vars(task: Task) -> Iterable[Var]:
    match task.unit:
        case Compute(var) | Fill(var) | Choice(var):
            return (var,)
        case Rows(outs):
            return outs
        case Open(state):
            return (state.old,)
        case Copy(source, _, _, state):
            return (source if state is None else state.old,)
        case Guard(check):
            return (check.cond,)
        case Keep(vars):
            return vars
        case _:
            assert_never(task.unit)


def _origin(tasks: list[Task]) -> tuple[str, Loc]:
    """What is computed there, by the user's lines: the text of a note, after the first line."""
    names: dict[Loc, dict[str, None]] = {}
    for task in tasks:
        for v in _vars(task):
            names.setdefault(v.loc, {})[v.name] = None
    (loc, first), *others = names.items()
    more = (f"; {at}: {', '.join(some)}" for at, some in others)
    return ", ".join(first) + "".join(more), loc
