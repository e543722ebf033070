"""From a lowered node to a machine: memories, a reset, a step; and the plan, the facts about them.

Passes, in order: what is computed in its readers (`tasks`) or where its product is stored (`fuse`), the order and the common
loops (`order`), shared memories (`homes`), the statements (`region`, `rows`), the arena (`arena`), the layout of the structs (`layout`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seiche.ir.core import Fby, Lit, Var
from seiche.ir.loops import Access, Buffer, Const, Machine, Stmt, Writer
from seiche.numbers import formats as fmt
from seiche.numbers.formats import Format, Type
from seiche.schedule.arena import Arenas, allocate, memory_format
from seiche.schedule.lanes import widen
from seiche.schedule.layout import (
    Layout,
    arena_name,
    in_layout,
    out_layout,
    self_layout,
    weights_layout,
)
from seiche.schedule.lower import Lowered
from seiche.schedule.plan import BufferFact, Plan
from seiche.schedule.plan import Place as Where
from seiche.schedule.pull import identifier
from seiche.schedule.region import Region
from seiche.schedule.registers import keep
from seiche.schedule.rows import Zero
from seiche.schedule.shop import Constant, Shop
from seiche.schedule.target import Target, host
from seiche.schedule.tasks import Copy, Guard, Place, State, Work, fill
from seiche.schedule.tidy import read, tidy
from seiche.schedule.units import in_units


@dataclass(frozen=True)
class Scheduled:
    """A machine, its plan, and where the node's parts are: its states by their names in `Lowered.states`."""

    lowered: Lowered
    machine: Machine
    plan: Plan
    states: dict[str, Buffer]


def schedule(lowered: Lowered, target: Target | None = None) -> Scheduled:
    """Plans and writes a lowered node for a target (None: the host)."""
    on = target or host()
    integers = in_units(lowered, on.floats)
    made = _Writing(integers.lowered, on, integers.formats).run()
    return replace(made, lowered=lowered)


