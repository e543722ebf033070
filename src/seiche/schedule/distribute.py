"""A scan of several sweeps as a scan per sweep: what crosses from one to the next is stacked, as it would be stored anyway.

    y = scan (f forward; g backward)(x[])    |-    t = scan f(x[])    y = scan g(t[], x[])

So frames, whose bodies hold a forward computation and its transpose, have a tape that `diff.checkpoint` can see.
A Var on a sub-clock crosses merged with zeros, and is sampled again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seiche.ir import core
from seiche.ir.clocks import Clocks, conditions_of, constants, infer
from seiche.ir.core import Equation, Lit, Node, OutKind, Scan, Var, When, operands
from seiche.schedule.emit import Emitter
from seiche.schedule.sweeps import Sweep, crossing, sweeps


def distribute(node: Node) -> Node:
    """The lowered node, every scan in it with one sweep, inside bodies too."""
    eqs: list[Equation] = []
    fixed = constants(node)
    for eq in node.eqs:
        if isinstance(eq.rhs, Scan):
            eqs += _distributed(eq, replace(eq.rhs, body=distribute(eq.rhs.body)), fixed)
        else:
            eqs.append(eq)
    return replace(node, eqs=eqs)


def _distributed(eq: Equation, scan: Scan, fixed: set[Var]) -> list[Equation]:
    clocks = infer(scan.body)
    found = sweeps(scan.body, clocks)
    real = [s for s in found if any(not isinstance(e.rhs, Lit) for e in s.eqs)]
    if len(real) < 2:
        return [Equation(eq.outs, scan)]
    return _Parts(eq, scan, clocks, crossing(found, scan.body), real, fixed).run()


@dataclass
class _Parts:
    eq: Equation
    scan: Scan
    clocks: Clocks
    cross: set[Var]
    found: list[Sweep]
    fixed: set[Var]

    def run(self) -> list[Equation]:
        self.stacks: dict[Var, Var] = {}
        self.literals = {e.out: e for e in self.scan.body.eqs if isinstance(e.rhs, Lit)}
        self.left = dict(enumerate(self.eq.outs))
        parts = [self._part(sweep) for sweep in self.found]
        if self.left:  # results that are arguments or literals
            parts[-1] = self._with(parts[-1], list(self.left))
        return parts

    def _with(self, part: Equation, outs: list[int]) -> Equation:
        """A part that gives further results of the scan, which are its arguments."""
        body, scan = self.scan.body, part.rhs
        assert isinstance(scan, Scan)
        b = [self.literals[body.outputs[k]] for k in outs if body.outputs[k] in self.literals]
        inputs, args, mapped = list(scan.body.inputs), list(scan.args), list(scan.mapped)
        for k in outs:
            if body.outputs[k] in body.inputs and body.outputs[k] not in inputs:
                i = body.inputs.index(body.outputs[k])
                inputs.append(body.inputs[i])
                args.append(self.scan.args[i])
                mapped.append(self.scan.mapped[i])
        known = {e.outs[0] for e in scan.body.eqs}
        more = [e for e in dict.fromkeys(b) if e.out not in known]
        whole = replace(
            scan.body, inputs=tuple(inputs), eqs=[*more, *scan.body.eqs],
            outputs=(*scan.body.outputs, *(body.outputs[k] for k in outs)),
        )  # fmt: skip
        kinds = (*scan.outs, *(self.scan.outs[k] for k in outs))
        rhs = replace(scan, body=whole, args=tuple(args), mapped=tuple(mapped), outs=kinds)
        return Equation((*part.outs, *(self.eq.outs[k] for k in outs)), rhs)

    def _part(self, sweep: Sweep) -> Equation:
        """The scan of one sweep."""
        body, made = self.scan.body, {out for e in sweep.eqs for out in e.outs}
        read = dict.fromkeys(
            v for e in sweep.eqs for v in (*operands(e.rhs), *conditions_of(e, self.clocks))
        )
        inputs, args, mapped = list[Var](), list[Var](), list[bool]()
        for var, arg, each in zip(body.inputs, self.scan.args, self.scan.mapped, strict=True):
            if var in read:
                inputs.append(var)
                args.append(arg)
                mapped.append(each)
        b = Emitter()
        b.eqs += [e for v, e in self.literals.items() if v in read and v not in made]
        for var in (v for v in read if v in self.stacks):
            inputs.append(self._row(b, var))
            args.append(self.stacks[var])
            mapped.append(True)
        self._anchor(inputs, args, mapped)
        b.eqs += [
            e
            for e in sweep.eqs
            if not isinstance(e.rhs, Lit) or e.out in read or e.out in body.outputs
        ]
        outputs, kinds, outs = self._results(b, made)
        inside = Node(body.name, tuple(inputs), tuple(outputs), b.eqs, body.loc)
        inside, _ = core.copy(inside)
        rhs = Scan(
            inside, tuple(args), tuple(mapped), tuple(kinds), self.scan.extent, self.scan.length
        )
        return Equation(tuple(outs), rhs)

    def _anchor(self, inputs: list[Var], args: list[Var], mapped: list[bool]) -> None:
        """An argument that has a clock, where the scan had one: that is where a scan has its own from."""
        varying = (k for k, arg in enumerate(self.scan.args) if arg not in self.fixed)
        k = next(varying, None)
        if k is not None and self.fixed.issuperset(args):
            inputs.append(self.scan.body.inputs[k])
            args.append(self.scan.args[k])
            mapped.append(self.scan.mapped[k])

    def _results(self, b: Emitter, made: set[Var]) -> tuple[list[Var], list[OutKind], list[Var]]:
        """What a sweep gives: results of the scan, and what crosses."""
        outputs, kinds, outs = list[Var](), list[OutKind](), list[Var]()
        for k in [k for k in self.left if self.scan.body.outputs[k] in made]:
            outputs.append(self.scan.body.outputs[k])
            kinds.append(self.scan.outs[k])
            outs.append(self.left.pop(k))
            if kinds[-1] == "stack" and outputs[-1] in self.cross:
                self.stacks.setdefault(outputs[-1], outs[-1])
        for var in sorted(
            (v for v in made & self.cross if v not in self.stacks), key=lambda v: v.name
        ):
            b.serve(var)
            outputs.append(self._on_rows(b, var))
            kinds.append("stack")
            outs.append(
                Var(
                    var.name,
                    var.type.format[(self.scan.extent, *var.type.shape)],
                    var.loc,
                    var.scope,
                )
            )
            self.stacks[var] = outs[-1]
        return outputs, kinds, outs

    def _on_rows(self, b: Emitter, var: Var) -> Var:
        """A Var of a sub-clock on the clock of the rows."""
        clock = self.clocks[var]
        for k in reversed(range(len(clock))):
            cond, on = clock[k]
            zero = b.zeros(var.type)
            var = b.merge(cond, *((var, zero) if on else (zero, var)))
        return var

    def _row(self, b: Emitter, var: Var) -> Var:
        """The input that brings a Var which crossed; where it is of a sub-clock, it is sampled again."""
        clock = self.clocks[var]
        if not clock:
            return var
        b.serve(var)
        row = b.declare(var.type, var.name)
        b.eqs.append(Equation((var,), When(b.sampled(row, clock[:-1]), *clock[-1])))
        return row
