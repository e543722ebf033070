"""Fits a program into a number of bytes: which tapes are kept whole, which are recomputed in chunks, and of how many rows.

    store whole      <  one level of chunks        <  two levels        ...
    0 operations        the forward rows once more    twice more            and fewer bytes each time

The cost model is exact: every candidate is scheduled, and its plan says the bytes that C will use. Levels are added where they
save the most until the program fits, then taken back where they are not needed; of equally many levels the largest chunks that
fit are taken, which have the least to carry. Equal in bits to the program without a budget (`diff.checkpoint`).

Griewank & Walther 2000, "Algorithm 799: revolve", gives the optimum for a step of uniform cost; here steps have tapes and states
of known bytes, and the schedule is a nest of loops.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from seiche.diff.checkpoint import Levels, Pair, checkpoint, pairs
from seiche.errors import NOWHERE, Loc, SeicheError, fail
from seiche.ir.clocks import infer
from seiche.ir.core import Node, Scan, Var
from seiche.schedule.distribute import distribute
from seiche.schedule.lower import Lowered
from seiche.schedule.machine import schedule
from seiche.schedule.plan import CheckpointFact, Plan
from seiche.schedule.report import Report
from seiche.schedule.rowwise import row_by_row
from seiche.schedule.target import Target

UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
DEPTH_MAX = 4
"""Levels of chunks: each costs the forward rows once more."""
LINES = 3
"""Contributors that a refusal names."""


def bytes_of(memory: int | str, where: Loc = NOWHERE) -> int:
    """A budget in bytes; raises SE908.

    >>> bytes_of("64KiB"), bytes_of(100)
    (65536, 100)
    """
    if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return memory
    found = (
        re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", memory)
        if isinstance(memory, str)
        else None
    )
    if found is None or found[2].upper() not in UNITS:
        hint = f'a number, or text such as "64KiB"; units: {", ".join(("B", "KB", "MB", "GB", "KiB", "MiB", "GiB"))}'
        raise fail("SE908", f"memory={memory!r} is no number of bytes", where, hint=hint)
    return int(float(found[1]) * UNITS[found[2].upper()])


def fitted(lowered: Lowered, limit: int, target: Target | None = None) -> Lowered:
    """A program of the same meaning, of the fewest operations found, whose struct has at most `limit` bytes; SE908."""
    whole = Candidate(lowered, schedule(lowered, target).plan)
    if whole.plan.struct_bytes <= limit:
        return lowered
    bases = (distribute(lowered.node), distribute(row_by_row(lowered.node)))
    tries = [_Search(whole, base, limit, target).run() for base in bases]
    fitting = [found for found, _ in tries if found is not None]
    if not fitting:
        raise refusal(min((least for _, least in tries), key=lambda c: c.plan.struct_bytes), limit)
    best = min(fitting, key=lambda c: c.cost)
    return replace(best.lowered, checkpoints=best.facts)


@dataclass(frozen=True)
class Candidate:
    """A program, its plan, and the levels that its pairs are cut into."""

    lowered: Lowered
    plan: Plan
    levels: dict[Var, Levels] = field(default_factory=dict[Var, Levels])
    facts: tuple[CheckpointFact, ...] = ()

    @property
    def cost(self) -> tuple[int, int]:
        return self.plan.operations, self.plan.struct_bytes


class _Search:
    """One form of the program, and the cuts of its tapes."""

    def __init__(self, whole: Candidate, node: Node, limit: int, target: Target | None) -> None:
        self.whole, self.node, self.limit, self.target = whole, node, limit, target
        self.pairs = {key(p): p for p in every_pair(node)}
        self.known: dict[tuple[tuple[Var, Levels], ...], Candidate] = {}

    def run(self) -> tuple[Candidate | None, Candidate]:
        """What fits, of the fewest operations found; and the smallest program seen."""
        found, least = self._descend()
        if found is None:
            return None, least
        found = self._with_large_chunks(self._without_needless(found))
        return replace(found, facts=tuple(self._facts(found))), least

    def candidate(self, levels: dict[Var, Levels]) -> Candidate:
        """The program with its pairs cut like that."""
        wanted = {k: v for k, v in levels.items() if v}
        name = tuple((k, wanted[k]) for k in self.pairs if k in wanted)
        if name not in self.known:
            node = checkpoint(self.node, lambda pair: wanted.get(key(pair), ()))
            lowered = replace(self.whole.lowered, node=node, clocks=infer(node))
            self.known[name] = Candidate(lowered, schedule(lowered, self.target).plan, wanted)
        return self.known[name]

    def _fits(self, candidate: Candidate) -> bool:
        return candidate.plan.struct_bytes <= self.limit

    def _descend(self) -> tuple[Candidate | None, Candidate]:
        """Adds levels until the program fits; and the smallest program seen."""
        at = self.candidate({})
        least = min(at, self.whole, key=lambda c: c.plan.struct_bytes)
        while not self._fits(at):
            steps = list(self._steps(at))
            fitting = [c for c in steps if self._fits(c)]
            if fitting:
                return min(fitting, key=lambda c: c.cost), least
            if not steps:
                return None, least
            at = min(steps, key=lambda c: c.plan.struct_bytes)
            if at.plan.struct_bytes < least.plan.struct_bytes:
                least = at
        return at, least

    def _steps(self, at: Candidate) -> Iterator[Candidate]:
        """One level more for one pair; for all of them, where one alone saves nothing: tapes may lie in the same bytes."""
        more: dict[Var, Levels] = {}
        for k, pair in self.pairs.items():
            levels = smallest(pair, len(at.levels.get(k, ())) + 1)
            if levels:
                more[k] = levels
        steps = [self.candidate({**at.levels, k: levels}) for k, levels in more.items()]
        if any(c.plan.struct_bytes < at.plan.struct_bytes for c in steps):
            yield from steps
        elif more:
            yield self.candidate({**at.levels, **more})

    def _without_needless(self, found: Candidate) -> Candidate:
        """Takes back levels that it fits without."""
        for k, pair in self.pairs.items():
            for depth in range(len(found.levels.get(k, ()))):
                fewer = self.candidate({**found.levels, k: smallest(pair, depth)})
                if self._fits(fewer):
                    found = fewer
                    break
        return found

    def _with_large_chunks(self, found: Candidate) -> Candidate:
        """The largest outer chunks that fit: fewer of them, and fewer copies."""
        for k in found.levels:
            first, *rest = found.levels[k]
            sizes = [n for n in self._sizes(self.pairs[k].extent) if n > first]
            low, high = 0, len(sizes)
            while low < high:
                middle = (low + high) // 2
                wider = self.candidate({**found.levels, k: (sizes[middle], *rest)})
                if self._fits(wider) and wider.plan.operations <= found.plan.operations:
                    found, low = wider, middle + 1
                else:
                    high = middle
        return found

    def _sizes(self, extent: int) -> list[int]:
        """Chunks that divide the rows: the last one is then as long as the others."""
        return [n for n in range(1, extent) if extent % n == 0]

    def _facts(self, found: Candidate) -> Iterator[CheckpointFact]:
        before = self.whole.plan
        for k, levels in found.levels.items():
            pair, out = self.pairs[k], self.pairs[k].first.outs[0]
            names = tuple(v.name for v in pair.kept)
            whole = pair.tape_bytes
            kept = modelled(pair, levels)
            yield CheckpointFact(
                names,
                out.loc,
                out.scope,
                pair.extent,
                levels,
                whole,
                kept,
                before.struct_bytes,
                before.operations,
            )


def key(pair: Pair) -> Var:
    """Names a pair, however its body is rewritten."""
    return pair.kept[0]


def every_pair(node: Node) -> Iterator[Pair]:
    """The pairs of a node and of bodies in it."""
    for eq in node.eqs:
        if isinstance(eq.rhs, Scan):
            yield from every_pair(eq.rhs.body)
    yield from pairs(node)


def modelled(pair: Pair, levels: Levels) -> int:
    """The bytes of checkpoints and tape."""
    rows, total = pair.extent, 0
    for n in levels:
        total += -(-rows // n) * pair.state_bytes
        rows = n
    return total + rows * (pair.tape_bytes // pair.extent)


def smallest(pair: Pair, depth: int) -> Levels:
    """The chunks of so many levels that leave the fewest bytes; () if there are none, or if fewer levels leave as few."""
    if depth == 0 or depth > DEPTH_MAX:
        return ()
    levels, best = _smallest(pair.extent, pair.state_bytes, pair.tape_bytes // pair.extent, depth)
    fewer = _smallest(pair.extent, pair.state_bytes, pair.tape_bytes // pair.extent, depth - 1)[1]
    return levels if best < fewer else ()


@lru_cache(maxsize=4096)
def _smallest(rows: int, state: int, tape: int, depth: int) -> tuple[Levels, int]:
    """The chunks of so many levels, and their bytes. Those that divide the rows are preferred: they do no more work than asked for."""
    if depth == 0 or rows == 1:
        return (), rows * tape
    even = [n for n in range(1, rows) if rows % n == 0]
    found: list[tuple[int, Levels]] = []
    for sizes in (even, _some(rows)):
        for n in sizes:
            inner, size = _smallest(n, state, tape, depth - 1)
            found.append((-(-rows // n) * state + size, (n, *inner)))
        best = min(found)
        if sizes is even and best[0] <= 2 * _floor(rows, state, tape, depth):
            break
    return best[1], best[0]


def _floor(rows: int, state: int, tape: int, depth: int) -> float:
    """What the best real-valued chunks would take: depth + 1 equal factors."""
    power = 1 / (depth + 1)
    return (depth + 1) * (rows * tape) ** power * max(state, 1) ** (1 - power)


def _some(rows: int) -> list[int]:
    """Sizes about an eighth apart."""
    found, n = list[int](), 1
    while n < rows:
        found.append(n)
        n = max(n + 1, n * 9 // 8)
    return found


def refusal(least: Candidate, limit: int) -> SeicheError:
    """SE908, with what takes the most."""
    plan, node = least.plan, least.lowered.node
    by_line = Report(node.name, plan, ()).by_line
    largest = sorted(by_line.items(), key=lambda item: -(item[1].state + item[1].scratch))
    why: list[tuple[str, Loc | None]] = []
    for at, cost in largest[:LINES]:
        parts = [
            f"{n:,} B of {what}"
            for n, what in ((cost.state, "state"), (cost.scratch, "scratch"))
            if n
        ]
        if parts:
            why.append((f"{' and '.join(parts)} are asked for here", at if at.line else None))
    return fail(
        "SE908", f"`{node.name}` does not fit in {limit:,} bytes: it needs {plan.struct_bytes:,} at least", node.loc, *why,
        hint="shorten the frame or the rows that are differentiated through, narrow the state or its format, or allow more memory",
    )  # fmt: skip
