"""Forward mode through time: the gradient of each tick's result by parameters that stay, in memory that does not grow with time.

    s = fby(i, f(s, w, x))   loss = l(s, w, x)        p = what s remembers;  s = i where its segment opens, else p
    J = fby(0, A J + B)      grad = a J + b           A = df/dp   B = df/dw   a = dl/dp   b = dl/dw      one row of J per number in p

J is dp/dw, so a reset that forgets p makes the columns of A zero, and the derivative with it; nothing else is needed for resets.
The rows (A, B) and (a, b) are cotangents of one tick without memory, one per number that is remembered, by reverse mode: they cost
as much as so many backward passes over one tick, never the parameters squared. The sum of the gradients over ticks is that of
back-propagation through time if the parameters are constant; where they change at every tick it is the usual approximation.

Williams & Zipser 1989, "A learning algorithm for continually running fully recurrent neural networks" (real-time recurrent
learning). An eligibility trace is the same for one number that remembers: J = trace J + B (Sutton 1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seiche.diff import api
from seiche.diff.flow import Flow, real
from seiche.diff.hoist import hoist
from seiche.diff.resume import held, sampled
from seiche.errors import Diagnostic, SeicheError, fail
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.clocks import Clock, constants, infer
from seiche.ir.core import Apply, Equation, Fby, Frame, Lit, Node, Post, Scan, Var, When
from seiche.numbers.formats import Type, bool_, i32

FLAG = Type(bool_)


def forward_grad(node: Node, wrt: Sequence[int] = (0,), output: int = 0) -> Node:
    """inputs -> (outputs, the gradient of one of them at this tick by each input of `wrt`, held constant since its segment opened).

    Takes, per number that the node remembers on the way from `wrt` to the result, as much memory as the inputs of `wrt`. Raises
    SE702 unless that output is a real scalar on the clock of the node, SE701 where there is no derivative: for look-ahead and frames too.
    """
    node = api.inline_calls(core.live(node))
    _check(node, wrt, output)
    return api.finish(hoist(_Online(node, wrt, output).run()))


def _check(node: Node, wrt: Sequence[int], output: int) -> None:
    loss = node.outputs[output]
    api.check_real([node.inputs[i] for i in wrt])
    if not real(loss) or loss.type.shape or infer(node)[loss]:
        hint = "take the mean or the sum, at every tick; a function with other results gives them beside the loss"
        raise fail(
            "SE702", f"the gradient of `{loss.name}`, which is {loss.type}", loss.loc, hint=hint
        )
    wrong = [
        Diagnostic("SE701", f"`{eq.outs[0].name}` has no derivative forward in time", eq.outs[0].loc,
                   (("its value depends on ticks that are still to come", None),),
                   'method="reverse" in a frame, or `over_time`, differentiates it')
        for eq in node.eqs if isinstance(eq.rhs, Post | Frame)
    ]  # fmt: skip
    if wrong:
        raise SeicheError(wrong)


# One tick without memory.


@dataclass(frozen=True)
class Memory:
    """A delay: `input` is what it remembers, `next` what it will, `first` what it opens with.

    `old` is the delay that it was, if it carries a derivative from `wrt` to the result.
    """

    input: Var
    next: Var
    first: Var | None
    old: Var | None = None


def stateless(node: Node, carrying: set[Var]) -> tuple[Node, list[Memory]]:
    """One tick of a node: its memories are inputs more, their next values results more.

    y = fby(i, x, r)        y = i where r, else m          m.next = x            i a constant: m opens with it
    y = fby(i, x)           y = i where first, else m      first = fby(true, false)         i computed
    y = fby(i, x) on k      y = m when k                   m.next = x where k, else m
    """
    clocks, fixed, b = infer(node), constants(node), Builder(node.loc)
    memories: list[Memory] = []
    for eq in node.eqs:
        if isinstance(eq.rhs, Fby):
            b.loc, b.scope = eq.out.loc, eq.out.scope
            memories += _memories(b, eq.out, eq.rhs, clocks[eq.out], fixed, eq.out in carrying)
        else:
            b.eqs.append(eq)
    inputs = (*node.inputs, *(m.input for m in memories))
    outputs = (*node.outputs, *(m.next for m in memories))
    return replace(node, inputs=inputs, outputs=outputs, eqs=b.eqs), memories


def _memories(
    b: Builder, out: Var, rhs: Fby, clock: Clock, fixed: set[Var], carries: bool
) -> list[Memory]:
    """The equation of a delay's value; its memory, and that of a flag where its initial value is computed."""
    known = rhs.init is None or rhs.init in fixed
    flag = None if known else Var("first", FLAG, out.loc, out.scope)
    opens = rhs.reset if rhs.init is not None else None
    if flag is not None:
        first = sampled(b, flag, clock)
        opens = first if opens is None else b.logical_or(first, opens)
    plain = opens is None and not clock
    memory = out if plain else Var(out.name, out.type, out.loc, out.scope)
    if opens is not None and rhs.init is not None:
        cond = b.broadcast(opens, shape=out.type.shape) if out.type.shape else opens
        b.eqs.append(Equation((out,), Apply("select", (cond, rhs.init, sampled(b, memory, clock)))))
    elif clock:
        b.eqs.append(Equation((out,), When(sampled(b, memory, clock[:-1]), *clock[-1])))
    next = held(b, rhs.arg, memory, clock)
    found = [Memory(memory, next, rhs.init if known else None, out if carries else None)]
    if flag is not None:
        after = held(b, b.lit(False, FLAG), flag, clock)
        found.append(Memory(flag, after, b.lit(True, FLAG)))
    return found


