"""Whole tensors between scans, as scans of their own: then nothing between a forward sweep and its transpose needs all rows at once.

    y = op(x), op row by row along the first axis      |-   y = scan (y = op(x))(x[])
    y = matmul(a^T, b), summed over the rows           |-   y = scan (y = fby(-0, y) + outer(a, b))(a[], b[]),  last

Only what lies between the rows of scans is rewritten, and `diff.fuse` makes one scan of such a chain where it may; it is done under a
budget alone, as whole tensors are faster. Bits stay: a row is computed as it was; the sum over rows is declared to ascend from its first
term, and -0 + x is x.
"""

from __future__ import annotations

from dataclasses import replace

from seiche.diff.checkpoint import way
from seiche.diff.fuse import fuse
from seiche.ir.builder import Builder
from seiche.ir.core import Apply, Equation, Node, OutKind, Scan, Var, operands
from seiche.ir.op import OPS
from seiche.numbers.formats import Type

POINTWISE = frozenset({"pointwise", "math", "bits", "integral", "convert"})
"""Families of ops that work element by element on arguments of one shape."""
REDUCTIONS = frozenset({"sum", "prod", "max", "min", "any", "all"})


def row_by_row(node: Node) -> Node:
    """The lowered node, its chains of scans and row-wise tensors fused into scans; inside bodies too."""
    eqs = [
        Equation(eq.outs, replace(eq.rhs, body=row_by_row(eq.rhs.body)))
        if isinstance(eq.rhs, Scan)
        else eq
        for eq in node.eqs
    ]
    node = replace(node, eqs=eqs)
    extents = sorted(
        {eq.rhs.extent for eq in node.eqs if isinstance(eq.rhs, Scan) and eq.rhs.length is None}
    )
    for n in extents:
        if n > 1:
            node = _Rows(node, n).run()
    return fuse(fuse(node, _into_the_transpose), _of_one_way)


def _into_the_transpose(one: Scan, two: Scan) -> bool:
    """A row-wise scan goes to the backward one that reads it, if it makes more rows than it takes."""
    if way(one.body) != "either" or way(two.body) != "backward" or set(one.outs) != {"stack"}:
        return False
    taken = sum(v.type.nbytes for v, m in zip(one.body.inputs, one.mapped, strict=True) if m)
    return taken <= sum(v.type.nbytes for v in one.body.outputs)


def _of_one_way(one: Scan, two: Scan) -> bool:
    """Opposite scans stay apart: between them is the tape, which is chosen already."""
    return {way(one.body), way(two.body)} != {"forward", "backward"}


