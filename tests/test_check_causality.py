"""SE401, SE402, SE403 and the components: the one rule of causality."""

from __future__ import annotations

import itertools
import random

import pytest

from seiche.check import cycles
from seiche.check.facts import Component
from seiche.errors import Diagnostic
from tests.checking import codes, facts, faults, only

K = "k: f32 = 0.0\n"


def swept(equations: str, **kwargs: str) -> dict[str, str]:
    """The direction of each cyclic component by the names of its streams, of the node and of its bodies."""
    found = facts(equations, **kwargs)
    all_: list[Component] = [c for node in found.nodes.values() for c in node.components]
    return {" ".join(v.name for v in c.vars): c.direction for c in all_ if c.direction != "none"}


def told(fault: Diagnostic) -> list[str]:
    return [text for text, _ in fault.why]


# --------------------------------------------------------------------------------- what is accepted


def test_a_state_is_swept_forward():
    assert swept(K + "s: f32 = fby(k, y)  y: f32 = add(s, x)") == {"s y": "forward"}


def test_a_costate_is_swept_backward_over_rows():
    body = "node b(x: f32) -> (a) { k: f32 = 0.0  a: f32 = post(e, k)  e: f32 = add(a, x) }"
    assert swept(f"y: f32 = frame(x[], outs=(stream), extent=8, until=c) {body}") == {
        "a e": "backward"
    }
    text = f"y: f32[8] = scan(xs[], outs=(stack), extent=8) {body}"
    assert swept(text, inputs="xs: f32[8]") == {"a e": "backward"}


def test_look_ahead_on_no_cycle_is_free():
    assert swept(K + "p: f32 = post(x, k)  y: f32 = sub(p, x)") == {}


def test_look_ahead_inside_a_state_that_goes_further_back():
    text = (
        K
        + "s: f32 = fby(k, t)  t: f32 = fby(k, e)  p: f32 = post(s, k)  e: f32 = add(p, x)  y: f32 = neg(e)"
    )
    assert swept(text) == {"s t p e": "forward"}


def test_parameters_carried_from_frame_to_frame():
    """A forward component around a frame whose body holds a backward one: the lexicographic order."""
    text = (
        K
        + """w: f32 = fby(k, v)  v: f32 = sub(w, g)
    g: f32 = frame(x[], w, outs=(first), extent=8, until=c) node b(x: f32, w: f32) -> (a) {
        k: f32 = 0.0  a: f32 = post(e, k)  m: f32 = mul(w, x)  e: f32 = add(a, m)
    }  y: f32 = neg(g)"""
    )
    assert swept(text) == {"w v g": "forward", "a e": "backward"}


def test_a_frame_read_back_after_its_latency():
    body = "node b(x: f32) -> (x) { }"
    chain = K + "d1: f32 = fby(k, s)  d2: f32 = fby(k, d1)  e: f32 = add(x, d2)\n"
    text = (
        chain
        + f"s: f32 = frame(e[], outs=(stream), extent={{}}, until=c) {body}  y: f32 = neg(s)".replace(
            "{ }", "{{ }}"
        )
    )
    assert swept(text.format(2)) == {"d1 d2 e s": "forward"}
    assert codes(text.format(3)) == ["SE402"]


def test_components_come_after_what_they_read():
    found = facts(K + "y: f32 = add(b, a)  b: f32 = neg(a)  a: f32 = fby(k, b)")
    (node,) = found.nodes.values()
    assert [[v.name for v in c.vars] for c in node.components] == [["k"], ["b", "a"], ["y"]]


# --------------------------------------------------------------------------------------- the errors


def test_an_instantaneous_cycle_hop_by_hop():
    fault = only(
        "a: f32 @2 = add(x, b)\nb: f32 @3 = neg(e)\ny: f32 @4 = neg(a)\ne: f32 @5 = mul(a, x)",
        "SE401",
    )
    assert fault.what == "`a` depends on itself at the same tick" and fault.where.line == 2
    assert told(fault) == [
        "`a` reads `b` at the same tick (add)",
        "`b` reads `e` at the same tick (neg)",
        "`e` reads `a` at the same tick (mul)",
    ]
    assert [place.line for _, place in fault.why if place] == [2, 3, 5]


def test_hops_of_one_line_are_told_as_one():
    fault = only("a: f32 @2 = add(x, b)\nb: f32 @2 = neg(a)\ny: f32 @3 = neg(a)", "SE401")
    assert told(fault) == ["`a` reads `a` at the same tick (add, neg)"]


def test_a_self_loop():
    assert told(only("y: f32 @2 = add(y, x)", "SE401")) == ["`y` reads `y` at the same tick (add)"]


def test_the_shortest_cycle_is_told():
    text = (
        "a: f32 = neg(b)  b: f32 = neg(e)  e: f32 = add(a, y)  y: f32 = neg(z)  z: f32 = add(y, a)"
    )
    assert {t.split("`")[1] for t in told(only(text, "SE401"))} == {"y", "z"}


def test_steps_that_cancel():
    fault = only(K + "y: f32 @3 = fby(k, p)\np: f32 @4 = post(y, k)", "SE401")
    assert fault.what.endswith("the steps back and ahead cancel")
    assert told(fault) == [
        "`y` reads `p` of the previous tick (fby)",
        "`p` reads `y` of the next tick (post)",
    ]


