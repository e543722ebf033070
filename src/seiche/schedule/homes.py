"""Which values share a memory: a state with its next value, a merge with its branches, an in-place kernel with its argument.

Values may share where none is overwritten before its last reader. A task may overwrite what it reads itself if it reads it only at
the index that it writes, or if it is a kernel that works in place on that argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from seiche.ir.clocks import Clock
from seiche.ir.core import Var, operands
from seiche.schedule.carry import carried
from seiche.schedule.order import Group, apart
from seiche.schedule.tasks import (
    Choice,
    Compute,
    Copy,
    Fill,
    Open,
    Place,
    Rows,
    Task,
    Work,
    squeezed,
)
from seiche.schedule.windows import stays


@dataclass(eq=False)
class Slot:
    """A memory and the values that are kept there at different times; `place` is fixed for states and outputs."""

    vars: list[Var]
    place: Place | None = None


@dataclass
class Homes:
    """`slot[var]` of every value in memory; scalars and what a loop keeps to itself have none."""

    work: Work
    groups: list[Group]
    slot: dict[Var, Slot] = field(default_factory=dict["Var", Slot])
    at: dict[Task, int] = field(default_factory=dict["Task", int])
    group: dict[Task, Group] = field(default_factory=dict["Task", Group])
    made_by: dict[Var, Task] = field(default_factory=dict["Var", Task])
    readers: dict[Var, list[Task]] = field(default_factory=dict["Var", list["Task"]])
    final: dict[Var, Clock] = field(default_factory=dict["Var", Clock])

    def __post_init__(self) -> None:
        for group in self.groups:
            for task in group.tasks:
                self.at[task] = len(self.at)
                self.group[task] = group
                self.made_by.update((var, task) for var in task.writes)
                for var in task.reads:
                    self.readers.setdefault(var, []).append(task)
        for state in self.work.states:
            if state.old.type.shape:
                self.slot[state.old] = Slot([state.old], state.place)
        for var, task in self.made_by.items():
            if var.type.shape and not isinstance(task.unit, Open) and not self.is_local(var):
                self.slot[var] = Slot([var])
        self._share()

    def is_local(self, var: Var) -> bool:
        """Whether all readers of a value are in its own loop, at its index."""
        task = self.made_by[var]
        if not isinstance(task.unit, Compute):
            return False
        group = self.group[task]
        return all(self.group[r] is group and r.reads[var] for r in self.readers.get(var, ()))

    def _share(self) -> None:
        copies = [t for t in self.at if isinstance(t.unit, Copy)]
        for task in copies:
            assert isinstance(task.unit, Copy)
            if task.unit.state is not None:
                self._settle(task.unit, self.work.root(task.unit.source))
        for task in copies:
            assert isinstance(task.unit, Copy)
            if task.unit.state is None and task.unit.guard is None:
                self._deliver(task)
        for task in sorted(self.at, key=lambda t: -self.at[t]):
            match task.unit:
                case Choice(var, merge):
                    for branch in (merge.yes, merge.no):
                        self._join(var, self.work.root(branch))
                case Fill(var, apply, kernel) if kernel.in_place is not None:
                    self._join(var, self.work.root(apply.args[kernel.in_place]))
                case Rows(outs, scan):
                    for k, i in carried(scan).items():
                        self._join(outs[k], self.work.root(scan.args[i]))
                case _:
                    pass
        for task in self.at:
            match task.unit:
                case Compute(var) | Fill(var, made=Var()) if var in self.slot:
                    self._overwrite(task, var)
                case _:
                    pass

    def _overwrite(self, task: Task, var: Var) -> None:
        """An element-wise result takes the memory of an operand that nobody needs any more."""
        for other, same in task.reads.items():
            slot = self.slot.get(other)
            if same and slot is not None and slot.place is None and self.slot[var].place is None:
                if self._join(other, var):
                    return

    def _settle(self, copy: Copy, source: Var) -> None:
        """A state's next value goes to its memory, if it is computed there at the latest moment and nobody else's."""
        assert copy.state is not None
        if source in self.made_by and source in self.slot and source not in self.work.olds:
            self.final[source] = copy.clock
            if not self._join(copy.state.old, source):
                del self.final[source]

    def _deliver(self, task: Task) -> None:
        """An output is computed in its place. Only if it is on the clock of the copy: else the place would hold it too often."""
        copy = task.unit
        assert isinstance(copy, Copy)
        source = self.work.root(copy.source)
        slot = self.slot.get(source)
        if (
            slot is None
            or slot.place is not None
            or len(slot.vars) > 1
            or source not in self.made_by
        ):
            return
        if isinstance(self.made_by[source].unit, Rows | Fill | Choice | Compute):
            slot.place = copy.place
            self.final[source] = copy.clock

    def _join(self, a: Var, b: Var) -> bool:
        """Lets a and b share a memory, if they may; True if they do."""
        one, two = self.slot.get(a), self.slot.get(b)
        if one is None or two is None or one is two:
            return one is two and one is not None
        alike = a.type.format == b.type.format and squeezed(a.type.shape) == squeezed(b.type.shape)
        if not alike or (one.place is not None and two.place is not None):
            return False
        vars = [*one.vars, *two.vars]
        if not self._on_clock(vars) or self._ends_early(vars):
            return False
        if any(self._clash(v, u, vars) for v in vars for u in vars if u is not v):
            return False
        merged = Slot(vars, one.place or two.place)
        self.slot.update((v, merged) for v in vars)
        return True

    def _on_clock(self, vars: list[Var]) -> bool:
        """Whether a state among them is overwritten on its own clock only: elsewhere it keeps its value."""
        clocks = [
            c
            for v in vars
            if (t := self.made_by.get(v)) and not isinstance(t.unit, Open)
            for c in self._writes(t, vars)
        ]
        held = [s.clock for s in self.work.states if s.old in vars]
        return all(c[: len(clock)] == clock for clock in held for c in clocks)

    def _ends_early(self, vars: list[Var]) -> bool:
        """Whether the copy that ends a state among them, from elsewhere, comes before a reader of what else is kept there."""
        for task in self.at:
            copy = task.unit
            if not isinstance(copy, Copy) or copy.state is None or copy.state.old not in vars:
                continue
            if self.work.root(copy.source) in vars:
                continue
            readers = (r for u in vars if u is not copy.state.old for r in self.readers.get(u, ()))
            if any(self.at[r] > self.at[task] for r in readers):
                return True
        return False

    def _clash(self, v: Var, u: Var, vars: list[Var]) -> bool:
        """Whether computing v destroys u before u's last reader."""
        writer = self.made_by.get(v)
        if writer is None or (v in self.work.olds and isinstance(writer.unit, Open)):
            return False
        clocks = list(self._writes(writer, vars))
        born = -1 if u in self.work.olds else self.at[self.made_by[u]]
        p = self.at[writer]
        if born >= p or not clocks:
            return False
        if u in self.final and any(not apart(self.work, c, self.final[u]) for c in clocks):
            return True
        for reader in self.readers.get(u, ()):
            if all(apart(self.work, c, reader.clock) for c in clocks):
                continue
            if reader is writer:
                if not self._in_place(writer, u, v):
                    return True
            elif self.at[reader] > p:
                if not self._skips(reader, u, vars, clocks):
                    return True
            elif self.group[reader] is self.group[writer] and not reader.reads[u]:
                return True
        return False

    def _writes(self, task: Task, vars: Iterable[Var]) -> Iterable[Clock]:
        """The clocks on which a task stores: a merge only copies the branches that are not in its memory already."""
        if isinstance(task.unit, Choice):
            merge = task.unit.merge
            for branch, on in ((merge.yes, True), (merge.no, False)):
                if self.work.root(branch) not in vars:
                    yield (*task.clock, (merge.cond, on))
        else:
            yield task.clock

    def _in_place(self, task: Task, u: Var, v: Var) -> bool:
        """Whether a task that reads u may leave v in its memory."""
        match task.unit:
            case Fill(_, apply, kernel, None):
                k = kernel.in_place
                moves = stays(self.work, apply, u)
                if not moves and (k is None or self.work.root(apply.args[k]) is not u):
                    return False
                return sum(u in self.leaves(a) for a in apply.args) == 1
            case Rows(outs, scan):
                i = carried(scan).get(outs.index(v))
                if i is None or self.work.root(scan.args[i]) is not u or u is scan.length:
                    return False
                return sum(u in self.leaves(a) for a in scan.args) == 1
            case _:
                return task.reads[u]

    def leaves(self, var: Var) -> set[Var]:
        """What is loaded, at most, when var is read."""
        todo, seen = [var], set[Var]()
        while todo:
            v = todo.pop()
            if v not in seen:
                seen.add(v)
                if v not in self.made_by and v in self.work.defs:
                    todo += operands(self.work.defs[v].rhs)
        return seen

    def _skips(self, reader: Task, u: Var, vars: list[Var], clocks: list[Clock]) -> bool:
        """A merge whose branch u lies in its own memory does not read it; it relies on it where the branch is taken."""
        if not isinstance(reader.unit, Choice) or reader.unit.var not in vars:
            return False
        merge = reader.unit.merge
        taken = [
            on
            for branch, on in ((merge.yes, True), (merge.no, False))
            if self.work.root(branch) is u
        ]
        inside = self.leaves(merge.yes) | self.leaves(merge.no)
        if not taken or (u in inside and not self._only_root(merge.yes, merge.no, u)):
            return False
        return all(
            apart(self.work, (*reader.clock, (merge.cond, on)), c) for on in taken for c in clocks
        )

    def _only_root(self, yes: Var, no: Var, u: Var) -> bool:
        """Whether the branches read u only as themselves."""
        return all(self.work.root(b) is u or u not in self.leaves(b) for b in (yes, no))
