"""The order of a region's tasks: after what they read, before what overwrites what they read, loops of one shape together.

*Hard* edges: a value before its readers; the readers of a state before the copy that ends it. *Soft* edges: the readers of a state
before the task that could compute its next value in place; each is added where it makes no cycle (else that state is copied).
Then list scheduling: tasks join the loop that is being filled where all that they read of it is at their own index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from seiche.ir.clocks import Clock
from seiche.ir.core import Var
from seiche.ir.graph import on_cycles
from seiche.numbers.formats import Shape
from seiche.schedule.carry import carried
from seiche.schedule.tasks import Choice, Compute, Copy, Fill, Keep, Open, Rows, State, Task, Work

FREES = 256
"""Bytes that a task must give back to be scheduled early."""


def exclusive(a: Clock, b: Clock) -> bool:
    """Whether two clocks have no tick in common.

    >>> from seiche.numbers.formats import Type, bool_
    >>> k = Var("k", Type(bool_))
    >>> exclusive(((k, True),), ((k, False),)), exclusive((), ((k, True),))
    (True, False)
    """
    for (c, on), (d, other) in zip(a, b, strict=False):
        if c is not d:
            return False
        if on != other:
            return True
    return False


def apart(work: Work, a: Clock, b: Clock) -> bool:
    """Whether two clocks of a region have no tick in common, for all that is known of their conditions."""
    slots = [work.slots[c[0][0]] for c in (a, b) if c and c[0][1] and c[0][0] in work.slots]
    return exclusive(a, b) or (
        len(slots) == 2 and slots[0][0] == slots[1][0] and slots[0] != slots[1]
    )


@dataclass
class Graph:
    """Tasks by number; `after[i]` are the tasks before i, with whether i may share their loop."""

    tasks: list[Task]
    work: Work
    after: list[dict[int, bool]] = field(default_factory=list[dict[int, bool]])
    producer: dict[Var, int] = field(default_factory=dict["Var", int])
    readers: dict[Var, list[int]] = field(default_factory=dict["Var", list[int]])
    copies: dict[State, int] = field(default_factory=dict["State", int])

    def __post_init__(self) -> None:
        self.after = [{} for _ in self.tasks]
        for i, task in enumerate(self.tasks):
            self.producer.update((var, i) for var in task.writes)
            if isinstance(task.unit, Copy) and task.unit.state is not None:
                self.copies[task.unit.state] = i
        for i, task in enumerate(self.tasks):
            for var, same in task.reads.items():
                self.readers.setdefault(var, []).append(i)
                if var in self.producer:
                    self.edge(self.producer[var], i, same)
        for state, copy in self.copies.items():
            for reader in self.readers.get(state.old, ()):
                if reader != copy and state.old.type.shape:
                    self.edge(reader, copy, self.tasks[reader].reads[state.old])
            if state.old in self.producer:
                self.edge(self.producer[state.old], copy, True)

    def edge(self, before: int, after: int, same: bool) -> None:
        self.after[after][before] = self.after[after].get(before, True) and same

    def sorted(self) -> tuple[list[int], list[int]]:
        """A topological order, and the tasks on or behind a cycle."""
        waiting = [len(a) for a in self.after]
        before: list[list[int]] = [[] for _ in self.tasks]
        for i, preds in enumerate(self.after):
            for p in preds:
                before[p].append(i)
        ready = [i for i, n in enumerate(waiting) if n == 0]
        order: list[int] = []
        while ready:
            i = ready.pop()
            order.append(i)
            for j in before[i]:
                waiting[j] -= 1
                if waiting[j] == 0:
                    ready.append(j)
        return order, [i for i, n in enumerate(waiting) if n > 0]

    def tangled(self) -> list[State]:
        """States whose copies wait for each other (two states that swap their values), not those that wait for such ones."""
        _, rest = self.sorted()
        if not rest:
            return []
        cyclic = on_cycles((p, i) for i in rest for p in self.after[i])
        return [s for s, i in self.copies.items() if i in cyclic]


class Reach:
    """`above[i]`: the tasks that come before i, as bits; kept up to date as edges are added."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.above = [0] * len(graph.tasks)
        order, rest = graph.sorted()
        assert not rest
        for i in order:
            for p in graph.after[i]:
                self.above[i] |= self.above[p] | 1 << p

    def before(self, a: int, b: int) -> bool:
        return bool(self.above[b] >> a & 1)

    def add(self, a: int, b: int, same: bool) -> bool:
        """An edge a -> b; False where it would close a cycle."""
        if a == b or self.before(b, a):
            return False
        self.graph.edge(a, b, same)
        if not self.before(a, b):
            new = self.above[a] | 1 << a
            for k in range(len(self.above)):
                if k == b or self.before(b, k):
                    self.above[k] |= new
        return True


def soften(graph: Graph) -> None:
    """Adds the soft edges, for the largest states first."""
    reach = Reach(graph)
    for state in sorted(graph.copies, key=lambda s: -s.old.type.nbytes):
        if state.old.type.shape:
            for writer in writers(graph, graph.work.root(state.next)):
                if not _first(graph, reach, state.old, writer):
                    break
    for i, task in enumerate(graph.tasks):
        if isinstance(task.unit, Fill) and task.unit.kernel.in_place is not None:
            _first(
                graph, reach, graph.work.root(task.unit.apply.args[task.unit.kernel.in_place]), i
            )
        elif isinstance(task.unit, Rows):
            for start in carried(task.unit.scan).values():
                _first(graph, reach, graph.work.root(task.unit.scan.args[start]), i)


