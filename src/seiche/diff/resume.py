"""Bodies that go on where others stopped: every delay starts from an argument, and what it would carry on is there to be had.

    y = fby(i, x)           ->   y = fby(s, x)
    y = fby(i, x, r)        ->   y = i where r, else fby(s, x)
    y = fby(i, x) on k      ->   m = fby(s, x where k, else m)     y = m when k            post: the same, from the other end

The bodies are in the form that lowering gives: initial values are there before the first row, a `Post` has no reset.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seiche.ir.builder import Builder
from seiche.ir.clocks import Clock, infer
from seiche.ir.core import Apply, Equation, Fby, Node, Post, Var, When


@dataclass(frozen=True)
class Delay:
    """A delay of the body: `old` as it was read, now from the input `start`; at the other end `next` is carried on."""

    old: Var
    start: Var
    next: Var
    init: Var | None
    forward: bool


@dataclass(frozen=True)
class Resumed:
    """The body with an input more per delay."""

    body: Node
    delays: tuple[Delay, ...]


def resumed(body: Node) -> Resumed:
    """The body, its delays from inputs."""
    clocks, b = infer(body), Builder()
    delays: list[Delay] = []
    for eq in body.eqs:
        if not isinstance(eq.rhs, Fby | Post):
            b.eqs.append(eq)
            continue
        b.loc, b.scope = eq.out.loc, eq.out.scope
        delays.append(_delay(b, eq.out, eq.rhs, clocks[eq.out]))
    inputs = (*body.inputs, *(d.start for d in delays))
    return Resumed(replace(body, inputs=inputs, eqs=b.eqs), tuple(delays))


def _delay(b: Builder, out: Var, rhs: Fby | Post, clock: Clock) -> Delay:
    forward = isinstance(rhs, Fby)
    init, reset = (rhs.init, rhs.reset) if isinstance(rhs, Fby) else (rhs.final, None)
    start = Var(out.name, out.type, out.loc, out.scope)
    plain = not clock and (reset is None or init is None)
    memory = out if plain else Var(out.name, out.type, out.loc, out.scope)
    next = held(b, rhs.arg, memory, clock)
    b.eqs.append(Equation((memory,), Fby(start, next) if forward else Post(next, start)))
    if not plain and reset is not None and init is not None:
        value = sampled(b, memory, clock)
        cond = b.broadcast(reset, shape=out.type.shape) if out.type.shape else reset
        b.eqs.append(Equation((out,), Apply("select", (cond, init, value))))
    elif not plain:
        b.eqs.append(Equation((out,), When(sampled(b, memory, clock[:-1]), *clock[-1])))
    return Delay(out, start, next, init, forward)


def held(b: Builder, next: Var, memory: Var, clock: Clock) -> Var:
    """The next value of a memory on the clock of the rows: itself, where its own clock is off."""
    for k in reversed(range(len(clock))):
        cond, on = clock[k]
        kept = sampled(b, memory, (*clock[:k], (cond, not on)))
        next = b.merge(cond, *((next, kept) if on else (kept, next)))
    return next


def sampled(b: Builder, var: Var, clock: Clock) -> Var:
    """A Var of the clock of the rows, on a sub-clock."""
    for cond, on in clock:
        var = b.when(var, cond, on)
    return var
