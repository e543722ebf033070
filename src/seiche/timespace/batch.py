"""n instances of a node side by side, each with memory of its own: IR -> IR.

    y = op(x, w)             ->  y' = op'(x', w)                 by the op's own rule; w is shared
    y = fby(i, x, r)         ->  y' = r' ? i' : fby(i', x')      a state per instance
    y = x when k             ->  y' = x'                         where instances differ in k: a mask in place of a clock
    y = merge(k, a, b)       ->  y' = k' ? a' : b'
    y = fby(i, x) on k       ->  m' = fby(i', k' ? x' : m')      y' = m': memory waits where its instance is absent
    y = scan(body, x[], n)   ->  y' = scan(body', x'[], max n')  rows beyond an instance's length are masked

A condition that all instances share stays a clock. What is absent from an instance holds anything: nothing that is present
reads it. The result equals n separate instances in bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import seiche.ir.ops  # pyright: ignore[reportUnusedImport]  # noqa: F401  (fills the table)
from seiche.errors import Loc, fail
from seiche.ir.clocks import Clock, constants, infer, show
from seiche.ir.core import (
    Apply,
    Call,
    Check,
    Equation,
    Fby,
    Frame,
    Lit,
    Merge,
    Node,
    Post,
    Rhs,
    Scan,
    Var,
    When,
    operands,
    substitute,
    walk,
)
from seiche.ir.op import OPS, use
from seiche.ir.ops.batching import behind
from seiche.ir.ops.batching import spread as repeated
from seiche.numbers.formats import Type, bool_
from seiche.timespace.dependence import different
from seiche.timespace.opened import Opened, one_of, open_frame, open_rows, per_instance

UNROLL_MAX = 64
"""Frames whose streams return to ticks that differ between instances are repeated, one per instance, up to this many."""


def batch(node: Node, n: int, mapped: Sequence[bool]) -> Node:
    """n instances: inputs that are `mapped` have a leading axis of n, the others are shared; so have all outputs.

    Raises SE604 where an output is present at different ticks in different instances.
    """
    return _Batch(_prepared(node, mapped), n, mapped).run(None, every_output=True)


def _prepared(node: Node, mapped: Sequence[bool]) -> Node:
    """The node without frames that instances close at different ticks."""
    while True:
        given = [v for v, own in zip(node.inputs, mapped, strict=True) if own]
        found = different(node, given)
        for eq in node.eqs:
            rhs = eq.rhs
            alone = isinstance(rhs, Frame) and (rhs.until in found or rhs.reset in found)
            if isinstance(rhs, Frame) and alone and "stream" not in rhs.outs:
                opened = open_frame(eq)
                eqs = [*(e for e in node.eqs if e is not eq), *opened.eqs]
                node = replace(node, eqs=eqs, checks=(*node.checks, *opened.checks))
                break
        else:
            return node


class _Batch:
    """Every old Var has a declared new one; `same` says what a declared Var stands for."""

    def __init__(self, node: Node, n: int, mapped: Sequence[bool]) -> None:
        self.node, self.n = node, n
        self.clocks, self.fixed = infer(node), constants(node)
        self.own = different(
            node, [v for v, own in zip(node.inputs, mapped, strict=True) if own], self.clocks
        )
        self.b = Opened(node.loc)
        self.new: dict[Var, Var] = {}
        self.same: dict[Var, Var] = {}
        self.repeats: dict[Var, Var] = {}
        self.masks: dict[Clock, Var | None] = {}
        self.present: Var | None = None
        for var in (*node.inputs, *(out for eq in node.eqs for out in eq.outs)):
            self.new[var] = Var(var.name, self.type(var), var.loc, var.scope)

    def type(self, var: Var) -> Type:
        """With the leading axis where instances differ."""
        return self.stacked(var.type) if var in self.own else var.type

    def stacked(self, type: Type) -> Type:
        return Type(type.format, (self.n, *type.shape))

    def run(self, present: Var | None, every_output: bool) -> Node:
        """`present` (an input of a body, per instance): where it is false, checks are silent."""
        self.present = present
        for eq in self.node.eqs:
            if eq.outs:
                self.b.loc, self.b.scope = eq.outs[0].loc, eq.outs[0].scope
            self.equation(eq)
        outputs = tuple(self.output(v) if every_output else self.at(v) for v in self.node.outputs)
        self.b.checks += map(self.check, self.node.checks)
        self._turn_back()
        inputs = (
            *(self.new[v] for v in self.node.inputs),
            *(() if present is None else (present,)),
        )
        eqs = [Equation(eq.outs, substitute(eq.rhs, self.meant)) for eq in self.b.eqs]
        checks = tuple(replace(c, cond=self.meant(c.cond)) for c in self.b.checks)
        return Node(
            self.node.name, inputs, tuple(map(self.meant, outputs)), eqs, self.node.loc, checks
        )

    def _turn_back(self) -> None:
        """Rows that go from scan to scan stay in front: transpose(transpose(x)) that gives x back is x."""
        turns = {
            eq.out: eq.rhs
            for eq in self.b.eqs
            if isinstance(eq.rhs, Apply) and eq.rhs.op == "transpose"
        }
        for out, rhs in turns.items():
            before = turns.get(self.meant(rhs.args[0]))
            if before is not None and all(
                before.params["perm"][k] == i for i, k in enumerate(rhs.params["perm"])
            ):
                self.same[out] = before.args[0]

    # Vars.

    def at(self, var: Var) -> Var:
        return self.new[var]

    def wide(self, var: Var) -> Var:
        """With the leading axis in any case."""
        if var in self.own:
            return self.new[var]
        if var not in self.repeats:
            self.repeats[var] = repeated(self.b, self.new[var], self.n)
        return self.repeats[var]

    def meant(self, var: Var) -> Var:
        """What a declared Var stands for."""
        seen: set[Var] = set()
        while var in self.same and var not in seen:
            seen.add(var)
            var = self.same[var]
        return var

    def define(self, old: Var, value: Var) -> None:
        """A declared Var is that one, repeated where instances share it."""
        declared = self.new[old]
        if value.type != declared.type:
            value = repeated(self.b, value, self.n)
        if self.b.eqs and value in self.b.eqs[-1].outs:
            value.name = old.name
        self.same[declared] = value

    def mask(self, clock: Clock) -> Var | None:
        """`[n]`: which instances are present; None where all are. On the clock that they share."""
        if not clock:
            return None
        if clock not in self.masks:
            outer, (cond, on) = self.mask(clock[:-1]), clock[-1]
            if cond in self.own:
                here = self.at(cond) if on else self.b.logical_not(self.at(cond))
                self.masks[clock] = here if outer is None else self.b.logical_and(outer, here)
            else:
                self.masks[clock] = outer and self.b.when(outer, self.at(cond), on)
        return self.masks[clock]

    def choose(self, cond: Var, yes: Var, no: Var) -> Var:
        """Per instance."""
        return self.b.select(per_instance(cond, yes.type.shape, self.b), yes, no)

    def zeros(self, type: Type) -> Var:
        zero = self.b.lit(0, Type(type.format), "zero")
        return self.b.broadcast(zero, shape=type.shape) if type.shape else zero

    # Equations.

    def equation(self, eq: Equation) -> None:
        rhs, own = eq.rhs, any(v in self.own for v in (*eq.outs, *operands(eq.rhs)))
        match rhs:
            case Lit():
                self.b.equation(self.at(eq.out), rhs)
            case Scan() if own:
                self.scan(eq, rhs)
            case Frame() if own:
                self.frame(eq, rhs)
            case Call() if own:
                self.call(eq, rhs)
            case Fby() if own:
                self.fby(eq.out, rhs)
            case Post() if own:
                self.post(eq.out, rhs)
            case When(arg, cond) if cond in self.own:
                self.define(eq.out, self.wide(arg))
            case When(arg, cond, on) if own:
                self.b.equation(self.at(eq.out), When(self.wide(arg), self.at(cond), on))
            case Merge(cond, yes, no) if cond in self.own:
                self.define(eq.out, self.choose(self.at(cond), self.wide(yes), self.wide(no)))
            case Merge(cond, yes, no) if own:
                self.b.equation(
                    self.at(eq.out), Merge(self.at(cond), self.wide(yes), self.wide(no))
                )
            case Apply() if any(a in self.own for a in rhs.args):
                self.define(eq.out, self.apply(eq.out, rhs))
            case Apply() | When() | Merge() | Fby() | Post() | Scan() | Frame() | Call():
                self.shared(eq, rhs)
            case _:
                assert_never(rhs)

    def shared(self, eq: Equation, rhs: Rhs) -> None:
        """An equation over what all instances share."""
        outs = tuple(
            Var(v.name, v.type, v.loc, v.scope) if v in self.own else self.at(v) for v in eq.outs
        )
        self.b.eqs.append(Equation(outs, substitute(rhs, self.at)))
        for old, out in zip(eq.outs, outs, strict=True):
            if out is not self.at(old):
                self.define(old, out)

    def apply(self, out: Var, rhs: Apply) -> Var:
        one = use(rhs.op, tuple(a.type for a in rhs.args), rhs.params)
        flags = tuple(a in self.own for a in rhs.args)
        return OPS[rhs.op].batch(self.b, one, tuple(map(self.at, rhs.args)), flags, self.n)

    def fby(self, out: Var, rhs: Fby) -> None:
        """A state per instance; where its instance is absent, it waits."""
        b, mask, new = self.b, self.mask(self.clocks[out]), self.at(out)
        arg, init = self.wide(rhs.arg), None if rhs.init is None else self.wide(rhs.init)
        if mask is None:
            if rhs.reset is None or rhs.reset not in self.own:
                reset = None if rhs.reset is None else self.at(rhs.reset)
                b.equation(new, Fby(init, arg, reset))
                return
            opening = self.zeros(new.type) if init is None else init
            self.define(
                out, self.choose(self.at(rhs.reset), opening, b.fby(init, arg, name=out.name))
            )
            return
        if init is None:
            init = self.zeros(new.type)
        memory = b.declare(new.type, out.name)
        literal = rhs.init is None or rhs.init in self.fixed
        b.equation(
            memory, Fby(init if literal else self.zeros(new.type), self.choose(mask, arg, memory))
        )
        opens = None if literal else self._first(mask)
        if rhs.reset is not None:
            reset = self.wide(rhs.reset)
            opens = reset if opens is None else b.logical_or(opens, reset)
        self.define(out, memory if opens is None else self.choose(opens, init, memory))

    def _first(self, mask: Var) -> Var:
        """`[n]`: where an instance has not been present before."""
        b = self.b
        fresh = b.declare(mask.type, "fresh")
        yes = b.broadcast(b.lit(True, Type(bool_)), shape=mask.type.shape)
        b.equation(fresh, Fby(yes, b.logical_and(fresh, b.logical_not(mask))))
        return fresh

    def post(self, out: Var, rhs: Post) -> None:
        """The mirror image: what the next tick at which the instance is present brings."""
        b, mask, new = self.b, self.mask(self.clocks[out]), self.at(out)
        arg, final = self.wide(rhs.arg), self.wide(rhs.final)
        closes: Var | None = None
        if mask is None:
            if rhs.reset is None or rhs.reset not in self.own:
                b.equation(new, Post(arg, final, None if rhs.reset is None else self.at(rhs.reset)))
                return
            never = b.broadcast(b.lit(False, Type(bool_)), shape=(self.n,))
            closes = b.post(self.at(rhs.reset), never)
            self.define(out, self.choose(closes, final, b.post(arg, final, name=out.name)))
            return
        following = self._next(mask, arg, self.zeros(new.type))
        yes = b.broadcast(b.lit(True, Type(bool_)), shape=(self.n,))
        ends = self._next(
            mask, b.logical_not(yes) if rhs.reset is None else self.wide(rhs.reset), yes
        )
        self.define(out, self.choose(ends, final, following))

    def _next(self, mask: Var, arg: Var, final: Var) -> Var:
        """The argument at the next tick where its instance is present; `final` after the last."""
        b = self.b
        ahead = b.declare(arg.type, arg.name)
        b.equation(ahead, Post(self.choose(mask, arg, ahead), final))
        return ahead

    # Forms with a body.

    def scan(self, eq: Equation, scan: Scan) -> None:
        clock = self._clock(eq)
        mask = self.mask(clock)
        longest: Var | None = None if scan.length is None else self.at(scan.length)
        if scan.length is not None and scan.length in self.own:
            longest = self._longest(scan.extent, scan.length, mask)
            scan = open_rows(scan)
        flags = [a in self.own for a in scan.args]
        args = [self.at(a) for a in scan.args]
        present = self._listening(clock) if _checked(scan.body) else None
        inner = _Batch(scan.body, self.n, flags)
        body = inner.run(_declared(present), every_output=False)
        kept = [v in inner.own for v in scan.body.outputs]
        given = [
            behind(self.b, a, 1) if own and rows else a
            for a, own, rows in zip(args, flags, scan.mapped, strict=True)
        ]  # fmt: skip
        if present is not None:
            given.append(present)
        mapped = (*scan.mapped, *(() if present is None else (False,)))
        outs = self._outs(eq, scan, kept)
        run = Scan(body, tuple(given), mapped, scan.outs, scan.extent, longest)
        self._where_any(mask, run, outs)
        self._return(eq, scan, outs, kept)

    def _clock(self, eq: Equation) -> Clock:
        """That of an equation which may have no result."""
        known = [v for v in eq.outs or operands(eq.rhs) if v not in self.fixed]
        return self.clocks[known[0]] if known else ()

    def _listening(self, clock: Clock) -> Var | None:
        """`[n]`: the instances whose checks count at the ticks of a clock; None for all."""
        mask = self.mask(clock)
        around = None if self.present is None else self._on(self.present, clock)
        if mask is None or around is None:
            return mask or around
        return self.b.logical_and(mask, around)

    def _longest(self, extent: int, length: Var, mask: Var | None) -> Var:
        """The rows of the longest instance; those that are absent count as one."""
        b, one = self.b, self.b.lit(1, length.type)
        longest = b.max(
            b.minimum(self.wide(length), repeated(b, b.lit(extent, length.type), self.n)), axes=(0,)
        )
        return b.maximum(longest, one)

    def _outs(self, eq: Equation, form: Scan | Frame, kept: Sequence[bool]) -> list[Var]:
        """Vars for the results of a batched body: rows come first, instances second."""
        made: list[Var] = []
        for out, kind, own in zip(eq.outs, form.outs, kept, strict=True):
            shape = out.type.shape
            if own:
                shape = (form.extent, self.n, *shape[1:]) if kind == "stack" else (self.n, *shape)
            made.append(Var(out.name, Type(out.type.format, shape), out.loc, out.scope))
        return made

    def _return(
        self, eq: Equation, form: Scan | Frame, outs: list[Var], kept: Sequence[bool]
    ) -> None:
        for old, out, kind, own in zip(eq.outs, outs, form.outs, kept, strict=True):
            self.define(old, behind(self.b, out, 1) if own and kind == "stack" else out)

    def _where_any(self, mask: Var | None, scan: Scan, outs: list[Var]) -> None:
        """The scan, at the ticks where some instance is present."""
        b = self.b
        if mask is None:
            b.eqs.append(Equation(tuple(outs), scan))
            return
        some = b.any(mask, axes=(0,))
        over = substitute(scan, lambda v: b.when(v, some))
        inner = tuple(Var(v.name, v.type, v.loc, v.scope) for v in outs)
        b.eqs.append(Equation(inner, over))
        for out, result in zip(outs, inner, strict=True):
            b.equation(out, Merge(some, result, b.when(self.zeros(out.type), some, False)))

    def frame(self, eq: Equation, frame: Frame) -> None:
        if frame.until in self.own or (frame.reset is not None and frame.reset in self.own):
            self._repeated_frame(eq, frame)
            return
        flags = [a in self.own for a in frame.args]
        inner = _Batch(frame.body, self.n, flags)
        body = inner.run(None, every_output=False)
        kept = [v in inner.own for v in frame.body.outputs]
        outs = self._outs(eq, frame, kept)
        over = substitute(replace(frame, body=body), self.at)
        self.b.eqs.append(Equation(tuple(outs), over))
        self._return(eq, frame, outs, kept)

    def _repeated_frame(self, eq: Equation, frame: Frame) -> None:
        """A frame per instance: its streams return to ticks of its own."""
        if self.n > UNROLL_MAX or self.mask(self.clocks[frame.until]) is not None:
            raise _refused(eq, frame, self.n)
        parts: list[tuple[Var, ...]] = []
        for i in range(self.n):
            parts.append(self._one_frame(eq, frame, i))
        for old, instances in zip(eq.outs, zip(*parts, strict=True), strict=True):
            rows = [self.b.reshape(v, shape=(1, *v.type.shape)) for v in instances]
            self.define(old, self.b.concat(*rows, axis=0))

    def _one_frame(self, eq: Equation, frame: Frame, i: int) -> tuple[Var, ...]:
        """The results of instance i, at every tick: zeros where they are absent."""
        b = self.b

        def one(var: Var) -> Var:
            if var not in self.own:
                return self.at(var)
            alone = one_of(b, self.at(var), i)
            alone.name = var.name
            return alone

        until = one(frame.until)
        pairs = zip(frame.args, frame.mapped, strict=True)
        args = tuple(
            one(a) if rows or a in self.fixed else b.when(one(a), until) for a, rows in pairs
        )
        outs = tuple(Var(v.name, v.type, v.loc, v.scope) for v in eq.outs)
        reset = None if frame.reset is None else one(frame.reset)
        b.eqs.append(Equation(outs, replace(frame, args=args, until=until, reset=reset)))
        return tuple(
            v if kind == "stream" else b.merge(until, v, b.when(self.zeros(v.type), until, False))
            for v, kind in zip(outs, frame.outs, strict=True)
        )

    def call(self, eq: Equation, call: Call) -> None:
        """With a copy of every argument per instance: a derivative of its own gives each its cotangent."""
        args = tuple(map(self.wide, call.args))
        every = (True,) * len(args)
        body = batch(call.body, self.n, every)
        vjp = call.vjp and batch(call.vjp, self.n, (True,) * len(call.vjp.inputs))
        outs = tuple(map(self.at, eq.outs))
        self.b.eqs.append(Equation(outs, Call(body, args, vjp)))

    # What leaves.

    def output(self, out: Var) -> Var:
        if self.mask(self.clocks[out]) is not None:
            raise _ragged(out, self.clocks[out], self.own)
        self.b.loc, self.b.scope = out.loc, out.scope
        return self.wide(out)

    def check(self, check: Check) -> Check:
        """It holds in every instance that is present."""
        b, clock = self.b, self.clocks[check.cond]
        b.loc, b.scope = check.loc, ()
        listening = self._listening(clock)
        if check.cond not in self.own and listening is None:
            return replace(check, cond=self.at(check.cond))
        holds = self.wide(check.cond)
        if listening is not None:
            holds = b.logical_or(holds, b.logical_not(listening))
        return replace(check, cond=b.all(holds, axes=(0,)))

    def _on(self, var: Var, clock: Clock) -> Var:
        """A Var of the base clock, on the part of a clock that instances share."""
        for cond, on in clock:
            if cond not in self.own:
                var = self.b.when(var, self.at(cond), on)
        return var


def _declared(present: Var | None) -> Var | None:
    return None if present is None else Var("present", present.type, present.loc)


def _checked(body: Node) -> bool:
    """Whether there are checks in a body, or in one inside it."""
    return any(inner.checks for inner in walk(body))


def _ragged(out: Var, clock: Clock, own: set[Var]) -> Exception:
    where = next(cond for cond, _ in clock if cond in own)
    return fail(
        "SE604", f"`{out.name}` is present at different ticks in different instances", out.loc,
        (f"it is on the clock `{show(clock)}`, and `{where.name}` differs between instances", where.loc),
        hint="return a value at every tick: sc.hold(y, 0), or a merge with what to use elsewhere",
    )  # fmt: skip


def _refused(eq: Equation, frame: Frame, n: int) -> Exception:
    place: Loc = eq.outs[0].loc
    return fail(
        "SE604", f"the streams of a frame that {n} instances close at different ticks", place,
        (f"`{frame.until.name}` closes it, and differs between instances", frame.until.loc),
        (f"up to {UNROLL_MAX} instances have a frame each, on the base clock", None),
        hint="take what leaves once per frame (fr.last, fr.sum, fr.stack), or close all instances together",
    )  # fmt: skip