def writers(graph: Graph, var: Var) -> Iterator[int]:
    """The tasks that would write the memory of var if it is kept in one place: its own, then what that builds on."""
    if var not in graph.producer:
        return
    i = graph.producer[var]
    unit = graph.tasks[i].unit
    if isinstance(unit, Open):
        return
    yield i
    if isinstance(unit, Choice):
        for branch in (unit.merge.yes, unit.merge.no):
            yield from writers(graph, graph.work.root(branch))
    elif isinstance(unit, Fill) and unit.kernel.in_place is not None:
        yield from writers(graph, graph.work.root(unit.apply.args[unit.kernel.in_place]))
    elif isinstance(unit, Rows):
        start = carried(unit.scan).get(unit.outs.index(var))
        if start is not None:
            yield from writers(graph, graph.work.root(unit.scan.args[start]))


def _first(graph: Graph, reach: Reach, var: Var, writer: int) -> bool:
    """Puts the other readers of var before the writer; False (and nothing done) where one of them must come after it."""
    clock = graph.tasks[writer].clock
    others = [
        r
        for r in graph.readers.get(var, ())
        if r != writer and not apart(graph.work, graph.tasks[r].clock, clock)
    ]
    # A merge that takes var from its other branch does not read what the writer has changed.
    others = [r for r in others if not _passes(graph, r, var, clock)]
    if any(reach.before(writer, r) for r in others):
        return False
    return all(reach.add(r, writer, graph.tasks[r].reads[var]) for r in others)


def _passes(graph: Graph, reader: int, var: Var, clock: Clock) -> bool:
    unit = graph.tasks[reader].unit
    if not isinstance(unit, Choice):
        return False
    base, merge = graph.tasks[reader].clock, unit.merge
    branches = ((merge.yes, True), (merge.no, False))
    taken = [on for branch, on in branches if graph.work.root(branch) is var]
    return bool(taken) and all(apart(graph.work, (*base, (merge.cond, on)), clock) for on in taken)


# List scheduling.


@dataclass(eq=False)
class Group:
    """Tasks that share a clock and a loop (or one task that has no loop to share)."""

    clock: Clock
    shape: Shape | None
    tasks: list[Task]


def schedule(graph: Graph) -> list[Group]:
    """The tasks in order, in groups."""
    return _Scheduler(graph).run()


class _Scheduler:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rank = {i: k for k, i in enumerate(_depth_first(graph))}
        self.waiting = [len(a) for a in graph.after]
        self.next: list[list[int]] = [[] for _ in graph.tasks]
        for i, preds in enumerate(graph.after):
            for p in preds:
                self.next[p].append(i)
        self.unread = {v: len(r) for v, r in graph.readers.items()}
        self.nexts = {graph.work.root(s.next) for s in graph.work.states}
        self.ready = {i for i, n in enumerate(self.waiting) if n == 0}
        self.groups: list[Group] = []
        self.members: set[int] = set()

    def run(self) -> list[Group]:
        while self.ready:
            joining = [i for i in self.ready if self._joins(i)]
            if joining:
                i = min(joining, key=self.rank.__getitem__)
                self.groups[-1].tasks.append(self.graph.tasks[i])
            else:
                i = min(self.ready, key=self._cost)
                task = self.graph.tasks[i]
                self.groups.append(Group(task.clock, task.squeezed, [task]))
                self.members = set()
            self._done(i)
        assert sum(len(g.tasks) for g in self.groups) == len(self.graph.tasks)
        return self.groups

    def _done(self, i: int) -> None:
        self.ready.discard(i)
        self.members.add(i)
        for var in self.graph.tasks[i].reads:
            self.unread[var] -= 1
        for j in self.next[i]:
            self.waiting[j] -= 1
            if self.waiting[j] == 0:
                self.ready.add(j)

    def _joins(self, i: int) -> bool:
        task = self.graph.tasks[i]
        if not self.groups or task.squeezed is None:
            return False
        group = self.groups[-1]
        if task.clock != group.clock or task.squeezed != group.shape:
            return False
        return all(same for p, same in self.graph.after[i].items() if p in self.members)

    def _cost(self, i: int) -> tuple[int, int, int, int]:
        """Stay on the clock; then what frees memory; then kernels and scalars, so that loops find company; then the program's order."""
        task = self.graph.tasks[i]
        moved = not self.groups or task.clock != self.groups[-1].clock
        frees = self._freed(task) >= FREES
        late = isinstance(task.unit, Keep) or (bool(task.squeezed) and not frees)
        return (int(late), int(moved), int(not frees), self.rank[i])

    def _freed(self, task: Task) -> int:
        freed = sum(
            v.type.nbytes
            for v in task.reads
            if self.unread[v] == 1 and v in self.graph.producer and v not in self.graph.work.olds
        )
        unit = task.unit
        made = unit.var.type.nbytes if isinstance(unit, Compute | Fill) else 0
        # A window of the past moves on in the memory of its state.
        kept = isinstance(unit, Fill) and unit.var in self.nexts
        return freed - (0 if kept else made)


def _depth_first(graph: Graph) -> Iterable[int]:
    """A topological order that finishes what it has begun: what a task reads comes shortly before it."""
    done: dict[int, None] = {}
    for root in range(len(graph.tasks)):
        todo = [root]
        while todo:
            i = todo[-1]
            missing = [p for p in graph.after[i] if p not in done]
            if missing and i not in done:
                todo += reversed(missing)
                continue
            todo.pop()
            done[i] = None
    return done
