"""From the logical IR to the lowered one: forward only, every stream at the physical tick where it can be known.

`fby(i, x)` at latency l reads x delayed by 1 + l - L(x); `post(x, f)` by l - L(x) - 1; both are >= 0 (`retime`). See
`docs/adr/0001-logical-and-lowered.md`. The pass is total on nodes that `check` has passed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import assert_never

import numpy as np

from seiche.errors import InternalError
from seiche.ir import core
from seiche.ir.clocks import Clocks, infer
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
    Scan,
    Var,
    When,
)
from seiche.ir.op import AnyArray
from seiche.schedule.bodies import emit_scan
from seiche.schedule.emit import Emitter
from seiche.schedule.ends import ends
from seiche.schedule.fold import fold
from seiche.schedule.frames import Timed, lower_frame
from seiche.schedule.inline import inline_calls
from seiche.schedule.plan import CheckpointFact, DeadlineFact, Exclusive
from seiche.schedule.reopen import hold, ready
from seiche.schedule.retime import is_register, latencies
from seiche.schedule.timeline import Timeline


@dataclass(frozen=True)
class Lowered:
    """A forward-only node. `latency[i]`: physical minus logical tick of output i, in ticks of the base clock.

    Every top-level `Fby` starts from a literal, or from zeros where its init is None; its `reset`, if any, loads that again.
    `ended`, the last input where there is one, is true at the ticks after the last; `flush` such ticks bring out all outputs.
    `checkpoints`: the tapes that a budget has cut. `deadline`: the work that has been spread over ticks; `exclusive`: its conditions.
    `returning`: the conditions of frames whose streams return to their ticks.
    """

    node: Node
    latency: tuple[int, ...]
    check_latency: tuple[int, ...]
    ended: Var | None
    flush: int
    clocks: Clocks
    checkpoints: tuple[CheckpointFact, ...] = ()
    deadline: DeadlineFact | None = None
    exclusive: tuple[Exclusive, ...] = ()
    returning: tuple[Var, ...] = ()

    @cached_property
    def states(self) -> dict[str, Equation]:
        """The top-level states by a stable name: the path of instances and the user's name."""
        return states_of(self.node)

    @cached_property
    def initial(self) -> dict[str, AnyArray]:
        """What the states hold before the first tick."""
        defs = self.node.definitions()
        return {name: initial_value(eq, defs) for name, eq in self.states.items()}


def states_of(node: Node) -> dict[str, Equation]:
    """The top-level states of a node by name, in their order; those of one name are numbered."""
    named: dict[str, Equation] = {}
    for eq in node.eqs:
        if isinstance(eq.rhs, Fby):
            stem = "/".join((*eq.out.scope, eq.out.name))
            named[free_name(stem, named)] = eq
    return named


def free_name(stem: str, taken: Collection[str]) -> str:
    """The name, numbered where it is taken.

    >>> free_name("w", ["w", "w#2"])
    'w#3'
    """
    count, name = 1, stem
    while name in taken:
        count, name = count + 1, f"{stem}#{count + 1}"
    return name


def initial_value(state: Equation, defs: dict[Var, Equation]) -> AnyArray:
    """The literal that a lowered `Fby` starts from; zeros where it has none."""
    assert isinstance(state.rhs, Fby)
    init = state.rhs.init
    if init is None:
        return np.zeros(state.out.type.shape, state.out.type.format.dtype)
    literal = defs[init].rhs
    assert isinstance(literal, Lit), state
    return literal.value


def lower(node: Node) -> Lowered:
    """The forward-only form of a logical node; raises SE303, SE403 and SE603."""
    node = fold(ends(inline_calls(core.live(node))))
    return _Lowering(node).run()


def _precedence(timed: Timed) -> tuple[bool, int]:
    """Of the checks that fail in one tick the first is reported: assumptions, outermost first, for the others may follow."""
    contract = timed.check.contract
    assumed = contract is not None and contract.role == "assumption"
    return (not assumed, len(contract.instance) if contract is not None and assumed else 0)


