"""SE103, SE106, SE107: each stream has one definition, and is good for something."""

from __future__ import annotations

import pytest

from seiche.check import verify
from seiche.errors import InternalError, Loc, SeicheError
from seiche.ir.core import Apply, Equation, Node, Var
from seiche.numbers.formats import Type, f32
from tests.checking import facts, only


def test_two_equations_for_one_stream():
    fault = only("y: f32 @2 = add(x, x)\ny: f32 @3 = sub(x, x)", "SE103")
    assert fault.what == "`y` has 2 definitions"
    assert [text for text, _ in fault.why] == ["y: f32 = add(x, x)", "y: f32 = sub(x, x)"]


def test_an_equation_for_an_input():
    fault = only("x: f32 = add(c, d)", "SE103", inputs="x: f32, c: f32, d: f32", outputs="x")
    assert "one as an input" in fault.what


def test_a_declared_variable_without_definition():
    x, y, z = (Var(n, Type(f32), Loc("f.py", i)) for i, n in enumerate(("x", "y", "z"), 1))
    node = Node("f", (x,), (y,), [Equation((y,), Apply("add", (x, z)))])
    with pytest.raises(SeicheError) as error:
        verify(node)
    (fault,) = error.value.diagnostics
    assert fault.code == "SE106" and fault.where.line == 3
    assert fault.why == (("`y` reads it", Loc("f.py", 2)),)


def test_what_no_user_made_is_our_fault():
    x, y, z = (Var(n, Type(f32)) for n in ("x", "y", "z"))
    node = Node("f", (x,), (y,), [Equation((y,), Apply("add", (x, z)))])
    with pytest.raises(InternalError, match=r"> y: f32 = add\(x, z\)"):
        verify(node)
    with pytest.raises(InternalError, match="an output or a check reads `z`"):
        verify(Node("f", (x,), (z,), []))


def test_unused_inputs_and_ends_of_chains_are_warnings():
    found = facts(
        "a: f32 @2 = add(x, x)\nb: f32 @3 = add(a, a)\ny: f32 @4 = neg(x)",
        inputs="x: f32, u: f32 @1",
    )
    assert [(w.severity, w.code, w.what, w.where.line) for w in found.warnings] == [
        ("warning", "SE107", "nothing uses the input `u`", 1),
        ("warning", "SE107", "nothing uses the value `b`", 3),
    ]


def test_a_state_that_only_feeds_itself():
    found = facts(
        "k: f32 = 0.0\n s: f32 @2 = fby(k, t)\n t: f32 @3 = add(s, x)\n y: f32 = neg(x)",
        inputs="x: f32",
    )
    assert [w.what for w in found.warnings] == ["nothing uses the value `s`"]


def test_checks_use_what_they_check():
    found = facts(
        'p: bool @2 = lt(x, x)\ny: f32 = neg(x)\ncheck p "SE903" "negative"', inputs="x: f32"
    )
    assert found.warnings == ()


def test_unused_inputs_of_bodies_are_nobodys_business():
    found = facts("y: f32 = call(x, x) node g(a: f32 @3, b: f32 @3) -> (a) { }", inputs="x: f32")
    assert found.warnings == ()
