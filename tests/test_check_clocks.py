"""SE301 to SE303: streams that meet are present at the same ticks."""

from __future__ import annotations

import pytest

from seiche.ir import clocks
from tests.checking import codes, facts, only

SLOW = "s: f32 @2 = when(x, c)\n"


@pytest.mark.parametrize(
    "equations",
    [
        SLOW + "y: f32 = add(s, s)",
        SLOW
        + "k: f32 = 1.0  k2: f32 = add(k, k)  y: f32 = add(s, k2)",  # constants are on any clock
        SLOW + "t: f32 = when(x, !c)  y: f32 = merge(c, s, t)",
        SLOW + "z: f32 = 0.0  y: f32 = fby(z, s)",
        "e: bool = when(d, c)  s: f32 = when(x, c)  y: f32 = when(s, e)",
    ],
)
def test_good(equations):
    assert codes(equations) == []


def test_clocks_are_facts():
    found = facts(SLOW + "e: bool = when(d, c)  y: f32 = when(s, !e)")
    ((node, of),) = found.nodes.items()
    shown = {eq.outs[0].name: clocks.show(of.clocks[eq.outs[0]]) for eq in node.eqs}
    assert shown == {"s": "base on c", "e": "base on c", "y": "base on c on not e"}


def test_both_clocks_names_and_lines():
    fault = only(SLOW + "y: f32 @3 = add(x, s)", "SE301")
    assert fault.what == "`s` is on clock `base on c`, `x` on `base`"
    assert str(fault.where) == "f.py:3"
    assert any(place and place.line == 2 for _, place in fault.why)
    assert "sc.hold(" in fault.hint and "sc.when(x, c)" in fault.hint


def test_a_stream_sampled_under_its_old_name():
    fault = only("x~1: f32 @2 = when(x, !c)\ny: f32 @3 = add(x, x~1)", "SE301")
    assert fault.what == "`x` (when not `c`) is on clock `base on not c`, `x` on `base`"


def test_complementary_clocks_are_merged():
    fault = only("a: f32 = when(x, c)  b: f32 = when(x, !c)  y: f32 = add(a, b)", "SE301")
    assert "sc.merge(c, a, b)" in fault.hint


def test_unrelated_clocks():
    fault = only("a: f32 = when(x, c)  b: f32 = when(x, d)  y: f32 = add(a, b)", "SE301")
    assert "`base on d`" in fault.what and "`base on c`" in fault.what
    assert "sc.hold" in fault.hint and "sc.when" in fault.hint


def test_clocks_of_one_name_are_told_apart():
    text = (
        "c~1: bool @5 = lt(x, x)\n a: f32 = when(x, c)  b: f32 = when(x, c~1)  y: f32 = add(a, b)"
    )
    fault = only(text, "SE301")
    assert sum(text.startswith("one `c` is made here") for text, _ in fault.why) == 2


def test_every_mismatch_is_told():
    assert codes(SLOW + "y: f32 @3 = add(x, s)  z: f32 @4 = sub(x, s)", outputs="y, z") == [
        "SE301",
        "SE301",
    ]


@pytest.mark.parametrize(
    "equations",
    [
        "y: f32 = when(x, x)",
        "y: f32 = when(x, cs)",
        "k: f32 = 0.0  y: f32 = fby(k, x, reset=x)",
        "y: f32 = frame(x[], outs=(last), extent=4, until=x) node b(x: f32) -> (x) { }",
        "y: f32 = frame(x[], outs=(last), extent=4, until=c, reset=x) node b(x: f32) -> (x) { }",
        'y: f32 = neg(x)  check x "SE903" "x is not x"',
    ],
)
def test_conditions_are_scalar_booleans(equations):
    assert "SE302" in codes(equations, inputs="x: f32, c: bool, cs: bool[2]")


def test_a_condition_names_its_role():
    fault = only("k: f32 = 0.0\ny: f32 @3 = fby(k, x, reset=x)", "SE302", inputs="x: f32 @1")
    assert fault.what == "a reset is a scalar bool, but `x` is f32" and fault.where.line == 3


def test_results_of_bodies_are_present_at_each_row():
    body = "node b(x: f32, c: bool) -> (y) { y: f32 @4 = when(x, c) }"
    fault = only(
        f"y: f32[4] = scan(x[], c, outs=(stack), extent=4) {body}",
        "SE301",
        inputs="x: f32[4], c: bool",
    )
    assert "absent at some of its rows" in fault.what


def test_a_frame_gives_slow_and_fast_results():
    text = """y: f32, s: f32 = frame(x[], w, outs=(stream, last), extent=4, until=c) node b(x: f32, w: f32) -> (z, z) {
        z: f32 = mul(w, x)
    }  w: f32 = fby(k, s)  k: f32 = 1.0"""
    assert codes(text) == []


def test_look_ahead_is_on_the_base_clock():
    fault = only(SLOW + "k: f32 = 0.0\ny: f32 @3 = post(s, k)", "SE303")
    assert "`y` looks ahead on the clock `base on c`" in fault.what
    body = "node b(x: f32) -> (x) { }"
    text = (
        SLOW + f"e: bool = when(d, c)  y: f32 = frame(s[], outs=(KIND), extent=4, until=e) {body}"
    )
    assert codes(text.replace("KIND", "stream")) == ["SE303"]
    assert codes(text.replace("KIND", "last")) == []


def test_rows_may_look_ahead_on_a_sub_clock():
    text = """y: f32[4] = scan(x[], c[], outs=(stack), extent=4) node b(x: f32, c: bool) -> (y) {
        s: f32 = when(x, c)  k: f32 = 0.0  p: f32 = post(s, k)  o: f32 = when(x, !c)  y: f32 = merge(c, p, o)
    }"""
    assert codes(text, inputs="x: f32[4], c: bool[4]") == []
