"""Derivatives of nodes, as nodes: what `sc.grad` and its like call while a program is traced.

Every result is a node over Vars of its own, simplified, that the same checks judge again and that can be differentiated again.
`wrt` are positions of real inputs; a cotangent or tangent has the type of what it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seiche.diff.flow import Flow, real
from seiche.diff.fuse import fuse
from seiche.diff.hoist import hoist
from seiche.diff.simplify import simplify
from seiche.diff.transpose import Transposer
from seiche.errors import Diagnostic, SeicheError, fail
from seiche.ir import core
from seiche.ir.builder import Builder
from seiche.ir.clocks import Clock, infer
from seiche.ir.core import Call, Equation, Frame, Node, Scan, Var, substitute


def value_and_vjp(
    node: Node, wrt: Sequence[int] = (0,), outputs: Sequence[int] | None = None
) -> Node:
    """(inputs, a cotangent per output of `outputs`) -> (outputs, a cotangent per input of `wrt`).

    `outputs` are by default all real ones. The cotangents are streams: that of an input at a tick is the derivative of
    sum over outputs and ticks of <output, cotangent> by the input at this tick. That of an output on a sub-clock is an
    input like any other, read where the output is present. Raises SE701 and SE703.
    """
    return finish(_pull(node, wrt, outputs))


def vjp(node: Node, wrt: Sequence[int] = (0,), outputs: Sequence[int] | None = None) -> Node:
    """(inputs, a cotangent per output of `outputs`) -> a cotangent per input of `wrt`."""
    both = _pull(node, wrt, outputs)
    return finish(replace(both, outputs=both.outputs[len(node.outputs) :]))


def value_and_grad(node: Node, wrt: Sequence[int] = (0,), output: int = 0) -> Node:
    """inputs -> (outputs, the gradient of one of them by each input of `wrt`): of its sum over the ticks.

    Raises SE702 unless that output is a real scalar, SE701 and SE703.
    """
    return finish(_grad(node, wrt, output))


def grad(node: Node, wrt: Sequence[int] = (0,), output: int = 0) -> Node:
    """inputs -> the gradient of one output by each input of `wrt`."""
    both = _grad(node, wrt, output)
    return finish(replace(both, outputs=both.outputs[len(node.outputs) :]))


def jvp(node: Node, wrt: Sequence[int] = (0,)) -> Node:
    """(inputs, a tangent per input of `wrt`) -> (outputs, a tangent per real output), in the direction of the program.

    The transpose of the transpose: the derivative is linear, so one rule per op serves both directions. What the first
    transposition swept backward is dead in the second one's result, and goes; scans that passed a tape become one.
    """
    n_in, n_out = len(node.inputs), len(node.outputs)
    pulled = value_and_vjp(node, wrt)
    cts = tuple(range(n_in, len(pulled.inputs)))
    pushed = _pull(pulled, cts, tuple(range(n_out, len(pulled.outputs))))
    b, clocks, outputs = Builder(node.loc), infer(pushed), list(pushed.outputs[:n_out])
    tangents = iter(pushed.outputs[len(pulled.outputs) :])
    outputs += [_sampled(b, next(tangents), clocks[v]) for v in outputs if real(v)]
    directions = pushed.inputs[len(pulled.inputs) :]
    for i, var in zip(wrt, directions, strict=True):
        var.name = f"d{node.inputs[i].name}"
    inputs = (*pushed.inputs[:n_in], *directions)
    whole = Node(node.name, inputs, tuple(outputs), [*pushed.eqs, *b.eqs], node.loc, pushed.checks)
    return finish(fuse(simplify(whole)))


def _pull(node: Node, wrt: Sequence[int], outputs: Sequence[int] | None) -> Node:
    """`value_and_vjp` as the transposition leaves it."""
    node = hoist(inline_calls(node))
    sources = [node.inputs[i] for i in wrt]
    check_real(sources)
    if outputs is None:
        outputs = [k for k, out in enumerate(node.outputs) if real(out)]
    seeded = [node.outputs[k] for k in outputs]
    errors: list[Diagnostic] = []
    t = Transposer(node, sources, seeded, Flow(), errors)
    seeds = tuple(Var(f"{out.name}'", out.type, out.loc, out.scope) for out in seeded)
    clocks = infer(node)
    for out, seed in zip(seeded, seeds, strict=True):
        t.give(out, _sampled(t.b, seed, clocks[out]))
    t.run()
    totals = {v: t.total(v) or t.zero(v.type) for v in dict.fromkeys(sources)}
    if errors:
        raise SeicheError(dict.fromkeys(errors))
    results = (*node.outputs, *(t.meant(totals[v]) for v in sources))
    eqs = [*t.forward, *t.backward]
    return Node(f"{node.name}'", (*node.inputs, *seeds), results, eqs, node.loc, node.checks)


def _grad(node: Node, wrt: Sequence[int], output: int) -> Node:
    """`value_and_grad` before it is simplified: the one cotangent is 1."""
    loss = node.outputs[output]
    if not real(loss) or loss.type.shape:
        hint = "take the mean or the sum; a function with other results gives them beside the loss"
        raise fail(
            "SE702", f"the gradient of `{loss.name}`, which is {loss.type}", loss.loc, hint=hint
        )
    both = _pull(node, wrt, (output,))
    *inputs, seed = both.inputs
    b = Builder(seed.loc, seed.scope)
    one = b.lit(1, seed.type, "one")

    def to(var: Var) -> Var:
        return one if var is seed else var

    eqs = [Equation(eq.outs, substitute(eq.rhs, to)) for eq in both.eqs]
    return replace(
        both, inputs=tuple(inputs), outputs=tuple(map(to, both.outputs)), eqs=[*b.eqs, *eqs]
    )


def _sampled(b: Builder, var: Var, clock: Clock) -> Var:
    """A stream of the base clock, on that clock."""
    for cond, on in clock:
        var = b.when(var, cond, on)
    return var


def check_real(vars: Sequence[Var]) -> None:
    """Raises SE701 unless all the Vars are of real formats."""
    wrong = [
        Diagnostic("SE701", f"no derivative with respect to `{v.name}`, which is {v.type}", v.loc,
                   hint="differentiate with respect to real inputs")
        for v in vars if not real(v)
    ]  # fmt: skip
    if wrong:
        raise SeicheError(wrong)


def finish(node: Node) -> Node:
    """Simplified, over fresh Vars."""
    return _fresh(simplify(node))


def _fresh(node: Node) -> Node:
    node, _ = core.copy(node)
    for k, eq in enumerate(node.eqs):
        match eq.rhs:
            case Scan(body=body) | Frame(body=body):
                node.eqs[k] = Equation(eq.outs, replace(eq.rhs, body=_fresh(body)))
            case Call(body, args, pull):
                node.eqs[k] = Equation(eq.outs, Call(_fresh(body), args, pull and _fresh(pull)))
            case _:
                pass
    return node


def inline_calls(node: Node) -> Node:
    """The node without calls that have no derivative of their own, inside bodies too."""
    b, same = Builder(), dict[Var, Var]()
    for eq in node.eqs:
        match eq.rhs:
            case Call(body, args, None):
                outs = b.inline(inline_calls(body), args)
                same.update(zip(eq.outs, outs, strict=True))
            case Scan(body=body) | Frame(body=body):
                b.eqs.append(Equation(eq.outs, replace(eq.rhs, body=inline_calls(body))))
            case _:
                b.eqs.append(eq)

    def to(var: Var) -> Var:
        while var in same:
            var = same[var]
        return var

    eqs = [Equation(eq.outs, substitute(eq.rhs, to)) for eq in b.eqs]
    checks = tuple(replace(check, cond=to(check.cond)) for check in (*node.checks, *b.checks))
    return replace(node, outputs=tuple(map(to, node.outputs)), eqs=eqs, checks=checks)