class _Writing:
    def __init__(self, lowered: Lowered, target: Target, formats: dict[Var, Format]) -> None:
        self.lowered, self.target = lowered, target
        self.node = lowered.node
        self.shop = Shop(Writer(hardware=target), formats)
        self.inputs = [self.shop.buffer(v, "in") for v in self.node.inputs]
        self.outputs = [self.shop.buffer(v, "out") for v in self.node.outputs]
        self.present: dict[Buffer, Buffer] = {}
        self.fault, self.fault_tick = self._fault()
        self.given: dict[Var, Access] = {
            v: Place(v.type, b) for v, b in zip(self.node.inputs, self.inputs, strict=True)
        }
        for eq in self.node.eqs:
            if isinstance(eq.rhs, Lit):
                self.given[eq.out] = Constant(self.shop, eq.out, eq.rhs.value)
        self.memories = {n: self._memory(n, eq.out) for n, eq in lowered.states.items()}

    def _fault(self) -> tuple[Buffer | None, Buffer | None]:
        """The number of the check that failed, and the tick at which a contract was broken."""
        if not self.node.checks:
            return None, None
        fault = Buffer("fault", Type(fmt.i32), "state", self.node.loc)
        if all(check.contract is None for check in self.node.checks):
            return fault, None
        return fault, Buffer("fault_tick", Type(fmt.u32), "state", self.node.loc)

    def _memory(self, name: str, var: Var) -> Buffer:
        return self.shop.buffer(var, "state")

    def run(self) -> Scheduled:
        work = self._work()
        step = self.shop.w.block
        for flag in self.present.values():
            self.shop.w.store(flag, (), Const(False, fmt.bool_))
        Region(self.shop, work).write()
        self._count()
        reset = self._reset(work.states)
        tidy(step)
        self._forget(read(step, reset))
        arenas = allocate(step, self.shop.carried, self.shop.scratch)
        self.shop.scratch = [b for b in self.shop.scratch if b in arenas.offsets]
        widen(step, self.shop.w)
        keep(step, self.shop.w)
        tidy(step)
        machine = self._machine(reset, step, arenas)
        plan = self._plan(machine, arenas)
        return Scheduled(self.lowered, machine, plan, dict(self.memories))

    def _count(self) -> None:
        """Ticks are counted, modulo 2**32, up to the one at which a check fails."""
        if self.fault is not None and self.fault_tick is not None:
            w, ticks = self.shop.w, Place(self.fault_tick.type, self.fault_tick)
            with w.when(Place(self.fault.type, self.fault)().eq(0)):
                ticks.put(w, (), ticks() + Const(1, fmt.u32))

    def _work(self) -> Work:
        clocks = self.lowered.clocks
        eqs = [e for e in self.node.eqs if not isinstance(e.rhs, Fby | Lit)]
        states: list[State] = []
        for name, eq in self.lowered.states.items():
            assert isinstance(eq.rhs, Fby)
            var, init = eq.out, eq.rhs.init
            start = Zero(var.type) if init is None else self.given[init]
            place = Place(var.type, self.memories[name])
            states.append(State(var, eq.rhs.arg, start, eq.rhs.reset, place, clocks[var]))
        copies = [Copy(s.next, s.place, s.clock, s) for s in states]
        for var, buffer in zip(self.node.outputs, self.outputs, strict=True):
            copies.append(
                Copy(var, Place(var.type, buffer), clocks[var], flag=self._flag(var, buffer))
            )
        guards = [Guard(c, k + 1, self.fault) for k, c in enumerate(self.node.checks) if self.fault]
        known = {v: clocks[v] for e in self.node.eqs for v in e.outs}
        known |= {v: () for v in self.node.inputs}
        slots = {
            cond: (k, i)
            for k, group in enumerate(self.lowered.exclusive)
            for i, some in enumerate(group[:-1])
            for cond in some
        }
        return Work(eqs, self.given, known, states, copies, guards, slots=slots)

    def _flag(self, var: Var, buffer: Buffer) -> Buffer | None:
        """Says whether the output is present, where it may be absent."""
        if not self.lowered.clocks[var]:
            return None
        flag = Var(f"present_{buffer.name}", Type(fmt.bool_), var.loc)
        self.present[buffer] = self.shop.buffer(flag, "out")
        return self.present[buffer]

    def _reset(self, states: list[State]) -> list[Stmt]:
        block: list[Stmt] = []
        with self.shop.w.into(block):
            for s in states:
                assert s.init is not None
                self.shop.w.note(s.old.name, s.old.loc)
                fill(self.shop.w, s.place, s.init)
            if self.fault is not None:
                self.shop.w.store(self.fault, (), Const(0, fmt.i32))
            if self.fault_tick is not None:
                self.shop.w.store(self.fault_tick, (), Const(0, fmt.u32))
        return block

    def _forget(self, used: set[Buffer]) -> None:
        """Drops the constants that nothing reads any more."""
        shop = self.shop
        shop.weights = [(b, x) for b, x in shop.weights if b in used]
        shop.tables = [(b, x) for b, x in shop.tables if b in used]

    def _machine(self, reset: list[Stmt], step: list[Stmt], arenas: Arenas) -> Machine:
        kept = [b for b in (self.fault, self.fault_tick) if b is not None]
        states = [*self.memories.values(), *kept]
        s = self.shop
        return Machine(
            identifier(self.node.name), states, s.scratch, s.weights, s.tables, self.inputs, self.outputs,
            self.present, self.fault, self.lowered.ended is not None, arenas.offsets, arenas.sizes, reset, step,
            self._said(), self.fault_tick,
        )  # fmt: skip

    def _said(self) -> tuple[str, ...]:
        """What each check is about, and how late it is known."""
        pairs = zip(self.node.checks, self.lowered.check_latency, strict=True)
        return tuple(
            c.said(self.node.name) + (f", {late} ticks late" if late else "") for c, late in pairs
        )

    # Facts.

    def _plan(self, machine: Machine, arenas: Arenas) -> Plan:
        whole, ins, outs = (
            self_layout(machine, self.target.pointer),
            in_layout(machine),
            out_layout(machine),
        )
        blob = weights_layout(machine)
        flash = (
            blob.size if machine.weights else 0
        )  # C has no empty struct: a byte stands for nothing
        plan = Plan(machine.name, self.target.pointer, whole.size, ins.size, outs.size, flash)
        plan.state_bytes = sum(b.type.nbytes for b in machine.state)
        plan.arena_bytes = {f.name: n * f.itemsize for f, n in arenas.sizes.items()}
        plan.table_bytes = sum(b.type.nbytes for b, _ in machine.tables)
        plan.statements = arenas.statements
        plan.equations, plan.sweeps = self.shop.equations, self.shop.sweeps
        plan.products = self.shop.products
        plan.exclusive = self.lowered.exclusive
        always = (0, arenas.statements)
        parts: list[tuple[list[Buffer], Where, Layout | None]] = [
            (machine.state, "state", whole),
            ([b for b, _ in machine.weights], "weights", blob),
            ([b for b, _ in machine.tables], "table", None),
            (machine.inputs, "in", ins),
            ([*machine.outputs, *machine.present.values()], "out", outs),
        ]
        for buffers, where, layout in parts:
            for b in buffers:
                offset = 0 if layout is None else layout.offsets[b.name]
                plan.buffers.append(self._fact(b, where, offset, always))
        for b in machine.scratch:
            start = whole.offsets[arena_name(memory_format(b).name)]
            offset = start + arenas.offsets[b] * b.type.format.itemsize
            plan.buffers.append(self._fact(b, "scratch", offset, arenas.lives[b]))
        return plan

    def _fact(self, b: Buffer, where: Where, offset: int, life: tuple[int, int]) -> BufferFact:
        var = self.shop.origin.get(b)
        name, scope = (b.name, ()) if var is None else (var.name, var.scope)
        kind = self.shop.kinds.get(b, "")
        return BufferFact(
            b.name, name, b.loc, scope, b.type, where, b.type.nbytes, offset, *life, kind
        )
