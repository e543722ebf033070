"""Bodies of scans: calls inlined, constants folded, delays in the form that back ends run.

Afterwards every `Fby` and `Post` of a body has an initial value that is there before the first row: a literal, a constant
input of the body, or None (zeros, never seen); a computed one is chosen by a flag. A `Post` has no reset:

    post(x, f, reset=r)  =  f  where  post(r, true)  holds, else  post(x, 0)

Checks inside a body become one more output: whether the check has held at all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seiche.errors import fail
from seiche.ir import core
from seiche.ir.clocks import Clock, Clocks, infer
from seiche.ir.core import Apply, Check, Equation, Fby, Frame, Merge, Node, Post, Scan, Var
from seiche.schedule.edges import once
from seiche.schedule.emit import BOOL, Emitter
from seiche.schedule.ends import ends
from seiche.schedule.fold import fold
from seiche.schedule.inline import inline_calls
from seiche.schedule.shift import one_way


def emit_scan(b: Emitter, outs: tuple[Var, ...], scan: Scan) -> list[Check]:
    """The equation of a scan over its lowered body, and the body's checks, now about this scan."""
    scan = once(b, scan)
    body = lower_body(scan.body, scan.mapped)
    held = tuple(b.declare(BOOL, "held") for _ in body.checks)
    kinds = (*scan.outs, *("last" for _ in held))
    lowered = replace(body, outputs=(*body.outputs, *(c.cond for c in body.checks)), checks=())
    b.equation((*outs, *held), replace(scan, body=lowered, outs=kinds))
    return [replace(check, cond=var) for check, var in zip(body.checks, held, strict=True)]


def lower_body(body: Node, mapped: tuple[bool, ...]) -> Node:
    """The body in the form above; its checks are on its base clock and hold so far, at each row."""
    body = fold(ends(inline_calls(core.live(body))))
    constant = {v for v, m in zip(body.inputs, mapped, strict=True) if not m}
    body = one_way(body, constant)
    work = _Body(Emitter(), body.definitions(), constant, infer(body))
    for eq in body.eqs:
        work.b.serve(eq.outs[0])
        work.emit(eq)
    checks = [*body.checks, *work.checks]
    whole = replace(body, eqs=work.b.eqs, checks=tuple(checks))
    clocks = infer(whole)
    held = tuple(replace(c, cond=_so_far(work.b, c.cond, clocks[c.cond])) for c in checks)
    return core.live(replace(whole, checks=held))


def _so_far(b: Emitter, cond: Var, clock: Clock) -> Var:
    """Whether a condition has held at all rows up to this one (where its clock is off, it holds)."""
    for i in reversed(range(len(clock))):
        key, on = clock[i]
        held = Merge(key, cond, b.true()) if on else Merge(key, b.true(), cond)
        cond = b.define(held, BOOL, "held")
    so_far = b.declare(BOOL, "held")
    before = b.fby(b.true(), so_far, name="held")
    b.equation((so_far,), Apply("logical_and", (cond, before)))
    return so_far


@dataclass
class _Body:
    """The equations of a body being lowered."""

    b: Emitter
    defs: dict[Var, Equation]
    constant: set[Var]
    clocks: Clocks

    def __post_init__(self) -> None:
        self.checks: list[Check] = []
        self.flags: dict[tuple[str, Clock], Var] = {}

    def emit(self, eq: Equation) -> None:
        match eq.rhs:
            case Fby():
                self.fby(eq.out, eq.rhs)
            case Post():
                self.post(eq.out, eq.rhs)
            case Scan():
                self.checks += emit_scan(self.b, eq.outs, eq.rhs)
            case Frame():
                raise nested_frame(eq)
            case _:
                self.b.eqs.append(eq)

    def ready(self, var: Var | None) -> bool:
        """Whether a value is there before the first row."""
        if var is None or var in self.constant:
            return True
        return var in self.defs and isinstance(self.defs[var].rhs, core.Lit)

    def fby(self, out: Var, rhs: Fby) -> None:
        b = self.b
        if rhs.init is None or self.ready(rhs.init):
            reset = None if rhs.init is None else rhs.reset
            b.equation((out,), Fby(rhs.init, rhs.arg, reset))
            return
        opens = b.either(self.flag("first", out), rhs.reset)
        assert opens is not None
        memory = b.fby(None, rhs.arg, name=out.name)
        b.decide(out, opens, rhs.init, memory)

    def post(self, out: Var, rhs: Post) -> None:
        b = self.b
        if rhs.reset is None and self.ready(rhs.final):
            b.eqs.append(Equation((out,), rhs))
            return
        if rhs.reset is None:
            closes = self.flag("final", out)
        else:
            closes = b.post(rhs.reset, b.true(), name="closes")
        b.decide(out, closes, rhs.final, b.post(rhs.arg, b.zeros(out.type), name=out.name))

    def flag(self, which: str, out: Var) -> Var:
        """True at the first or at the final row of a clock."""
        key = (which, self.clocks[out])
        if key not in self.flags:
            b = self.b
            made = b.fby(b.true(), b.false()) if which == "first" else b.post(b.false(), b.true())
            made.name = which
            self.flags[key] = made
        return self.flags[key]


def nested_frame(eq: Equation) -> Exception:
    out = eq.outs[0]
    why = "a body runs over rows that are all there, a frame waits for ticks that are still to come"
    hint = "run `over_time` over an axis in the body instead"
    return fail("SE603", f"`{out.name}`: a frame inside a frame or a scan", out.loc, why, hint=hint)
