"""Law 1 for contracts: interpreter and C agree with the oracle on whether a duty is broken, which one, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

import seiche as sc
from seiche.backends.c.binding import CProgram
from seiche.backends.interp import Interpreter
from seiche.backends.program import Program, Sparse
from seiche.errors import SeicheError
from seiche.ir.core import Check, Contract, Lit, Node
from tests import oracle
from tests.agreement import Target, program_of
from tests.programs import random_inputs, random_program

BITS, TICKS, DRAWS = 12, 14, 6
TARGETS = [pytest.param("interp"), pytest.param("c", marks=pytest.mark.cc)]


@dataclass
class Instance:
    """An instance to be built: which of the input's bits sample it, reset it, and are its conditions."""

    clock: int | None
    reset: int | None
    claims: list[tuple[bool, int, int | None]]
    children: list[Instance] = field(default_factory=list["Instance"])


def drawn(rng: np.random.Generator, depth: int) -> Instance:
    def bit(p: float) -> int | None:
        return int(rng.integers(BITS)) if rng.random() < p else None

    claims = [
        (bool(rng.random() < 0.5), int(rng.integers(BITS)), bit(0.4))
        for _ in range(int(rng.integers(0, 4)))
    ]
    inner = [drawn(rng, depth - 1) for _ in range(int(rng.integers(0, 3)) if depth else 0)]
    return Instance(bit(0.4), bit(0.4), claims, inner)


def built(of: Instance, number: Iterator[int]) -> sc.node:
    """The node of an instance; the text of a claim is its number."""
    mine = [(claim, next(number)) for claim in of.claims]
    inner = [(child, built(child, number)) for child in of.children]

    @sc.node
    def instance(b: sc.bool_[BITS]) -> sc.bool_:
        for (assumed, cond, clock), k in mine:
            word = sc.assume if assumed else sc.guarantee
            if clock is None:
                word(b[cond], str(k))
            else:
                with sc.every(b[clock]):
                    word(b[cond], str(k))
        for child, node in inner:
            use = {} if child.reset is None else {"reset": child.reset}
            if child.clock is None:
                node(b, **{n: b[i] for n, i in use.items()})
            else:
                with sc.every(b[child.clock]):
                    node(b, **{n: b[i] for n, i in use.items()})
        return b[0]

    return instance


def meaning(root: Instance, b: np.ndarray) -> set[tuple[int, int]]:
    """The breaches by the oracle: tick and claim, in the order in which `built` counts."""
    claims: list[oracle.Claim] = []
    around: list[int | None] = []
    opens: list[np.ndarray] = []

    def visit(of: Instance, there: np.ndarray, opened: np.ndarray, up: int | None) -> None:
        me = len(around)
        around.append(up)
        opens.append(opened)
        for assumed, cond, clock in of.claims:
            at = there if clock is None else there & b[:, clock]
            claims.append(oracle.Claim(me, assumed, at, b[:, cond]))
        for child in of.children:
            at = there if child.clock is None else there & b[:, child.clock]
            again = opened if child.reset is None else opened | (at & b[:, child.reset])
            visit(child, at, again, me)

    ticks = len(b)
    visit(root, np.ones(ticks, bool), np.zeros(ticks, bool), None)
    return oracle.breaches(claims, around, opens)


def outcome(program: Program, *inputs: np.ndarray) -> tuple[str, int] | None:
    """The text and the tick of the check that stops a run."""
    program.reset()
    try:
        program.run(*inputs)
    except SeicheError as error:
        failed = program.stopped
        assert failed is not None and failed.tick == int(
            str(error).partition(" at tick ")[2].split()[0]
        )
        return failed.check.text, failed.tick
    return None


def cases(seed: int) -> tuple[Instance, list[np.ndarray]]:
    rng = np.random.default_rng((seed, 7))
    root = drawn(rng, 3)
    return root, [rng.random((TICKS, BITS)) < rng.choice([0.5, 0.9, 0.97]) for _ in range(DRAWS)]