# The derivative, carried along.


class _Online:
    def __init__(self, node: Node, wrt: Sequence[int], output: int) -> None:
        self.node, self.wrt, self.output = node, list(wrt), output
        flow, sources = Flow(), [node.inputs[i] for i in wrt]
        self.step, self.memories = stateless(
            node, flow.carrying(node, sources, [node.outputs[output]])
        )
        self.reached = [flow.varying(node, [source]) for source in sources]
        self.carried = [k for k, m in enumerate(self.memories) if m.old is not None]
        sizes = [self.memories[k].input.type.size for k in self.carried]
        self.starts = [1 + sum(sizes[:k]) for k in range(len(sizes))]
        self.rows = 1 + sum(sizes)
        self.b = Builder(node.outputs[output].loc, node.outputs[output].scope)

    def run(self) -> Node:
        b, node = self.b, self.node
        fixed = constants(node)
        b.eqs += [eq for eq in node.eqs if eq.outs[0] in fixed]
        now = [Var(m.input.name, m.input.type, m.input.loc, m.input.scope) for m in self.memories]
        outs = b.inline(replace(self.step, checks=node.checks), (*node.inputs, *now))
        known = {
            eq.out: eq for eq in self.step.eqs if len(eq.outs) == 1 and isinstance(eq.rhs, Lit)
        }
        for memory, var, next in zip(self.memories, now, outs[len(node.outputs) :], strict=True):
            if memory.first is not None and memory.first not in fixed:
                b.eqs.append(known[memory.first])
            b.eqs.append(Equation((var,), Fby(memory.first, next)))
        before, now_by = self._jacobians((*node.inputs, *now))
        gradients = [self._column(k, before, by) for k, by in enumerate(now_by)]
        results = (*outs[: len(node.outputs)], *gradients)
        return Node(f"{node.name}'", node.inputs, results, b.eqs, node.loc, tuple(b.checks))

    def _jacobians(self, args: tuple[Var, ...]) -> tuple[list[Var], list[Var]]:
        """By what is remembered, and by each input: a row for the result, then one per number that will be remembered."""
        count = len(self.node.inputs)
        targets = [self.output, *(len(self.node.outputs) + k for k in self.carried)]
        sources = [*self.wrt, *(count + k for k in self.carried)]
        pulled = api.value_and_vjp(replace(self.step, checks=()), sources, targets)
        b = Builder(self.b.loc, self.b.scope)
        inputs = tuple(Var(v.name, v.type, v.loc, v.scope) for v in self.step.inputs)
        row = Var("row", Type(i32), b.loc, b.scope)
        seeds = [
            self._unit(b, row, start, self.step.outputs[k].type)
            for k, start in zip(targets, [0, *self.starts], strict=True)
        ]
        outs = b.inline(pulled, (*inputs, *seeds))[len(self.step.outputs) :]
        flat = tuple(b.reshape(v, shape=(v.type.size,)) for v in outs)
        body = core.live(Node(f"{self.node.name}_rows", (*inputs, row), flat, b.eqs, b.loc))
        numbers = self.b.lit(np.arange(self.rows, dtype=np.int32), i32[self.rows], "rows")
        mapped = (*(False for _ in inputs), True)
        kinds = ("stack",) * len(flat)
        types = tuple(v.type.format[(self.rows, *v.type.shape)] for v in flat)
        scan = Scan(body, (*args, numbers), mapped, kinds, self.rows)
        names = tuple(f"{self.step.inputs[k].name}'" for k in sources)
        found = list(self.b.define_many(scan, types, names))
        return found[len(self.wrt) :], found[: len(self.wrt)]

    def _unit(self, b: Builder, row: Var, start: int, type: Type) -> Var:
        """The cotangent that is 1 at number `row - start`, if there is one, else 0."""
        at = b.sub(row, b.lit(start, Type(i32)))
        return b.reshape(b.one_hot(at, depth=type.size, format=type.format), shape=type.shape)

    def _column(self, k: int, before: list[Var], by: Var) -> Var:
        """The gradient by one input; what is remembered of it."""
        b, source = self.b, self.node.inputs[self.wrt[k]]
        b.loc, b.scope = source.loc, source.scope
        size, format = source.type.size, source.type.format
        total, made = by, list[tuple[Var, int, int]]()
        for i, start, rows in zip(self.carried, self.starts, before, strict=True):
            memory = self.memories[i]
            if memory.old not in self.reached[k]:
                continue
            n = memory.input.type.size
            name, at = f"{memory.input.name}.by.{source.name}", memory.input
            jacobian = Var(name, format[(n, size)], at.loc, at.scope)
            rows = rows if rows.type.format == format else b.convert(rows, format=format)
            total = b.add(total, b.matmul(rows, jacobian))
            made.append((jacobian, start, n))
        for jacobian, start, n in made:
            next = b.slice(total, start=(start, 0), stop=(start + n, size), step=(1, 1))
            b.eqs.append(Equation((jacobian,), Fby(b.lit(0, jacobian.type), next)))
        first = b.slice(total, start=(0, 0), stop=(1, size), step=(1, 1))
        gradient = b.reshape(first, shape=source.type.shape)
        gradient.name = f"{source.name}'"
        return gradient
