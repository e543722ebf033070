"""A node n ticks at a time: what no recurrence needs tick by tick becomes whole tensors, the rest a loop inside one tick.

    y = op(x)                    ->  Y = op'(X)                                    [n, ...], the rule of batching
    y = fby(i, x)                ->  Y = concat(fby(i, X[n-1]), X[:n-1])            if on no recurrence
    y = post(x, f)               ->  Y = concat(X[1:], post(X[0], F[n-1]))          a look-ahead of k ticks: ceil(k / n) blocks
    s = fby(i, concat(s, x)[1:]) ->  H = concat(fby(i, H[n:]), X)   S = windows of H (the halo of a convolution)
    s = frame(body, x) of P      ->  S = scans of the body over P rows, n / P of them side by side      P divides n
    s = fby(i, f(s, x))          ->  S, last = scan(s = fby(p, f(s, x)))(X[])   p = fby(i, last)

Equal tick by tick in bits; gradients but for the order of sums over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from seiche.errors import SeicheError, fail
from seiche.ir import core
from seiche.ir.clocks import infer, show
from seiche.ir.core import Fby, Frame, Node, Post, Var
from seiche.ir.graph import components, is_cyclic
from seiche.timespace.frames import opened_frames
from seiche.timespace.held import held
from seiche.timespace.rows import Blocks


def to_space(
    node: Node,
    n: int,
    mapped: Sequence[bool] | None = None,
    *,
    wide: bool = True,
    fast: bool = False,
) -> Node:
    """The node whose one tick is n ticks of the given one: inputs (but for those not `mapped`) and outputs `[n, ...]`.

    Without `wide` all of it stays one loop; with `fast` linear recurrences become parallel scans, which round otherwise.
    Raises SE604 for outputs on a sub-clock, look-ahead on a sub-clock, and streams of frames that do not fill a block.
    """
    flags = (True,) * len(node.inputs) if mapped is None else tuple(mapped)
    node = held(opened_frames(core.live(node), n))
    _refuse(node)
    return Blocks(node, n, flags, wide, fast).run()


def _refuse(node: Node) -> None:
    clocks = infer(node)
    for eq in node.eqs:
        if isinstance(eq.rhs, Post) and clocks[eq.out]:
            raise _stops(
                eq.out, f"looks ahead on the clock `{show(clocks[eq.out])}`", clocks[eq.out][-1][0]
            )
    for eqs in components(node):
        framed = [eq.outs[0] for eq in eqs if isinstance(eq.rhs, Frame)]
        if framed and (is_cyclic(eqs) or any(clocks[v] for v in framed)):
            raise fail(
                "SE604", f"`{framed[0].name}` returns from a frame into a recurrence, or on a sub-clock", framed[0].loc,
                hint="take what leaves once per frame (fr.last, fr.sum, fr.stack)",
            )  # fmt: skip
        posts = [eq.out for eq in eqs if isinstance(eq.rhs, Post)]
        if posts and is_cyclic(eqs):
            states = next((eq.out for eq in eqs if isinstance(eq.rhs, Fby)), posts[0])
            raise fail(
                "SE604", f"`{posts[0].name}` looks ahead inside a recurrence", posts[0].loc,
                (f"`{states.name}` is on the same cycle: the rows of a block can be swept neither way", states.loc),
                hint="look ahead outside of the recurrence, or one tick less far back",
            )  # fmt: skip
    for out in node.outputs:
        if clocks[out]:
            raise _stops(
                out,
                f"is on the clock `{show(clocks[out])}`: not every row of a block has it",
                clocks[out][0][0],
            )


def _stops(var: Var, what: str, cond: Var) -> SeicheError:
    return fail(
        "SE604", f"`{var.name}` {what}", var.loc, (f"`{cond.name}` is the condition", cond.loc),
        hint="give it a value at every tick: sc.hold(y, 0), or a merge with what to use elsewhere",
    )  # fmt: skip