class _Rows:
    """The scans of n rows and what can join them."""

    def __init__(self, node: Node, n: int) -> None:
        self.node, self.n = node, n
        self.readers: dict[Var, list[Equation]] = {}
        for eq in node.eqs:
            for var in dict.fromkeys(operands(eq.rhs)):
                self.readers.setdefault(var, []).append(eq)
        self.scans = [
            e
            for e in node.eqs
            if isinstance(e.rhs, Scan) and e.rhs.extent == n and e.rhs.length is None
        ]
        self.after = self._after()
        self.kept = {*node.outputs, *(check.cond for check in node.checks)}

    def _after(self) -> set[Var]:
        """What is computed, row by row, of the rows of the scans."""
        seen: set[Var] = set()
        todo = [
            out for eq in self.scans if isinstance(eq.rhs, Scan)
            for out, kind in zip(eq.outs, eq.rhs.outs, strict=True) if kind == "stack"
        ]  # fmt: skip
        while todo:
            var = todo.pop()
            if var not in seen:
                seen.add(var)
                for eq in self.readers.get(var, ()):
                    if isinstance(eq.rhs, Apply):
                        todo.append(eq.out)
        return seen

    def run(self) -> Node:
        instead: dict[Equation, Equation] = {}
        for eq in reversed(self.node.eqs):
            if (
                isinstance(eq.rhs, Apply)
                and eq.rhs.args
                and (eq.out in self.after or self._only_for(eq, instead))
            ):
                made = self._scan(eq, eq.rhs)
                if made is not None:
                    instead[eq] = made
        return replace(self.node, eqs=[instead.get(eq, eq) for eq in self.node.eqs])

    def _only_for(self, eq: Equation, instead: dict[Equation, Equation]) -> bool:
        """Whether only equations that become scans read it."""
        found = self.readers.get(eq.out, [])
        return bool(found) and eq.out not in self.kept and all(r in instead for r in found)

    def _scan(self, eq: Equation, rhs: Apply) -> Equation | None:
        """The equation as a scan; None where it is not row by row."""
        body = Builder(eq.out.loc, eq.out.scope)
        inputs = [Var(a.name, a.type, a.loc, a.scope) for a in rhs.args]
        rows = [
            Var(a.name, a.type.format[a.type.shape[1:]], a.loc, a.scope) if a.type.shape else a
            for a in rhs.args
        ]
        kind: OutKind = "stack"
        n = self.n
        shapes = [a.type.shape for a in rhs.args]
        match rhs.op:
            case op if (
                OPS[op].family in POINTWISE
                and all(s == eq.out.type.shape for s in shapes)
                and shapes[0][:1] == (n,)
            ):
                mapped = [True] * len(rows)
                out = body.apply(op, *rows, **rhs.params)
            case "broadcast" if eq.out.type.shape[:1] == (n,):
                mapped = [len(shapes[0]) == len(eq.out.type.shape) and shapes[0][0] == n]
                out = self._broadcast(body, rows[0] if mapped[0] else inputs[0], eq.out.type)
            case "matmul" if (
                self._whole(rhs) and shapes[0][:1] == (n,) and not rhs.params.get("trans_a")
            ):
                mapped = [True, False]
                product = body.apply(
                    "matmul",
                    body.reshape(rows[0], shape=(1, shapes[0][1])),
                    inputs[1],
                    **rhs.params,
                )
                out = body.reshape(product, shape=eq.out.type.shape[1:])
            case "matmul" if self._whole(rhs) and shapes[0][:1] == (n,) and self._sums(rhs, eq.out):
                mapped, kind = [True, True], "last"
                out = self._summed(body, rows, eq.out)
            case "reshape" if shapes[0][:1] == eq.out.type.shape[:1] == (n,):
                mapped = [True]
                out = body.reshape(rows[0], shape=eq.out.type.shape[1:])
            case op if op in REDUCTIONS and shapes[0][:1] == (n,) and 0 not in rhs.params["axes"]:
                mapped = [True]
                axes = tuple(a - 1 for a in rhs.params["axes"])
                out = body.apply(op, rows[0], **{**rhs.params, "axes": axes})
            case _:
                return None
        expected = eq.out.type.shape[1:] if kind == "stack" else eq.out.type.shape
        if out.type != eq.out.type.format[expected]:
            return None
        given = tuple(
            row if m else whole for row, whole, m in zip(rows, inputs, mapped, strict=True)
        )
        inside = Node(eq.out.name, given, (out,), body.eqs, eq.out.loc)
        return Equation(eq.outs, Scan(inside, rhs.args, tuple(mapped), (kind,), self.n))

    def _broadcast(self, b: Builder, x: Var, out: Type) -> Var:
        """A row of a broadcast tensor."""
        shape = out.shape[1:]
        if len(x.type.shape) == len(out.shape):
            x = b.reshape(x, shape=x.type.shape[1:])
        return b.broadcast(x, shape=shape) if shape != x.type.shape else b.reshape(x, shape=shape)

    def _whole(self, rhs: Apply) -> bool:
        """A product of two matrices, the second of which is none of the rows."""
        two = all(len(a.type.shape) == 2 for a in rhs.args)
        return (
            two
            and (rhs.params.get("trans_a") or rhs.args[1] not in self.after)
            and rhs.args[0] is not rhs.args[1]
        )

    def _sums(self, rhs: Apply, out: Var) -> bool:
        """Whether the product is a sum over the rows in the order of a scan, in a format that sums do not round."""
        alike = rhs.args[1].type.shape[0] == self.n and not rhs.params.get("trans_b")
        return (
            alike
            and bool(rhs.params.get("trans_a"))
            and out.type.format.exact
            and out.type.format.is_float
        )

    def _summed(self, b: Builder, rows: list[Var], out: Var) -> Var:
        m, p = out.type.shape
        term = b.matmul(
            b.reshape(rows[0], shape=(1, m)), b.reshape(rows[1], shape=(1, p)), trans_a=True
        )
        total = Var(out.name, out.type, out.loc, out.scope)
        before = b.fby(b.lit(-0.0, out.type), total)
        b.eqs.append(Equation((total,), Apply("add", (before, term))))
        return total