def stops_where_the_oracle_says(seed: int, target: str) -> None:
    root, draws = cases(seed)
    program = sc.compile(built(root, iter(range(1000))), target=target)
    for b in draws:
        wanted, found = meaning(root, b), outcome(program, b)
        assert (found is None) == (not wanted), seed
        if found is not None:
            assert (found[1], int(found[0])) in wanted and found[1] == min(wanted)[0], seed


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(10))
def test_the_first_breach_stops_a_program(seed: int, target: str) -> None:
    stops_where_the_oracle_says(seed, target)


@pytest.mark.long
@pytest.mark.cc
def test_the_first_breach_stops_many_programs() -> None:
    for seed in range(1000, 1200):
        stops_where_the_oracle_says(seed, "c")


@pytest.mark.parametrize("seed", range(20))
def test_what_is_owed_at_every_tick(seed: int) -> None:
    """The conditions of the checks are streams like others: as if nothing stopped where they do not hold."""
    root, draws = cases(seed)
    node = built(root, iter(range(1000))).trace().node
    conds = dict.fromkeys(c.cond for c in node.checks)
    program = program_of(replace(node, outputs=tuple(conds), checks=()))
    for b in draws:
        program.reset()
        results = dict(zip(conds, program.run(b) if conds else ()))
        found = {(t, int(check.text)) for check in node.checks for t in _false(results[check.cond])}
        assert found == meaning(root, b)


def _false(result: np.ndarray | Sparse) -> list[int]:
    """The ticks at which a condition does not hold."""
    if isinstance(result, Sparse):
        return result.ticks[~result.values].tolist()
    return np.flatnonzero(~result).tolist()


def test_the_draws_break_both_kinds_of_duty_and_none() -> None:
    kinds: set[bool | None] = set()
    late = 0
    for seed in range(10):
        root, draws = cases(seed)
        flat = [claim for one in _all(root) for claim in one.claims]
        for b in draws:
            said = meaning(root, b)
            kinds |= {flat[k][0] for _, k in said} or {None}
            late += bool(said) and min(said)[0] > 3
    assert kinds == {True, False, None} and late > 5


def _all(of: Instance) -> Iterator[Instance]:
    yield of
    for child in of.children:
        yield from _all(child)


def with_contracts(node: Node, seed: int) -> Node:
    """The node with duties about some of its streams of truth values, whatever their clocks and latencies."""
    rng = np.random.default_rng((seed, 11))
    constant = {v for eq in node.eqs if isinstance(eq.rhs, Lit) for v in eq.outs}
    defined = [v for eq in node.eqs for v in eq.outs if v not in constant]
    truths = [v for v in (*node.inputs, *defined) if str(v.type) == "bool"]
    some = rng.choice(len(truths), min(4, len(truths)), replace=False)
    duties = [
        Check(
            truths[i],
            "SE803" if k % 2 else "SE804",
            str(k),
            node.loc,
            Contract("assumption" if k % 2 else "guarantee"),
        )
        for k, i in enumerate(some)
    ]
    return replace(node, checks=(*node.checks, *duties))


@pytest.mark.parametrize(
    "target", [pytest.param(Interpreter), pytest.param(CProgram, marks=pytest.mark.cc)]
)
@pytest.mark.parametrize("first", range(0, 24, 6))
def test_conditions_of_random_programs(first: int, target: Target) -> None:
    judged = 0
    for seed in range(first, first + 6):
        node = with_contracts(random_program(seed, 30), seed)
        inputs = random_inputs(node, seed, 9)
        try:
            oracle.evaluate(replace(node, checks=()), inputs)
        except oracle.Failed:
            continue  # a frame overflows
        program = program_of(node, target)
        wanted, found = oracle.first_faults(node, inputs), outcome(program, *inputs)
        assert (found is None) == (not wanted), (seed, wanted, found)
        if found is not None:
            assert found == earliest(program, wanted), (seed, wanted, found)
            judged += 1
    assert judged > 2


def earliest(program: Program, faults: dict[str, int]) -> tuple[str, int]:
    """Of the faults the one that is noticed first; in one tick, assumptions come before guarantees."""
    late = {c.text: n for c, n in zip(program.lowered.node.checks, program.lowered.check_latency)}
    texts = [c.text for c in program.lowered.node.checks]
    text = min(faults, key=lambda t: (faults[t] + late[t], texts.index(t)))
    return text, faults[text]
