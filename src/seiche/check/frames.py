"""Frames and scans: the bounds of rows are static, and what leaves is named.

    extent : a static integer >= 1            (memory is extent x rows, latency extent - 1: both must be known)
    scan:   out_j in {stack, first, last}     frame:  out_j in {stack, first, last, stream}
    a frame is in no body of a scan or frame: rows are all there, ticks are awaited
    a frame with a reset has no streams: what it discards has no values to return
    a frame or scan has a result, or a check inside

The bound stands for the buffer of an n-synchronous program (Cohen et al. 2006, "N-synchronous Kahn networks"), stated by
the user, since a condition that data decide bounds nothing. `until` and `reset` are conditions: `clocks` judges them.
"""

from __future__ import annotations

from seiche.check.facts import Place, named
from seiche.errors import NOWHERE, Diagnostic, Loc
from seiche.ir.core import Equation, Frame, Node, Scan, operands


def check(node: Node, place: Place) -> list[Diagnostic]:
    """SE601 for extents that bound nothing, SE603 for results that the form cannot give, and for frames in rows."""
    found: list[Diagnostic] = []
    for eq in node.eqs:
        if isinstance(eq.rhs, Scan | Frame):
            found += _bound(eq, eq.rhs) + _kinds(eq, eq.rhs)
        if isinstance(eq.rhs, Frame):
            found += _discarded(eq, eq.rhs)
            found += [_nested(node, eq, eq.rhs)] if place == "rows" else []
    return found


def _what(rhs: Scan | Frame) -> str:
    return f"the {'scan' if isinstance(rhs, Scan) else 'frame'} `{rhs.body.name}`"


def _where(eq: Equation, rhs: Scan | Frame) -> Loc:
    places = [rhs.body.loc, *(v.loc for v in (*eq.outs, *operands(rhs)))]
    return next((place for place in places if place != NOWHERE), NOWHERE)


def _bound(eq: Equation, rhs: Scan | Frame) -> list[Diagnostic]:
    extent: object = rhs.extent
    if isinstance(extent, int) and not isinstance(extent, bool) and extent >= 1:
        return []
    what = f"{_what(rhs)} has the bound {extent!r}"
    why = (("memory and latency follow from it, before the first tick", None),)
    hint = "a Python integer of at least 1: with sc.frame(max=128, ...)"
    return [Diagnostic("SE601", what, _where(eq, rhs), why, hint)]


def _kinds(eq: Equation, rhs: Scan | Frame) -> list[Diagnostic]:
    allowed = ("stack", "first", "last") + (("stream",) if isinstance(rhs, Frame) else ())
    bad = [(out, kind) for out, kind in zip(eq.outs, rhs.outs, strict=False) if kind not in allowed]
    return [
        Diagnostic(
            "SE603",
            f"{named(out)} leaves {_what(rhs)} as {kind!r}",
            _where(eq, rhs),
            hint=f"one of {', '.join(allowed)}",
        )
        for out, kind in bad
    ]


def _discarded(eq: Equation, rhs: Frame) -> list[Diagnostic]:
    if rhs.reset is None or "stream" not in rhs.outs:
        return []
    out = eq.outs[rhs.outs.index("stream")]
    what = f"{named(out)} is a stream of {_what(rhs)}, which a reset may discard"
    why = (("ticks that the reset discards would have no value to return", rhs.reset.loc),)
    hint = "close the frame with until= instead, or return its last value: fr.last(x)"
    return [Diagnostic("SE603", what, _where(eq, rhs), why, hint)]


def _nested(node: Node, eq: Equation, rhs: Frame) -> Diagnostic:
    what = f"{_what(rhs)} is inside the body `{node.name}` of another frame or scan"
    why = (
        (
            "a body runs over rows that are all there, a frame waits for ticks that are still to come",
            node.loc,
        ),
    )
    hint = "run over an axis of a tensor in the body (sc.over_time), or put the two frames side by side"
    return Diagnostic("SE603", what, _where(eq, rhs), why, hint)