class _Lowering:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.lat = latencies(node, infer(node))
        self.b = Emitter(node.loc)
        self.time = Timeline(self.b, self.lat)
        self.held: dict[Var, Var] = {}
        self.checks: list[Timed] = []

    def run(self) -> Lowered:
        # Frames first: they say which slow states must be held at every tick.
        for eq in sorted(self.node.eqs, key=lambda e: not isinstance(e.rhs, Frame)):
            self.b.serve(eq.outs[0])
            self._emit(eq)
        for check in self.node.checks:
            latency = self.lat.of(check.cond)
            clock = self.time.clock(self.lat.clocks[check.cond], latency)
            self.checks.append(Timed(check, clock, latency))
        self.checks.sort(key=_precedence)
        flush = max(
            [0, *(self.lat.of(v) for v in self.node.outputs), *(c.latency for c in self.checks)]
        )
        if flush:
            self.time.past(0)
        checks = tuple(self._masked(timed) for timed in self.checks)
        self.time.delays.finish()
        return self._finished(checks, flush)

    def _finished(self, checks: tuple[Check, ...], flush: int) -> Lowered:
        ended = self.time.ended
        inputs = (*self.node.inputs, *(() if ended is None else (ended,)))
        node = core.live(
            Node(self.node.name, inputs, self.node.outputs, self.b.eqs, self.node.loc, checks)
        )
        clocks = infer(node)
        if clocks.mismatches:
            bad = clocks.mismatches[0]
            raise InternalError(
                f"lowering put {bad.left} and {bad.right} on different clocks: {bad.equation}\n{node}"
            )
        latency = tuple(self.lat.of(v) for v in self.node.outputs)
        late = tuple(t.latency for t in self.checks)
        returning = tuple(self.time.returning)
        return Lowered(node, latency, late, ended, flush, clocks, returning=returning)

    def _emit(self, eq: Equation) -> None:
        latency = self.lat.of_equation(eq)
        match eq.rhs:
            case Lit():
                self.b.eqs.append(eq)
            case Apply() if is_register(eq.rhs):
                late = self.time.at(self.time.registered(eq.out), latency)
                self.b.equation(eq.outs, Apply(eq.rhs.op, (late,)))
            case Apply() | When() | Merge():
                self.b.equation(
                    eq.outs, core.substitute(eq.rhs, lambda v: self.time.at(v, latency))
                )
            case Scan():
                over = core.substitute(eq.rhs, lambda v: self.time.at(v, latency))
                assert isinstance(over, Scan)
                clock = self.time.clock(self.lat.clocks[eq.outs[0]], latency)
                self.checks += [Timed(c, clock, latency) for c in emit_scan(self.b, eq.outs, over)]
            case Fby():
                self._fby(eq.out, eq.rhs, latency)
            case Post():
                self._post(eq.out, eq.rhs, latency)
            case Frame():
                self.checks += lower_frame(self.b, self.time, eq, self.held)
            case Call():
                raise InternalError(f"a call is left: {eq}")
            case _:
                assert_never(eq.rhs)

    def _fby(self, out: Var, rhs: Fby, latency: int) -> None:
        """A state; or a choice where the segment opens, if its init is computed or its memory is elsewhere."""
        b, time = self.b, self.time
        logical = self.lat.clocks[out]
        clock = time.clock(logical, latency)
        # The argument's value at the previous tick may arrive at this one: then nothing remembers it but a clock's pauses.
        ticks = 0 if rhs.arg in self.lat.fixed else latency - self.lat.of(rhs.arg)
        now = ticks < 0
        init = None if rhs.init is None else time.at(rhs.init, latency)
        opens = None if rhs.reset is None else time.at(rhs.reset, latency)
        if latency or now or not ready(time, rhs.init):
            opens = b.either(time.opening(clock, latency), opens)
        if not now:
            arg = time.at(rhs.arg, latency) if logical else time.delays.by(rhs.arg, ticks)
        elif logical:
            arg = b.sampled(hold(b, time, out, rhs, self.held), clock)
        else:
            arg = rhs.arg
        b.serve(out)
        if now:
            assert opens is not None
            b.decide(out, opens, b.zeros(out.type) if init is None else init, arg)
        elif out in self.held:
            memory = When(b.sampled(self.held[out], clock[:-1]), *clock[-1])
            self._held(out, memory, init, opens)
        elif init is None or ready(time, rhs.init):
            b.equation((out,), Fby(init, arg, None if init is None else opens))
        else:
            assert opens is not None
            b.decide(out, opens, init, b.fby(None, arg, name=out.name))

    def _held(self, out: Var, memory: When, init: Var | None, opens: Var | None) -> None:
        """A slow state whose memory is present at every tick of the base."""
        if init is None or opens is None:
            self.b.equation((out,), memory)
        else:
            self.b.decide(out, opens, init, self.b.define(memory, out.type, out.name))

    def _post(self, out: Var, rhs: Post, latency: int) -> None:
        """What arrives one tick later, but for where the segment closes: then the final value of this tick."""
        b, time = self.b, self.time
        if (ahead := time.look_ahead(out)) is not None:
            arg, final, by = ahead
            b.serve(out)
            b.decide(out, time.past(latency - by), final, time.at(arg, latency - by))
            return
        following = time.at(rhs.arg, latency - 1)
        closes = time.past(latency - 1)
        if rhs.reset is not None:
            closes = b.logical_or(time.at(rhs.reset, latency - 1), closes)
        final = time.at(rhs.final, latency)
        b.serve(out)
        b.decide(out, closes, final, following)

    def _masked(self, timed: Timed) -> Check:
        """The check, silent before its first tick and after the end of input."""
        b, time, latency = self.b, self.time, timed.latency
        b.serve(timed.check.cond)
        quiet: Var | None = None
        if latency:
            quiet = b.logical_not(time.begun(latency))
        if time.ended is not None and not timed.to_the_end:
            quiet = b.either(quiet, time.past(latency))
        if quiet is None:
            return timed.check
        cond = b.logical_or(timed.check.cond, b.sampled(quiet, timed.clock))
        return replace(timed.check, cond=cond)
