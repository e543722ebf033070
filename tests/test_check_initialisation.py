"""SE501: an undefined first value is never seen."""

from __future__ import annotations

import pytest

from tests.checking import codes, faults, only

PRE = "p: f32 @2 = pre(x)\n"
FIRST = "t: bool = true  n: bool = false  first: bool = fby(t, n)\n"
RESET = "t: bool = true  n: bool = false  first: bool = fby(t, n, reset=c)\n"


@pytest.mark.parametrize(
    "equations",
    [
        PRE + FIRST + "y: f32 = select(first, x, p)",
        PRE + FIRST + "a: f32 = add(p, x)  y: f32 = select(first, x, a)",  # an op in between
        PRE + FIRST + "a: f32 = when(x, first)  b: f32 = when(p, !first)  y: f32 = merge(first, a, b)",
        PRE + FIRST + "b: bool = logical_or(c, first)  y: f32 = select(b, x, p)",
        PRE + RESET + "y: f32 = select(first, x, p)",  # opens at tick 0 too
        RESET + "p: f32 = pre(x, reset=c)  y: f32 = select(first, x, p)",
        "r: bool = logical_or(c, d)  t: bool = true  n: bool = false  first: bool = fby(t, n, reset=r)\n"
        "p: f32 = pre(x, reset=c)  y: f32 = select(first, x, p)",
        # on a sub-clock, with a first of that clock; and sampled together from the base
        FIRST.replace("fby(t, n)", "fby(tc, nc)") + "tc: bool = when(t, c)  nc: bool = when(n, c)"
        " s: f32 = when(x, c)  p: f32 = pre(s)  y: f32 = select(first, s, p)",
        PRE + FIRST + "f2: bool = when(first, c)  p2: f32 = when(p, c)  x2: f32 = when(x, c)  y: f32 = select(f2, x2, p2)",
        # a recurrence through a guarded pre
        "p: f32 = pre(y)  k: f32 = 0.0  s: f32 = add(p, x)  y: f32 = select(first, k, s)" + FIRST,
        # post never reads the opening of its own segment
        PRE + "k: f32 = 0.0  y: f32 = post(p, k)",
        "k: f32 = 0.0  p: f32 = pre(x, reset=c)  y: f32 = post(p, k, reset=c)",
        "p: f32 = pre(x)  y: f32 = neg(x)",  # nobody looks
    ],
)  # fmt: skip
def test_good(equations):
    # A sampled constant is no constant for `first`: said here so that the conservative case is known.
    expected = ["SE501"] if "fby(tc, nc)" in equations else []
    assert codes(equations) == expected


@pytest.mark.parametrize(
    ("equations", "role"),
    [
        (PRE + "y: f32 @3 = neg(p)", "leaves as an output"),
        (PRE + "k: f32 = 0.0\n y: f32 @3 = fby(k, p)", "is delayed once more by `y`"),
        (PRE + FIRST + "q: f32 @3 = pre(p)  y: f32 = select(first, x, q)", "is delayed once more by `q`"),
        ("b: bool = pre(c)\n y: f32 @3 = when(x, b)", "is the condition of `when`"),
        ("b: bool = pre(c)\n k: f32 = 0.0  y: f32 @3 = fby(k, x, reset=b)", "is a reset"),
        ('b: bool = pre(c)\n y: f32 = neg(x)  check b "SE903" "b" @3', "is checked"),
        (PRE + "y: f32 @3 = frame(p[], outs=(last), extent=4, until=c) node b(x: f32) -> (x) { }", "enters a frame"),
        (PRE + "k: f32 = 0.0\n y: f32 @3 = post(p, k, reset=d)", "is looked ahead to"),
        (PRE + 'y: f32 @3 = call(p) node b(x: f32) -> (x) { c: bool = lt(x, x)  check c "SE903" "" }', "enters a node that checks"),
    ],
)  # fmt: skip
def test_seen(equations, role):
    # `post` with another reset reads what `pre` leaves undefined only if that pre opens elsewhere.
    text = equations.replace("pre(x)", "pre(x, reset=c)") if "looked ahead" in role else equations
    fault = only(text, "SE501")
    assert any(role in text for text, _ in fault.why), fault
    assert fault.where.line == 3


def test_the_path_from_the_pre_to_where_it_shows():
    fault = only(PRE + "a: f32 @3 = add(p, x)\n y: f32 @4 = neg(a)", "SE501")
    assert fault.what == "the undefined first value of `pre(x)` can be seen"
    assert [text for text, _ in fault.why] == [
        "`p`, which is `pre(x)`, has no value at the first tick",
        "`a` is computed from `p`",
        "`y` is computed from `a`",
        "`y` leaves as an output",
    ]
    assert [place.line for _, place in fault.why if place] == [2, 3, 4]


@pytest.mark.parametrize(
    "equations",
    [
        FIRST + "p: f32 = pre(x, reset=c)  y: f32 = select(first, x, p)",  # opens where first does not know
        FIRST.replace("fby(t, n)", "fby(t, n, reset=d)") + "p: f32 = pre(x, reset=c)  y: f32 = select(first, x, p)",
        PRE + FIRST + "y: f32 = select(first, p, x)",  # the wrong way round
        PRE + FIRST.replace("fby(t, n)", "fby(n, t)") + "y: f32 = select(first, x, p)",  # false at first
        PRE + "y: f32 = select(c, x, p)",
        PRE + FIRST + "b: f32 = when(p, first)  a: f32 = when(x, !first)  y: f32 = merge(first, b, a)",
        FIRST + "s: f32 = when(x, c)  p: f32 = pre(s)  f2: bool = when(first, c)  y: f32 = select(f2, s, p)",  # another first tick
    ],
)  # fmt: skip
def test_guards_that_do_not_guard(equations):
    assert codes(equations) == ["SE501"]


def test_each_pre_is_told_once():
    found = faults(
        "p: f32 @2 = pre(x)\n q: f32 @3 = pre(x)\n y: f32 @4 = add(p, q)\n z: f32 @5 = neg(p)",
        outputs="y, z",
    )
    assert [f.code for f in found] == ["SE501", "SE501"]
    assert ["`p`" in found[0].why[0][0], "`q`" in found[1].why[0][0]] == [True, True]


def test_bodies_have_openings_of_their_own():
    body = "node b(x: f32) -> (p) { p: f32 = pre(x) }"
    assert codes(f"y: f32[4] = scan(xs[], outs=(stack), extent=4) {body}", inputs="xs: f32[4]") == [
        "SE501"
    ]
    body = "node b(x: f32) -> (y) { p: f32 = pre(x)  t: bool = true  n: bool = false  f: bool = fby(t, n)  y: f32 = select(f, x, p) }"
    assert (
        codes(f"y: f32[4] = scan(xs[], outs=(stack), extent=4) {body}", inputs="xs: f32[4]") == []
    )


def test_broken_clocks_come_first():
    assert codes(PRE + "s: f32 = when(x, c)  y: f32 = add(p, s)") == ["SE301"]
