"""Bounds the operations of the worst tick: the work that a frame asks for where it closes is spread over the ticks that follow.

    deadline = 400_000      operations per tick at most            deadline = "2.5x"      times those of the mean tick

The work of the slower clocks is done in slots (`schedule.slots`, `schedule.amortise`), that of the largest first, of as few clocks as
must be. Of all quotas that keep the deadline the largest is taken: the work is done early, and frames may be short. The bound is that of
the plan: every candidate is scheduled, and its operations counted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from seiche.errors import NOWHERE, Loc, SeicheError, fail
from seiche.ir.clocks import infer
from seiche.ir.core import Node, Var
from seiche.schedule.amortise import Amortised, amortised
from seiche.schedule.distribute import distribute
from seiche.schedule.lower import Lowered
from seiche.schedule.machine import schedule
from seiche.schedule.plan import DeadlineFact, Exclusive, Plan, SlotFact, SpreadFact
from seiche.schedule.rowwise import row_by_row
from seiche.schedule.slots import Region, Slot, cost
from seiche.schedule.target import Target

STEPS = 7
"""Halvings of the range of quotas: to about a hundredth of it."""
LINES = 3
"""Contributors that a refusal names."""
Clock = tuple[Var, bool]


def bounded(lowered: Lowered, deadline: int | str, target: Target | None = None) -> Lowered:
    """The program with at most so many operations in any tick, results of spread work late by one tick of their clock; SE912."""
    search = _Search(lowered, deadline, target)
    if search.before.operations <= search.limit:
        return replace(lowered, deadline=search.fact(lowered, search.before, ()))
    least: list[_Candidate] = []
    for count in range(1, len(search.heaviest) + 1):
        found = [search.best(form, search.heaviest[:count]) for form in search.forms]
        fitting = [c for c in found if c.plan.operations <= search.limit]
        if fitting:
            best = min(fitting, key=lambda c: (c.mean or 0, c.plan.struct_bytes))
            return best.lowered
        least += found
    raise search.refusal(least)


def limit_of(deadline: int | str, mean: float | None, where: Loc = NOWHERE) -> int:
    """A deadline in operations; raises SE912.

    >>> limit_of(1000, None), limit_of("2.5x", 100.0)
    (1000, 250)
    """
    if isinstance(deadline, int) and not isinstance(deadline, bool) and deadline > 0:
        return deadline
    text = deadline if isinstance(deadline, str) else ""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(x?)\s*", text)
    if found is None or float(found[1]) <= 0:
        hint = (
            'a number of operations per tick, or text such as "2.5x": times those of the mean tick'
        )
        raise fail("SE912", f"deadline={deadline!r} is no bound on a tick", where, hint=hint)
    if not found[2]:
        return int(float(found[1]))
    if mean is None:
        why = "there is a clock whose ticks are any number of ticks apart"
        hint = "give the deadline as a number of operations"
        raise fail(
            "SE912", f"deadline={deadline!r}: the mean tick is not known", where, why, hint=hint
        )
    return int(float(found[1]) * mean)


@dataclass(frozen=True)
class _Candidate:
    """A program whose work is spread, and its plan."""

    lowered: Lowered
    plan: Plan
    mean: float | None


class _Search:
    def __init__(self, lowered: Lowered, deadline: int | str, target: Target | None) -> None:
        self.lowered, self.target = lowered, target
        self.before = schedule(lowered, target).plan
        self.regions = {key: Region(lowered.node, lowered.clocks, *key) for key in _clocks(lowered)}
        self.mean = self._mean()
        self.limit = limit_of(deadline, self.mean, lowered.node.loc)

    def _mean(self) -> float | None:
        """Operations of the mean tick as the program stands, at least: those of clocks that tick now and then are left out."""
        if self.heaviest and self.regions[self.heaviest[0]].longest is None:
            return None
        total = 0.0
        for fact in self.before.equations:
            region = self.regions.get(fact.clock[0]) if fact.clock else None
            if region is not None and fact.operations:
                total += fact.operations / region.longest if region.longest else 0
            else:
                total += fact.operations
        return total

    @cached_property
    def forms(self) -> tuple[Node, ...]:
        """Each scan with one sweep: as it stands, and whole tensors between scans row by row."""
        return distribute(self.lowered.node), distribute(row_by_row(self.lowered.node))

    @cached_property
    def heaviest(self) -> list[Clock]:
        """The clocks with work to spread, that with the most at one tick first."""
        work = {key: region.operations for key, region in self.regions.items()}
        return sorted((key for key in work if work[key]), key=lambda key: -work[key])

    def best(self, form: Node, clocks: Sequence[Clock]) -> _Candidate:
        """The largest quotas that keep the deadline; the smallest that there are, if none do."""
        finest = {key: self._finest(self._region(form, key)) for key in clocks}
        low, high = 1.0, max(self.regions[key].operations / finest[key] for key in clocks)
        found = self._candidate(form, finest, low)
        if found.plan.operations > self.limit:
            return found
        for _ in range(STEPS):
            middle = (low * high) ** 0.5
            wider = self._candidate(form, finest, middle)
            if wider.plan.operations <= self.limit:
                found, low = wider, middle
            else:
                high = middle
        return found

    def _region(self, node: Node, key: Clock) -> Region:
        """A region that can be spread."""
        region = Region(node, infer(node), *key)
        if region.cond in self.lowered.returning:
            raise _returns(region)
        return region

    def _finest(self, region: Region) -> int:
        """The smallest quota with which the work is done before the clock comes again."""
        room = None if region.longest is None else region.longest - 1
        low, high = 1, max(1, region.operations)
        if room is not None and _ticks(region, high) > room:
            raise _no_room(region)
        if room is None:
            return max(1, region.grain[0])
        while low < high:
            middle = (low + high) // 2
            if _ticks(region, middle) <= room:
                high = middle
            else:
                low = middle + 1
        return low

    def _candidate(self, form: Node, finest: dict[Clock, int], scale: float) -> _Candidate:
        node, exclusive, spread = form, list[Exclusive](), list[SpreadFact]()
        for key, quota in finest.items():
            region = self._region(node, key)
            slots = region.slots(int(quota * scale))
            room = None if region.gap is None else region.gap - 1
            done = amortised(region, slots, watched=room is None)
            assert room is None or sum(s.ticks for s in done.slots) <= room
            node = done.node
            exclusive.append(_exclusive(region, done))
            spread.append(_spread(region, done))
        lowered = replace(self.lowered, node=node, clocks=infer(node), exclusive=tuple(exclusive))
        late = len(node.checks) - len(self.lowered.check_latency)
        lowered = replace(lowered, check_latency=(*self.lowered.check_latency, *(0,) * late))
        plan = schedule(lowered, self.target).plan
        mean = self._mean_of(plan, list(finest), spread)
        spread = [_counted(s, costs) for s, costs in zip(spread, plan.shares[1], strict=True)]
        fact = self.fact(lowered, plan, tuple(spread), mean)
        return _Candidate(replace(lowered, deadline=fact), plan, mean)

    def _mean_of(self, plan: Plan, clocks: list[Clock], spread: list[SpreadFact]) -> float | None:
        """Operations of the mean tick where the work of these clocks is spread."""
        other = {k: r for k, r in self.regions.items() if k not in clocks}
        rest, sets = plan.shares
        total = float(rest)
        for fact in plan.equations:
            region = other.get(fact.clock[0]) if fact.clock else None
            if region is not None:
                total -= fact.operations * (1 - 1 / region.longest if region.longest else 1)
        for key, costs, fact in zip(clocks, sets, spread, strict=True):
            ticks = self.regions[key].longest
            if ticks is None:
                return None
            *slots, leaving = costs.values()
            work = sum(n * slot.ticks for n, slot in zip(slots, fact.slots, strict=True))
            total += (work + leaving) / ticks
        return total if self.mean is not None else None

    def fact(
        self,
        lowered: Lowered,
        plan: Plan,
        spread: tuple[SpreadFact, ...],
        mean: float | None = None,
    ) -> DeadlineFact:
        old = self.before
        return DeadlineFact(
            self.limit, old.operations, self.mean, plan.operations, mean if spread else self.mean,
            old.struct_bytes, plan.struct_bytes, spread,
        )  # fmt: skip

    def refusal(self, least: list[_Candidate]) -> SeicheError:
        """SE912: what would hold, and the lines of the worst tick."""
        name = self.lowered.node.name
        if not least:
            lines = list(_largest(self.before))
            what = f"`{name}` does {self.before.operations:,} operations in a tick, and none of them can wait"
            return fail("SE912", f"{what}: the deadline is {self.limit:,}", lines[0][1], *lines)
        best = min(least, key=lambda c: c.plan.operations)
        lines = list(_largest(best.plan))
        return fail(
            "SE912",
            f"`{name}` does {best.plan.operations:,} operations in its worst tick at least: the deadline is {self.limit:,}",
            lines[0][1], *lines,
            hint=f"deadline={best.plan.operations} holds; longer frames leave more ticks for the same work, and a row of a scan is not cut",
        )  # fmt: skip


def _clocks(lowered: Lowered) -> list[Clock]:
    """The clocks right below the base."""
    found = (lowered.clocks[out] for eq in lowered.node.eqs for out in eq.outs)
    return list(dict.fromkeys(clock[0] for clock in found if clock))


def _ticks(region: Region, quota: int) -> int:
    """The ticks of the work, and one more: for a state whose next value is the result of the last scan."""
    slots = region.slots(quota)
    return sum(slot.ticks for slot in slots) + (slots[-1].rows is not None)


def _exclusive(region: Region, done: Amortised) -> Exclusive:
    """Slots exclude each other and the clock's own ticks, where results leave."""
    leaving = {done.done, region.cond} if region.on else {done.done}
    return (*(frozenset([gate]) for gate in done.gates), frozenset(leaving))