def test_both_signs():
    text = K + "s: f32 @3 = fby(k, y)\na: f32 @4 = post(y, k)\ny: f32 @5 = add(s, a)"
    fault = only(text, "SE402")
    assert fault.what == "`a` needs its own future, and `s`, which it depends on, needs its past"
    assert told(fault) == [
        "this cycle goes 1 tick ahead on each round:",
        "`a` reads `y` of the next tick (post)",
        "`y` reads `a` at the same tick (add)",
        "and this one goes 1 tick back on each round:",
        "`s` reads `y` of the previous tick (fby)",
        "`y` reads `s` at the same tick (add)",
    ]


def test_both_signs_in_a_frame_too():
    body = "node b(x: f32) -> (y) { k: f32 = 0.0  s: f32 = fby(k, y)  a: f32 = post(y, k)  y: f32 = add(s, a) }"
    assert codes(f"y: f32 = frame(x[], outs=(stream), extent=8, until=c) {body}") == ["SE402"]


def test_a_costate_outside_of_a_frame():
    fault = only(K + "a: f32 @3 = post(e, k)\ne: f32 @4 = add(a, x)\ny: f32 = neg(a)", "SE403")
    assert "the costate `a`" in fault.what and "sc.frame" in fault.hint
    assert told(fault) == [
        "`a` reads `e` of the next tick (post)",
        "`e` reads `a` at the same tick (add)",
    ]


def test_a_frame_that_needs_its_own_stream():
    body = "node b(e: f32) -> (e) { }"
    text = f"e: f32 @2 = add(x, y)\ny: f32 @3 = frame(e[], outs=(stream), extent=8, until=c) {body}"
    fault = only(text, "SE402")
    assert fault.what == "the frame that gives `y` needs it to begin with"
    assert told(fault)[0] == "`y` reads `e` up to 7 ticks ahead, at the end of its frame (frame)"


def test_a_frames_slow_result_needs_a_delay():
    body = "node b(x: f32, w: f32) -> (x) { }"
    text = f"y: f32 = frame(x[], w, outs=(last), extent=8, until=c) {body}  w: f32 = neg(y)"
    assert codes(text) == ["SE401"]


def test_a_reset_is_read_too():
    text = (
        K
        + "b: bool = fby(t, q)  t: bool = true  y: f32 = fby(k, x, reset=r)  r: bool = lt(y, x)  q: bool = lt(x, y)"
    )
    fault = only(text, "SE401")
    assert "`y` reads `r` at the same tick (the first value or reset of fby)" in told(fault)


def test_one_error_per_component():
    found = faults("a: f32 @2 = neg(a)\nb: f32 @3 = neg(b)\ny: f32 = add(a, b)")
    assert [(f.code, f.where.line) for f in found] == [("SE401", 2), ("SE401", 3)]


def test_clocks_and_cycles_are_told_together():
    assert codes("s: f32 = when(x, c)  b: f32 @2 = add(s, x)  y: f32 @3 = neg(y)") == [
        "SE301",
        "SE401",
    ]


def test_big_forward_components_are_quick():
    n = 3000
    lines = [f"v{i}: f32 = neg(v{i - 1})" for i in range(1, n)]
    text = K + "v0: f32 = fby(k, y)\n" + "\n".join(lines) + f"\ny: f32 = add(v{n - 1}, x)"
    assert list(swept(text).values()) == ["forward"]


# ------------------------------------------------------------- cycles against brute force, independent


def simple_cycles(graph: dict[int, list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """(sum, length) of every simple cycle, by trying all orders of all subsets."""
    found: list[tuple[int, int]] = []
    for size in range(1, len(graph) + 1):
        for order in itertools.permutations(graph, size):
            if order[0] != min(order):
                continue
            hops = zip(order, [*order[1:], order[0]], strict=True)
            options = [[w for u, w in graph[v] if u == t] for v, t in hops]
            found += [(sum(ws), size) for ws in itertools.product(*options)]
    return found


def weight(graph: dict[int, list[tuple[int, int]]], cycle: list[int]) -> int:
    hops = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    return sum(max(w for u, w in graph[v] if u == t) for v, t in hops)


@pytest.mark.parametrize("seed", range(300))
def test_signs_of_cycles(seed):
    r = random.Random(seed)
    n = r.randrange(1, 6)
    offsets = r.choice([[-1, 0], [-1, 0, 1], [0, 1], [-1, 1], [-1, 0, 0, 3]])
    graph = {v: [(u, r.choice(offsets)) for u in range(n) if r.random() < 0.4] for v in range(n)}
    sums = simple_cycles(graph)
    assert cycles.all_negative(graph) == all(s < 0 for s, _ in sums)
    assert cycles.all_negative(cycles.negated(graph)) == all(s > 0 for s, _ in sums)

    positive = cycles.shortest_positive(graph)
    lengths = [length for s, length in sums if s > 0]
    assert (positive is None) == (not lengths)
    if positive:
        assert len(positive) == len(set(positive)) == min(lengths) and weight(graph, positive) > 0
    else:
        balanced = cycles.shortest_balanced(graph)
        lengths = [length for s, length in sums if s == 0]
        assert (balanced is None) == (not lengths)
        if balanced:
            assert len(balanced) == min(lengths) and weight(graph, balanced) == 0

    still = {v: [(u, w) for u, w in edges if w == 0] for v, edges in graph.items()}
    zero, lengths = cycles.shortest_zero(graph), [length for _, length in simple_cycles(still)]
    assert (zero is None) == (not lengths) and (not zero or len(zero) == min(lengths))
