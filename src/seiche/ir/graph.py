"""The dependence graph of a node: who reads whom, at which offset in time, and its strongly connected components.

An equation at tick t reads an operand of offset d at tick t + d: fby -1, post +1, all else 0 (DESIGN, the rule of
causality). Frames and scans are atoms here: what happens inside their bodies has a graph of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

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
    Rhs,
    Scan,
    Var,
    When,
    operands,
)


def dependences(rhs: Rhs) -> tuple[tuple[Var, int], ...]:
    """The Vars that a right-hand side reads, each with its offset. The reset of a `Post` is read at the next tick too."""
    match rhs:
        case Fby(init, arg, reset):
            now = [v for v in (init, reset) if v is not None]
            return ((arg, -1), *((v, 0) for v in now))
        case Post(arg, final, reset):
            return ((arg, 1), (final, 0), *(() if reset is None else ((reset, 1),)))
        case Lit() | Apply() | When() | Merge() | Scan() | Frame() | Call():
            return tuple((v, 0) for v in operands(rhs))
        case _:
            assert_never(rhs)


def components(
    node: Node, also: Mapping[Equation, Iterable[Var]] | None = None
) -> list[list[Equation]]:
    """Strongly connected components, each after those it reads; equal choices keep the order of the node's equations.

    `also` adds operands to equations (the conditions of their clocks, for instance).
    """
    import rustworkx as rx  # only when a program is compiled

    defs, place = node.definitions(), {eq: i for i, eq in enumerate(node.eqs)}
    graph: rx.PyDiGraph[int, None] = rx.PyDiGraph()
    graph.add_nodes_from(range(len(node.eqs)))
    for at, eq in enumerate(node.eqs):
        read = [*operands(eq.rhs), *(also.get(eq, ()) if also else ())]
        graph.add_edges_from_no_data([(place[defs[v]], at) for v in read if v in defs])
    order = rx.lexicographical_topological_sort(
        rx.digraph_condensation(graph), lambda at: f"{min(at):09d}"
    )
    return [[node.eqs[i] for i in sorted(members)] for members in order]


def connected(
    eqs: Iterable[Equation], pairs: Iterable[tuple[Equation, Equation]]
) -> list[list[Equation]]:
    """What pairs join, whichever way; each in the order of the equations, the earliest first."""
    import rustworkx as rx

    nodes = list(eqs)
    place = {eq: i for i, eq in enumerate(nodes)}
    graph: rx.PyGraph[int, None] = rx.PyGraph()
    graph.add_nodes_from(range(len(nodes)))
    graph.add_edges_from_no_data([(place[a], place[b]) for a, b in pairs])
    parts = sorted(sorted(part) for part in rx.connected_components(graph))
    return [[nodes[i] for i in part] for part in parts]


def on_cycles(pairs: Iterable[tuple[int, int]]) -> set[int]:
    """The numbers that lie on a cycle of two or more.

    >>> sorted(on_cycles([(0, 1), (1, 0), (1, 2)]))
    [0, 1]
    """
    import rustworkx as rx

    graph: rx.PyDiGraph[None, None] = rx.PyDiGraph()
    graph.extend_from_edge_list(list(pairs))
    return {i for part in rx.strongly_connected_components(graph) if len(part) > 1 for i in part}


def is_cyclic(component: list[Equation]) -> bool:
    """Whether the equations of a component read each other (or the only one itself)."""
    return len(component) > 1 or any(v in component[0].outs for v in operands(component[0].rhs))
