"""Random choices of time and space for random programs: blocks of ticks, folds, stages, spread scans, and cuts of products.

A seed draws a base (a program of `programs`, or a tensor function of `folds`) and what is done to it. `chosen` does it, and
checks by the oracle that the meaning is kept, in bits; what comes out is a program like any other, which the laws judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

import seiche as sc
from seiche.errors import SeicheError
from seiche.ir.clocks import infer
from seiche.ir.core import Apply, Call, Equation, Frame, Node, Rhs, Scan, live
from seiche.ir.tiling import Extents
from seiche.timespace.blocks import to_space
from seiche.timespace.fold import fold
from seiche.timespace.pipeline import pipelined
from seiche.timespace.spread import spread
from tests import folds, oracle
from tests.agreement import same_bits
from tests.lang import reals
from tests.laws import Disagreement
from tests.programs import random_program, values
from tests.test_loop_schedules import draw_loops
from tests.test_to_time import expect_equal

Kind = Literal["blocks", "folded", "stages", "spread", "plain"]
KINDS: tuple[Kind, ...] = (
    ("blocks",) * 8 + ("folded",) * 6 + ("stages",) * 3 + ("spread",) * 2 + ("plain",)
)  # type: ignore[assignment]
CUT_SHARE = 0.8
"""Of the products: those that are cut up at random rather than by default."""
REFUSED = ("SE303", "SE604", "SE605", "SE606")


def kind_of(seed: int) -> Kind:
    """What is done to the program of a seed."""
    return KINDS[int(np.random.default_rng((seed, 11)).integers(len(KINDS)))]


def base(seed: int, size: int | None = None) -> Node:
    """The program before anything is done to it."""
    if kind_of(seed) == "folded":
        made, shape = folds.function(seed)
        return made.trace(sc.f32[shape]).node
    return random_program(seed, size)


def chosen(node: Node, seed: int) -> Node:
    """The program after it; the program itself where it is refused. Raises Disagreement where the meaning changes."""
    rng = np.random.default_rng((seed, 12))
    node = cut_up(node, rng)
    kind = kind_of(seed)
    try:
        return CHOICES[kind](node, seed, rng)
    except SeicheError as error:
        if error.code not in REFUSED:
            raise Disagreement(f"{kind}: no error", str(error)) from error
        return node
    except AssertionError as broken:
        raise Disagreement(f"{kind}: the meaning is kept", str(broken)) from None


def cut_up(node: Node, rng: np.random.Generator) -> Node:
    """The node with random legal loops in its products, in bodies too."""

    def changed(rhs: Rhs) -> Rhs:
        match rhs:
            case Apply("matmul", args, params) if rng.random() < CUT_SHARE:
                return Apply(
                    "matmul", args, {**params, "loops": str(draw_loops(rng, _extents(rhs)))}
                )
            case Scan(body=body) | Frame(body=body) | Call(body=body):
                return replace(rhs, body=cut_up(body, rng))
            case _:
                return rhs

    return replace(node, eqs=[Equation(eq.outs, changed(eq.rhs)) for eq in node.eqs])


def _extents(rhs: Apply) -> Extents:
    a, b = (v.type for v in rhs.args)
    trans_a, trans_b = bool(rhs.params.get("trans_a")), bool(rhs.params.get("trans_b"))
    m, k = a.shape[-2:][::-1] if trans_a else a.shape[-2:]
    lane_order = trans_b and not trans_a and not a.format.is_integer
    return Extents(m, b.shape[-2 if trans_b else -1], k, lane_order)


def _blocks(node: Node, seed: int, rng: np.random.Generator) -> Node:
    """n ticks at a time, of what is there at every tick."""
    clocks = infer(node)
    kept = tuple(out for out in node.outputs if not clocks[out])
    if not kept:
        return node
    node = live(replace(node, outputs=kept))
    n, count = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    wide = to_space(node, n, wide=bool(rng.random() < 0.8))
    streams = [values(rng, v.type, (n * count,)) for v in node.inputs]
    blocked = [x.reshape(count, n, *x.shape[1:]) for x in streams]
    _same(node, streams, wide, blocked, lambda rows: rows.reshape(-1, *rows.shape[2:]))
    return wide


def _folded(node: Node, seed: int, rng: np.random.Generator) -> Node:
    """One row per tick."""
    (row,) = node.inputs
    folded = fold(node, (0,), row.type.shape[0])
    expect_equal(folded, node, reals(seed, 2, *row.type.shape))
    return folded.node


def _stages(node: Node, seed: int, rng: np.random.Generator) -> Node:
    """Stages that run at once: registers are the identity, so that the laws on the result say all there is to say."""
    return pipelined(node, int(rng.integers(2, 5)))


def _spread(node: Node, seed: int, rng: np.random.Generator) -> Node:
    """Scans with less in them."""
    made = spread(node)
    streams = [values(rng, v.type, (6,)) for v in node.inputs]
    _same(node, streams, made, streams, lambda rows: rows)
    return made


def _same(
    before: Node, streams: list[Any], after: Node, others: list[Any], flat: Callable[[Any], Any]
) -> None:
    """Asserts that the oracle says the same of two programs, on their inputs; a failure is one of both."""
    try:
        wanted = oracle.evaluate(before, streams)
    except oracle.Failed:
        return
    for k, ((_, mine), (_, made)) in enumerate(
        zip(wanted, oracle.evaluate(after, others), strict=True)
    ):
        assert same_bits(flat(made), mine), f"output {k}: {mine}\nis not\n{flat(made)}\n{after}"


CHOICES: dict[Kind, Callable[[Node, int, np.random.Generator], Node]] = {
    "blocks": _blocks, "folded": _folded, "stages": _stages, "spread": _spread, "plain": lambda node, seed, rng: node,
}  # fmt: skip
