"""Frames in blocks of ticks: what leaves once per frame, and what returns to its ticks where whole frames fill a block.

    a, s = frame(body, outs=(last, stream))   ->   a = scan of what was collected, where it closes      s = frame(body', outs=(stream,))
    body(x[], w)  w on the frame's clock      ->   body'(x[], m[])   w = post(w, m)    m = merge(until, w, m of before)

A frame of P ticks, block after block the same, is n / P scans side by side (`rows`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from seiche.errors import SeicheError, fail
from seiche.ir import core
from seiche.ir.clocks import constants
from seiche.ir.core import Apply, Equation, Fby, Frame, Lit, Merge, Node, Post, Var, operands
from seiche.ir.op import OPS, use
from seiche.timespace.opened import Opened, open_frame

Values = dict[Var, "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"]


def opened_frames(node: Node, n: int) -> Node:
    """The node with slow results of frames told as states and scans; frames of streams are left, if they fill blocks of n ticks.

    Raises SE604 where they do not.
    """
    eqs: list[Equation] = []
    checks = list(node.checks)
    fixed = constants(node)
    for eq in node.eqs:
        if not isinstance(eq.rhs, Frame):
            eqs.append(eq)
            continue
        streams, slow = (_part(eq, eq.rhs, kind) for kind in (True, False))
        if slow.outs:
            opened = open_frame(slow)
            eqs += opened.eqs
            checks += opened.checks
        if streams.outs:
            eqs += _mapped(streams, node, fixed, n)
    return replace(node, eqs=eqs, checks=tuple(checks))


def _part(eq: Equation, frame: Frame, streams: bool) -> Equation:
    """The frame with its streams alone, or without them."""
    own = [k for k, kind in enumerate(frame.outs) if (kind == "stream") == streams]
    body = core.live(replace(frame.body, outputs=tuple(frame.body.outputs[k] for k in own)))
    outs = tuple(frame.outs[k] for k in own)
    return Equation(
        tuple(eq.outs[k] for k in own), replace(frame, body=core.copy(body)[0], outs=outs)
    )


def _mapped(eq: Equation, node: Node, fixed: set[Var], n: int) -> list[Equation]:
    """The frame with everything collected at each tick, its body taking slow arguments from the last row."""
    frame = eq.rhs
    assert isinstance(frame, Frame)
    ticks = None if frame.reset is not None else period(node, frame.until, frame.extent)
    if ticks is None or n % ticks:
        raise _unfit(eq.outs[0], frame, n, ticks)
    b, body = Opened(eq.outs[0].loc, eq.outs[0].scope), frame.body
    args, flags, inputs, back = list[Var](), list[bool](), list[Var](), list[Equation]()
    for var, arg, mapped in zip(body.inputs, frame.args, frame.mapped, strict=True):
        slow = not mapped and arg not in fixed
        args.append(_held(b, arg, frame.until) if slow else arg)
        flags.append(mapped or slow)
        inputs.append(Var(var.name, var.type, var.loc, var.scope) if slow else var)
        back += [Equation((var,), Post(var, inputs[-1]))] if slow else []
    whole = replace(body, inputs=tuple(inputs), eqs=[*back, *body.eqs])
    rhs = Frame(whole, tuple(args), tuple(flags), frame.outs, ticks, frame.until)
    return [*b.eqs, Equation(eq.outs, rhs)]


def _held(b: Opened, slow: Var, until: Var) -> Var:
    """A value of the frame's clock at every tick: the latest."""
    held = b.declare(slow.type, slow.name)
    before = b.when(b.fby(b.lit(0, slow.type), held, name=slow.name), until, False)
    b.equation(held, Merge(until, slow, before))
    return held


def _unfit(out: Var, frame: Frame, n: int, ticks: int | None) -> SeicheError:
    until = frame.until
    why = (
        f"`{until.name}` closes the frame at ticks that are not known beforehand"
        if ticks is None
        else f"the frame has {ticks} ticks, which do not divide a block of {n}"
    )
    return fail(
        "SE604", f"`{out.name}` returns from a frame to its ticks: these may lie in earlier blocks", out.loc,
        (why, until.loc),
        hint="take blocks of whole frames of a fixed length (sc.frame(max=N) alone), or what leaves once per frame (fr.last, fr.sum, fr.stack)",
    )  # fmt: skip


# How long a frame is.


def period(node: Node, cond: Var, most: int) -> int | None:
    """After how many ticks, at most `most`, a condition that reads no input first holds, if all starts again then."""
    machine = _Machine(node, node.definitions())
    if not machine.reach(cond):
        return None
    opening: list[bytes] | None = None
    closed = False
    for tick in range(most + 1):
        values: Values = {}
        closes = bool(machine.value(cond, values))
        state = [machine.value(v, values).tobytes() for v in machine.states]
        if closed:
            return tick if state == opening else None
        opening, closed = opening or state, closes
        machine.advance(values)
    return None


@dataclass
class _Machine:
    """Runs the few equations that a condition depends on."""

    node: Node
    defs: dict[Var, Equation]
    states: list[Var] = field(default_factory=list[Var])
    memory: Values = field(default_factory=dict)

    def reach(self, cond: Var) -> bool:
        """Finds the states that it depends on; whether it depends on constants and exact operations alone."""
        seen: set[Var] = set()
        todo = [cond]
        while todo:
            var = todo.pop()
            if var in seen:
                continue
            seen.add(var)
            rhs = self.defs[var].rhs if var in self.defs else None
            if not isinstance(rhs, Lit | Apply | Fby) or not var.type.format.exact:
                return False
            if isinstance(rhs, Fby):
                self.states.append(var)
            todo += operands(rhs)
        return True

    def value(self, var: Var, values: Values) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """At this tick."""
        if var not in values:
            match self.defs[var].rhs:
                case Lit(value):
                    values[var] = value
                case Apply(op, args, params):
                    given = tuple(self.value(a, values) for a in args)
                    values[var] = np.asarray(
                        OPS[op].value(given, use(op, tuple(a.type for a in args), params))
                    )
                case Fby(init, _, reset):
                    opens = var not in self.memory or (
                        reset is not None and bool(self.value(reset, values))
                    )
                    zero = np.zeros(var.type.shape, var.type.format.dtype)
                    start = zero if init is None else self.value(init, values)
                    values[var] = start if opens else self.memory[var]
                case rhs:
                    raise AssertionError(rhs)
        return values[var]

    def advance(self, values: Values) -> None:
        following: Values = {}
        for var in self.states:
            rhs = self.defs[var].rhs
            assert isinstance(rhs, Fby)
            following[var] = self.value(rhs.arg, values)
        self.memory = following
