"""The checks as a whole: they accept what runs, change nothing, and do not depend on the order of equations."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from seiche.check import Facts, verify
from seiche.errors import SeicheError
from seiche.ir.core import Node, walk
from seiche.ir.parse import parse
from seiche.ir.text import show
from tests.programs import random_program


def shuffled(node: Node, seed: int) -> Node:
    return replace(node, eqs=random.Random(seed).sample(node.eqs, len(node.eqs)))


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_are_accepted_and_unchanged(seed):
    node = random_program(seed)
    before = show(node)
    facts = verify(node)
    assert show(node) == before
    assert set(facts.nodes) == set(walk(node))
    assert facts[node].place == "node"
    assert show(parse(before)) == before
    assert directions(verify(shuffled(node, seed))) == directions(facts)


def directions(facts: Facts) -> list[tuple[list[str], str]]:
    """The components by the names of their streams, in no order."""
    parts = [c for of in facts.nodes.values() for c in of.components]
    return sorted((sorted(f"{v.name} {v.type}" for v in c.vars), c.direction) for c in parts)


BROKEN = """node f(x: f32 @1, c: bool @1) -> (y, p) @"f.py":1 {
  k: f32 @2 = 0.0
  s: f32 @3 = when(x, c)
  y: f32 @4 = add(s, x)
  a: f32 @5 = post(e, k)
  e: f32 @6 = add(a, z)
  z: f32 @7 = neg(z)
  p: f32 @8 = pre(x)
}"""


@pytest.mark.parametrize("seed", range(5))
def test_errors_do_not_depend_on_the_order_of_equations(seed):
    """Clocks and causality are told together; the undefined `p` waits for them."""
    with pytest.raises(SeicheError) as error:
        verify(shuffled(parse(BROKEN), seed))
    assert sorted(f"{d.code} {d.where}" for d in error.value.diagnostics) == [
        "SE301 f.py:4", "SE401 f.py:7", "SE403 f.py:5",
    ]  # fmt: skip


def test_a_body_is_judged_at_the_strictest_place_that_uses_it():
    """The same body in a scan and in a call: what bounded rows allow, the node's own time does not."""
    node = parse("""node f(x: f32, xs: f32[4]) -> (y, z) {
      y: f32 = scan(xs[], outs=(first), extent=4) node b(x: f32) -> (a) {
        k: f32 = 0.0  a: f32 = post(e, k)  e: f32 = add(a, x)
      }
      z: f32 = call(x) node b(x: f32) -> (x) { }
    }""")
    assert verify(node)
    scan, call = node.eqs
    shared = replace(node, eqs=[scan, replace(call, rhs=replace(call.rhs, body=scan.rhs.body))])  # type: ignore[union-attr]
    with pytest.raises(SeicheError, match="SE403"):
        verify(shared)
