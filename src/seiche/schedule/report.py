"""The report: what a program costs, before it runs, per node and per line of the user's source."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from seiche.errors import Loc
from seiche.ir.clocks import show as show_clock
from seiche.schedule.lower import Lowered
from seiche.schedule.plan import CheckpointFact, DeadlineFact, Plan, SpreadFact


@dataclass
class Cost:
    """Bytes and operations that one line or node causes."""

    state: int = 0
    scratch: int = 0
    constants: int = 0
    operations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Output:
    """A result: its type, its clock, and how many ticks it comes late."""

    name: str
    type: str
    clock: str
    latency: int


@dataclass(frozen=True)
class Report:
    """What is known of a program before it runs. Print it, or draw it with `picture(path)`."""

    name: str
    plan: Plan
    outputs: tuple[Output, ...]
    checkpoints: tuple[CheckpointFact, ...] = ()
    deadline: DeadlineFact | None = None
    contracts: tuple[str, ...] = ()

    @property
    def by_line(self) -> dict[Loc, Cost]:
        """The costs of each line of the user's source, in the order of the source."""
        costs = self._costs(lambda fact: fact.loc)
        return dict(sorted(costs.items(), key=lambda item: (item[0].file, item[0].line)))

    @property
    def by_node(self) -> dict[str, Cost]:
        """The costs of each instance, by its path; its own equations only."""
        return dict(sorted(self._costs(lambda fact: "/".join((self.name, *fact.scope))).items()))

    def _costs(self, key: Any) -> dict[Any, Cost]:
        costs: dict[Any, Cost] = defaultdict(Cost)
        kinds = {
            "state": "state",
            "scratch": "scratch",
            "weights": "constants",
            "table": "constants",
        }
        for fact in self.plan.buffers:
            if fact.place in kinds:
                costs[key(fact)] += Cost(**{kinds[fact.place]: fact.nbytes})
        for fact in self.plan.equations:
            costs[key(fact)] += Cost(operations=fact.operations)
        return costs

    def as_dict(self) -> dict[str, Any]:
        """The totals, for tables and files."""
        p = self.plan
        return {
            "name": self.name,
            "struct_bytes": p.struct_bytes, "state_bytes": p.state_bytes, "scratch_bytes": p.scratch_bytes,
            "constant_bytes": p.weights_bytes + p.table_bytes, "in_bytes": p.in_bytes, "out_bytes": p.out_bytes,
            "operations": p.operations, "sweeps": len(p.sweeps), "latency": [o.latency for o in self.outputs],
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(
            [
                *self._head(),
                *self._sweeps(),
                *self._products(),
                *self._budget(),
                *(_spread(self.deadline) if self.deadline else ()),
                *self._contracts(),
                *self._nodes(),
                *self._lines(),
            ]
        )

    def _head(self) -> list[str]:
        p = self.plan
        rows = [
            ("memory of an instance", p.struct_bytes, f"sizeof(struct {p.name})"),
            ("  state", p.state_bytes, "carried from tick to tick"),
            (
                "  scratch",
                p.scratch_bytes,
                "frames, tape and temporaries, sharing one arena per type",
            ),
            (
                "constants (flash)",
                p.weights_bytes + p.table_bytes,
                "weights, initial values, tables",
            ),
            ("inputs, outputs", p.in_bytes + p.out_bytes, ""),
        ]
        lines = [f"{self.name}: what it costs before it runs", ""]
        lines += [f"  {what:<24}{size:>12,} B   {why}".rstrip() for what, size, why in rows]
        lines += [
            f"  {'operations per tick':<24}{p.operations:>12,}     at most: every clock present, every frame full"
        ]
        lines += ["", "  result            type              clock                       latency"]
        lines += [
            f"  {o.name:<18}{o.type:<18}{o.clock:<28}{o.latency:>3} ticks" for o in self.outputs
        ]
        return lines

    def _sweeps(self) -> list[str]:
        lines = ["", "  sweeps (the step itself runs forward, once)"]
        for s in self.plan.sweeps:
            way = "backward" if s.reverse else "forward"
            kept = (
                f", leaves {sum(n for _, n in s.stored):,} B in {len(s.stored)} streams"
                if s.stored
                else ""
            )
            lines.append(
                f"  {'  ' * s.depth}{s.scan:<22} {way:<9}{s.extent:>6} rows  {len(s.equations):>4} equations{kept}"
            )
        return lines if self.plan.sweeps else []

    def _products(self) -> list[str]:
        """How each product is cut up; `*` where the user says so."""
        lines = [
            "",
            "  products                           i x j x k        cut up as (* as stated)",
        ]
        for p in self.plan.products:
            c = p.cut
            size = f"{c.extents.i} x {c.extents.j} x {c.extents.k}"
            how = "left to the compiler" if c.loops is None else f"{c.loops}{'*' * c.stated}"
            full = f"; {c.accumulators} accumulators, {c.registers} registers"
            spills = full if c.accumulators > c.registers else ""
            fused = f"; stored as `{p.into}`" if p.into else ""
            lines.append(f"  {f'{p.name}, {p.loc}':<35}{size:<17}{how}{fused}{spills}")
        return lines if self.plan.products else []

    def _budget(self) -> list[str]:
        """What a budget has cut, and what that costs."""
        lines = ["", "  tapes kept in chunks, the rest recomputed"]
        for c in self.checkpoints:
            rows = " of ".join(str(n) for n in (*reversed(c.levels), c.extent))
            lines.append(f"  {', '.join(c.streams)}"[:60] + f"  ({c.loc})")
            lines.append(
                f"      {rows} rows; {c.kept_bytes:,} B of checkpoints and tape instead of {c.whole_bytes:,}"
            )
        for c in self.checkpoints[:1]:
            p, more = self.plan, self.plan.operations / c.operations_before
            lines.append(
                f"  in all {p.struct_bytes:,} B instead of {c.bytes_before:,}, for {more:.2f} times the operations"
            )
        return lines if self.checkpoints else []

    def _contracts(self) -> list[str]:
        """What is monitored while the program runs."""
        head = ["", "  contracts, monitored (`monitors=False` leaves them out)"]
        return [*head, *(f"  {said}" for said in self.contracts)] if self.contracts else []

    def _nodes(self) -> list[str]:
        return ["", *_table("node", ((path, cost) for path, cost in self.by_node.items()))]

    def _lines(self) -> list[str]:
        rows = (
            (f"{os.path.basename(at.file)}:{at.line}  {at.source}"[:60], cost)
            for at, cost in self.by_line.items()
        )
        return ["", *_table("line", rows)]

    def picture(self, path: str) -> None:
        """Draws the sweeps and the memory map to a file (.png, .svg, .pdf); needs the extra `plot`."""
        from seiche.schedule.picture import draw

        draw(self, path)


def _spread(d: DeadlineFact) -> list[str]:
    """What a deadline has spread over ticks, and what that costs."""
    lines = ["", f"  deadline: {d.limit:,} operations per tick at most"]
    if not d.spread:
        return [*lines, "  held as it stands"]
    means = [f"{n:,.0f}" if n is not None else "unknown" for n in (d.mean, d.mean_before)]
    lines.append(
        f"  worst tick {d.worst:,} instead of {d.worst_before:,}, mean tick {means[0]} instead of {means[1]}"
        f"; {d.bytes:,} B instead of {d.bytes_before:,}"
    )
    return [*lines, *(line for fact in d.spread for line in _slots(fact))]


def _slots(fact: SpreadFact) -> list[str]:
    """The slots of a clock's work, what comes late, and which parameters a tick sees."""
    every = f"every {fact.gap} ticks" if fact.gap else "known at run time"
    lines = [f"  clock `{fact.clock}` ({fact.loc}), {every}: its work takes {fact.ticks} ticks"]
    for s in fact.slots:
        what = f"{s.rows} rows of {s.what}" if s.rows else s.what
        lines.append(f"      {s.ticks:>4} x {s.operations:>10,}   {what:<40.40}  ({s.loc})")
    if not fact.gap:
        lines.append(
            f"      fewer than {fact.ticks + 1} ticks after a full frame stop the program (SE913)"
        )
    if fact.late:
        lines.append(f"      one of its ticks late: {', '.join(fact.late)}"[:120])
    if fact.states:
        names = ", ".join(fact.states[:3]) + (", ..." if len(fact.states) > 3 else "")
        lines.append(
            f"      ticks of frame f see {names} as of frame f - 2 (without a deadline f - 1)"
        )
    return lines


def _table(title: str, rows: Iterable[tuple[str, Cost]]) -> list[str]:
    lines = [f"  {title:<60}{'state B':>10}{'scratch B':>11}{'const B':>10}{'ops/tick':>12}"]
    total = Cost()
    for name, cost in rows:
        total += cost
        lines.append(_row(name, cost))
    return [*lines, _row("all (scratch shares memory)", total)]


def _row(name: str, c: Cost) -> str:
    return f"  {name:<60}{c.state:>10,}{c.scratch:>11,}{c.constants:>10,}{c.operations:>12,}"


def report(lowered: Lowered, plan: Plan) -> Report:
    """The report of a lowered node and its plan."""
    outs = tuple(
        Output(v.name, str(v.type), show_clock(lowered.clocks[v]), late)
        for v, late in zip(lowered.node.outputs, lowered.latency, strict=True)
    )
    name = lowered.node.name
    owed = tuple(c.said(name) for c in lowered.node.checks if c.contract is not None)
    return Report(name, plan, outs, lowered.checkpoints, lowered.deadline, owed)
