"""The meaning of the logical IR over whole histories, stated a second time: `y[t] = x[t-1]`, `y[t] = x[t+1]`.

It knows nothing of lowering, sweeps or back ends: `value(v, t)` asks for what it needs, at whatever tick. A frame is a
search for the tick that opens it and the one that closes it; a body is a history of its own, whose ticks are rows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import seiche.ir.ops  # noqa: F401
from seiche.ir.clocks import infer
from seiche.ir.core import (
    Apply,
    Call,
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
from seiche.ir.op import OPS, use
from seiche.numbers.formats import Type
from seiche.numbers.rounding import round_exact


class Failed(Exception):
    """A check does not hold, first at this tick."""

    def __init__(self, code: str, tick: int) -> None:
        super().__init__(f"{code} at tick {tick}")
        self.code, self.tick = code, tick


def evaluate(node: Node, inputs: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each output the ticks at which it is present, and its values there; inputs are [T, ...]. Raises Failed."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 50_000))
    ticks = len(inputs[0]) if len(inputs) else 0
    history = History(node, dict(zip(node.inputs, inputs)), ticks)
    history.verify()
    results = []
    for out in node.outputs:
        there = [t for t in range(ticks) if history.present(out, t)]
        values = [history.value(out, t) for t in there]
        shape, dtype = (len(there), *out.type.shape), out.type.format.dtype
        results.append((np.array(there, int), np.array(values, dtype).reshape(shape)))
    return results


@dataclass(frozen=True)
class Claim:
    """A condition of an instance, at each tick whether it is there and whether it holds; `assumed` of those who use it."""

    instance: int
    assumed: bool
    there: Sequence[bool]
    holds: Sequence[bool]


def breaches(
    claims: Sequence[Claim], around: Sequence[int | None], opens: Sequence[Sequence[bool]]
) -> set[tuple[int, int]]:
    """Each (tick, claim) at which a duty is broken, as if nothing stopped there.

    `around[i]` is the instance that uses instance i, `opens[i][t]` whether its memory starts afresh at tick t. An instance owes
    its guarantees while its assumptions have held since it opened; whoever uses it owes those, while its own have held.
    """

    def met(i: int | None, t: int) -> bool:
        if i is None:
            return True
        start = max((s for s in range(t + 1) if opens[i][s]), default=0)
        mine = [c for c in claims if c.instance == i and c.assumed]
        return all(c.holds[s] for c in mine for s in range(start, t + 1) if c.there[s])

    def user(i: int) -> int | None:
        """The closest instance around that assumes anything itself."""
        up = around[i]
        while up is not None and not any(c.instance == up and c.assumed for c in claims):
            up = around[up]
        return up

    def owed(c: Claim, t: int) -> bool:
        return met(user(c.instance) if c.assumed else c.instance, t)

    pairs = ((t, k) for k, c in enumerate(claims) for t in range(len(c.holds)))
    return {
        (t, k)
        for t, k in pairs
        if claims[k].there[t] and not claims[k].holds[t] and owed(claims[k], t)
    }


def first_faults(node: Node, inputs: Sequence[np.ndarray]) -> dict[str, int]:
    """By the text of each check that fails at some tick, the first such tick."""
    ticks = len(inputs[0])
    history = History(node, dict(zip(node.inputs, inputs)), ticks)
    faults: dict[str, int] = {}
    for check in node.checks:
        there = (t for t in range(ticks) if history.present(check.cond, t))
        wrong = next((t for t in there if not history.value(check.cond, t)), None)
        if wrong is not None:
            faults[check.text] = wrong
    return faults


class History:
    def __init__(self, node: Node, inputs: dict[Var, np.ndarray], ticks: int) -> None:
        self.node, self.inputs, self.ticks = node, inputs, ticks
        self.clocks, self.defs = infer(node), node.definitions()
        self.known: dict[tuple[Var, int], np.ndarray] = {}
        self.bodies: dict[tuple[Equation, int], History] = {}

    def present(self, var: Var, t: int) -> bool:
        return all(bool(self.value(cond, t)) == on for cond, on in self.clocks[var])

    def before(self, var: Var, t: int) -> int | None:
        """The last tick of the Var's clock before t."""
        return next((s for s in range(t - 1, -1, -1) if self.present(var, s)), None)

    def after(self, var: Var, t: int) -> int | None:
        return next((s for s in range(t + 1, self.ticks) if self.present(var, s)), None)

    def verify(self) -> None:
        """Raises Failed for the earliest tick at which a check or the bound of a frame does not hold."""
        faults: list[Failed] = []
        for t in range(self.ticks):
            for eq in self.node.eqs:
                if isinstance(eq.rhs, Frame) and self.present(eq.rhs.until, t):
                    if len(self.rows_until(eq.rhs, t)) > eq.rhs.extent:
                        raise Failed("SE602", t)
            for check in self.node.checks:
                if self.present(check.cond, t) and not self.value(check.cond, t):
                    faults.append(Failed(check.code, t))
            if faults:
                raise faults[0]

    def value(self, var: Var, t: int) -> np.ndarray:
        if var in self.inputs:
            return self.inputs[var][t]
        if (var, t) not in self.known:
            self.known[var, t] = np.asarray(self.compute(var, self.defs[var], t))
        return self.known[var, t]

    def compute(self, var: Var, eq: Equation, t: int) -> np.ndarray:
        match eq.rhs:
            case Lit(value):
                return value
            case Apply(op, args, params):
                return apply(op, [self.value(a, t) for a in args], args, params, var.type)
            case When(arg):
                return self.value(arg, t)
            case Merge(cond, yes, no):
                return self.value(yes if self.value(cond, t) else no, t)
            case Fby(init, arg, reset):
                s = self.before(var, t)
                if s is None or (reset is not None and self.value(reset, t)):
                    zero = np.zeros(var.type.shape, var.type.format.dtype)
                    return zero if init is None else self.value(init, t)
                return self.value(arg, s)
            case Post(arg, final, reset):
                s = self.after(var, t)
                if s is None or (reset is not None and self.value(reset, s)):
                    return self.value(final, t)
                return self.value(arg, s)
            case Call(body, args):
                inside = History(
                    body, {v: [self.value(a, t)] for v, a in zip(body.inputs, args)}, 1
                )
                return inside.value(body.outputs[eq.outs.index(var)], 0)
            case Scan() as scan:
                n = scan.extent if scan.length is None else int(self.value(scan.length, t))
                return self.leave(eq, scan, var, self.rows_of_scan(eq, scan, n, t), n)
            case Frame() as frame:
                return self.leave_frame(eq, frame, var, t)

    def rows_of_scan(self, eq: Equation, scan: Scan, n: int, t: int) -> History:
        if (eq, t) not in self.bodies:
            given = {}
            for v, arg, mapped in zip(scan.body.inputs, scan.args, scan.mapped):
                whole = self.value(arg, t)
                given[v] = [np.asarray(whole[i]) if mapped else whole for i in range(n)]
            self.bodies[eq, t] = self.inside(scan.body, given, n, t)
        return self.bodies[eq, t]

    def inside(self, body: Node, given: dict[Var, list[np.ndarray]], n: int, t: int) -> History:
        history = History(body, given, n)
        try:
            history.verify()
        except Failed as failed:
            raise Failed(failed.code, t) from None
        return history

    def leave(
        self, eq: Equation, form: Scan | Frame, var: Var, rows: History, n: int
    ) -> np.ndarray:
        """An output of a body that leaves at one tick."""
        k = eq.outs.index(var)
        out = form.body.outputs[k]
        if form.outs[k] == "stack":
            stacked = np.zeros(var.type.shape, var.type.format.dtype)
            for i in range(n):
                stacked[i] = rows.value(out, i)
            return stacked
        return rows.value(out, 0 if form.outs[k] == "first" else n - 1)

    def rows_until(self, frame: Frame, t: int) -> list[int]:
        """The ticks of the frame that t belongs to, from where it opens up to t."""
        rows = [t]
        while True:
            if frame.reset is not None and self.value(frame.reset, rows[0]):
                return rows
            s = self.before(frame.until, rows[0])
            if s is None or self.value(frame.until, s):
                return rows
            rows.insert(0, s)

    def leave_frame(self, eq: Equation, frame: Frame, var: Var, t: int) -> np.ndarray:
        close = t
        stream = frame.outs[eq.outs.index(var)] == "stream"
        if stream:
            later = range(t, self.ticks)
            close = next((s for s in later if self.value(frame.until, s)), self.ticks - 1)
        ticks = self.rows_until(frame, close)
        if (eq, close) not in self.bodies:
            given = {
                v: [self.value(arg, s if mapped else close) for s in ticks]
                for v, arg, mapped in zip(frame.body.inputs, frame.args, frame.mapped)
            }
            self.bodies[eq, close] = self.inside(frame.body, given, len(ticks), close)
        rows = self.bodies[eq, close]
        if stream:
            return rows.value(frame.body.outputs[eq.outs.index(var)], ticks.index(t))
        return self.leave(eq, frame, var, rows, len(ticks))


def apply(
    op: str, values: list[np.ndarray], args: tuple[Var, ...], params: dict, out: Type
) -> np.ndarray:
    with np.errstate(all="ignore"):
        result = np.asarray(
            OPS[op].value(tuple(values), use(op, tuple(a.type for a in args), params))
        )
    if out.format.exact:
        return result
    rounded = [round_exact(float(x), out.format) for x in result.flat]
    return np.array(rounded, out.format.dtype).reshape(result.shape)
