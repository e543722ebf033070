"""SE601 and SE603: bounds are static, and what leaves is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seiche.check import verify
from seiche.errors import SeicheError
from seiche.ir.core import Equation, Frame, Node, Scan
from seiche.ir.parse import parse
from tests.checking import codes, only, program

FRAME = 'y: f32 = frame(x[], outs=(last), extent=4, until=c) node b(x: f32) -> (x) @"f.py":2 { }'
SCAN = 'y: f32 = scan(xs[], outs=(last), extent=4) node b(x: f32) -> (x) @"f.py":2 { }'


def changed(text: str, inputs: str, **fields: object) -> Node:
    """The program with other fields in its frame or scan."""
    node = parse(program(text, inputs=inputs))
    (eq,) = node.eqs
    assert isinstance(eq.rhs, Frame | Scan)
    return replace(node, eqs=[Equation(eq.outs, replace(eq.rhs, **fields))])


def test_good():
    assert codes(FRAME) == [] == codes(SCAN, inputs="xs: f32[4]")


@pytest.mark.parametrize("extent", [0, -1, True, 2.0, None, "8"])
def test_extents_are_positive_integers(extent):
    with pytest.raises(SeicheError) as error:
        verify(changed(FRAME, "x: f32, c: bool", extent=extent))
    (fault,) = error.value.diagnostics
    assert fault.code == "SE601" and f"the bound {extent!r}" in fault.what and fault.where.line == 2


def test_scans_are_bounded_too():
    with pytest.raises(SeicheError, match="the scan `b` has the bound 0"):
        verify(changed(SCAN, "xs: f32[0]", extent=0))


def test_a_scan_has_no_streams():
    fault = only(SCAN.replace("last", "stream"), "SE603", inputs="xs: f32[4]")
    assert (
        fault.what == "`y` leaves the scan `b` as 'stream'"
        and fault.hint == "one of stack, first, last"
    )


def test_a_frame_inside_a_body():
    inner = FRAME.replace("node b", "node inner")
    text = f"z: f32 = scan(xs[], c, outs=(last), extent=4) node outer(x: f32, c: bool) -> (y) {{ {inner} }}"
    fault = only(text, "SE603", inputs="xs: f32[4], c: bool", outputs="z")
    assert "inside the body `outer`" in fault.what


def test_a_reset_discards_no_streams():
    text = FRAME.replace("until=c", "until=c, reset=d")
    assert codes(text) == []
    assert codes(text.replace("last", "stream")) == ["SE603"]
