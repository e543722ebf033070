"""SE201 and SE703: every equation gives its streams the types that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from seiche.check import verify
from seiche.errors import Loc, SeicheError
from seiche.ir.core import Equation, Lit, Node, Var
from seiche.numbers.formats import f32
from tests.checking import codes, faults, only

SCAN = "scan(xs[], w, outs=({}), extent=4) node cell(x: f32[2], w: f32) -> (y) {{ y: f32[2] = neg(x) }}"
FRAME = "frame(x[], w, outs=({}), extent=4, until=c) node cell(x: f32, w: f32) -> (y) {{ y: f32 = add(x, x) }}"
CALL = "call(x) node f(x: f32) -> (y) { y: f32 = add(x, x) }"
ROWS = "xs: f32[4, 2], w: f32"


@pytest.mark.parametrize(
    ("equation", "inputs"),
    [
        ("y: f32 = add(x, x)", "x: f32"),
        ("y: bool = lt(x, x)", "x: f32"),
        ("y: f32[3] = fby(x, x)", "x: f32[3]"),
        ("y: f32 = pre(x)  z: f32 = 0.0  t: f32 = post(x, z)", "x: f32"),
        ("y: f32 = merge(c, a, b)  a: f32 = when(x, c)  b: f32 = when(x, !c)", "x: f32, c: bool"),
        ("y: f32[4, 2] = " + SCAN.format("stack"), ROWS),
        ("y: f32[2] = " + SCAN.format("last"), ROWS),
        ("y: f32 = " + CALL, "x: f32"),
        ("y: f32 = " + CALL + " node g(x: f32, ct: f32) -> (ct) { }", "x: f32"),
    ],
)
def test_good(equation, inputs):
    assert [f for f in faults(equation, inputs=inputs) if f.code == "SE201"] == []


@pytest.mark.parametrize(
    ("equation", "inputs", "says"),
    [
        ("y: f32 = nothing(x)", "x: f32", "there is no operator `nothing`"),
        ("y: f32 = add(x, z)", "x: f32, z: f64", "`add` does not apply"),
        ("y: f32 = add(x, z)", "x: f32[2], z: f32[3]", "`add` does not apply"),
        ("y: f64 = add(x, x)", "x: f32", "`y` is f64, but `add` gives f32"),
        ("y: f32 = fby(i, x)", "i: f32[1], x: f32", "`y` is f32, but the first value is f32[1]"),
        ("y: f32 = fby(x, i)", "i: f32[1], x: f32", "`y` is f32, but the delayed stream is f32[1]"),
        ("y: f32 = post(x, f)", "f: f64, x: f32", "`y` is f32, but the final value is f64"),
        ("y: f32 = when(x, c)", "x: f64, c: bool", "`y` is f32, but the sampled stream is f64"),
        ("y: f32 = merge(c, a, b) a: f32 = when(x, c) b: f64 = when(z, !c)", "x: f32, z: f64, c: bool", "the value elsewhere is f64"),
        ("y: f32[2] = " + SCAN.format("stack"), ROWS, "`y` is f32[2], but `cell` gives f32[4, 2] (stack of `y`)"),
        ("y: f32[4, 2] = " + SCAN.format("first"), ROWS, "`cell` gives f32[2] (first of `y`)"),
        ("y: f32[2] = " + SCAN.format("last"), "xs: f32[3, 2], w: f32", "takes 4 rows of f32[2] as `x`, not f32[3, 2]"),
        ("y: f32[2] = " + SCAN.format("last"), "xs: f32[4, 2], w: i32", "takes f32 as `w`, not i32"),
        ("y: f32[2] = " + SCAN.format("last, last"), ROWS, "has 1 results, not 2"),
        ("y: f32 = " + FRAME.format("stack"), "x: f32, w: f32, c: bool", "gives f32[4]"),
        ("y: f32[2] = " + SCAN.replace("extent=4", "extent=4, length=w").format("last"), ROWS, "the length of a scan is an i32, not f32"),
        ("y: f32 = call(x, x) node f(x: f32) -> (x) { }", "x: f32", "`f` has 1 arguments, not 2"),
        ("y: f32 = call(x) node f(x: f64) -> (y) { y: f32 = convert(x, format=f32) }", "x: f32", "`f` takes f64 as `x`, not f32"),
        ("y: f64 = " + CALL, "x: f32", "`y` is f64, but `f` gives f32"),
    ],
)  # fmt: skip
def test_bad(equation, inputs, says):
    assert says in only(equation, "SE201", inputs=inputs).what


def test_operands_are_told_with_their_lines():
    fault = only("y: f32 @3 = add(x, z)", "SE201", inputs="x: f32[2] @1, z: f32[3] @2")
    assert fault.where == Loc("f.py", 3)
    assert ("`x` is f32[2]", Loc("f.py", 1)) in fault.why and (
        "`z` is f32[3]",
        Loc("f.py", 2),
    ) in fault.why


@pytest.mark.parametrize(
    "value", [np.zeros(3, np.float64), np.zeros(2, np.float32), np.zeros(3, np.int32)]
)
def test_constants_are_in_the_carrier(value):
    y = Var("y", f32[3])
    with pytest.raises(SeicheError, match=r"`y` is f32\[3\], but its constant is"):
        verify(Node("f", (), (y,), [Equation((y,), Lit(value))]))


@pytest.mark.parametrize(
    "vjp",
    [
        "node g(x: f32) -> (x) { }",
        "node g(x: f32, ct: f64) -> (x) { }",
        "node g(x: f32, ct: f32) -> () { }",
    ],
)
def test_derivatives_fit_their_functions(vjp):
    assert codes(f"y: f32 = {CALL} {vjp}", inputs="x: f32") == ["SE703"]


def test_a_function_with_a_derivative_has_no_memory():
    body = "node f(x: f32) -> (p) { k: f32 = 0.0  p: f32 = fby(k, x) }"
    assert codes(f"y: f32 = call(x) {body}", inputs="x: f32") == []
    vjp = "node g(x: f32, ct: f32) -> (ct) { }"
    assert codes(f"y: f32 = call(x) {body} {vjp}", inputs="x: f32") == ["SE703"]


def test_bodies_are_checked():
    fault, _ = faults(
        "y: f32 = call(x) node g(x: f32) -> (y) { z: f64 @7 = add(x, x) y: f32 = add(z, z) }",
        inputs="x: f32",
    )
    assert "`z` is f64, but `add` gives f32" in fault.what


def test_all_at_once_and_no_cascade():
    """Broken types are told together; clocks and cycles wait."""
    found = codes("y: f64 = add(x, x)  z: f32 = add(z, w)  w: i32 = when(x, c)")
    assert found == ["SE201", "SE201", "SE201"]