def _spread(region: Region, done: Amortised) -> SpreadFact:
    slots = tuple(_slot(slot, region) for slot in done.slots)
    states = tuple(dict.fromkeys("/".join((*v.scope, v.name)) for v in region.states))
    late = tuple(dict.fromkeys(v.name for v in region.leaving))
    return SpreadFact(region.cond.name, region.cond.loc, region.gap, slots, states, late)


def _slot(slot: Slot, region: Region) -> SlotFact:
    """Named after the equation that does the most."""
    main = max(slot.eqs, key=cost, default=None)
    if main is None:
        return SlotFact("memories", region.cond.loc, slot.ticks, None, 0)
    more = f" and {len(slot.eqs) - 1} more" if len(slot.eqs) > 1 else ""
    return SlotFact(main.outs[0].name + more, main.outs[0].loc, slot.ticks, slot.rows, 0)


def _counted(fact: SpreadFact, costs: dict[frozenset[Var], int]) -> SpreadFact:
    """With the operations of the plan."""
    pairs = zip(fact.slots, costs.values(), strict=False)
    return replace(fact, slots=tuple(replace(slot, operations=n) for slot, n in pairs))


def _largest(plan: Plan) -> Iterator[tuple[str, Loc]]:
    """The lines that ask for the most operations of the worst tick."""
    worst = {c for costs in plan.shares[1] for c in max(costs, key=lambda some: costs[some])}
    spread = {c for group in plan.exclusive for some in group for c in some}
    lines: dict[Loc, int] = defaultdict(int)
    for fact in plan.equations:
        conds = {c for c, on in fact.clock if on and c in spread}
        if not conds or conds & worst:
            lines[fact.loc] += fact.operations
    for at, n in sorted(lines.items(), key=lambda item: -item[1])[:LINES]:
        yield f"{n:,} operations of that tick are asked for here", at


def _returns(region: Region) -> SeicheError:
    why = "its streams return to the ticks of the frame, which states their latency"
    hint = "take what the deadline may delay out of the frame by `last`, `sum` or `stack`; or allow more operations"
    what = f"the work of the frame that `{region.cond.name}` closes cannot wait"
    return fail("SE912", what, region.cond.loc, why, hint=hint)


def _no_room(region: Region) -> SeicheError:
    what = f"the work of the clock `{region.cond.name}` cannot be spread: it comes every {region.longest} ticks"
    why = f"{region.operations:,} operations, of which each part waits for the one before"
    return fail("SE912", what, region.cond.loc, why, hint="longer frames leave ticks for it")
