"""Weighted dependence graphs: the sign of their cycles, and shortest cycles of a sign.

`Graph` maps a vertex to its successors with an offset each. All cycles of a graph are negative iff no cycle of the offsets
`w (n + 1) + 1` is positive (n vertices bound the length of a cycle), which Bellman-Ford decides; so for other signs.
Everything is deterministic: vertices and edges keep their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

V = TypeVar("V")
Graph: TypeAlias = Mapping[V, Sequence[tuple[V, int]]]


def all_negative(graph: Graph[V]) -> bool:
    """Whether every cycle has a negative sum.

    >>> all_negative({"s": [("e", -1)], "e": [("s", 0)]}), all_negative({"a": [("a", 0)]})
    (True, False)
    """
    if all(w <= 0 for edges in graph.values() for _, w in edges):
        return _acyclic(_part(graph, 0))
    return _potentials(graph, len(graph) + 1, 1) is not None


def negated(graph: Graph[V]) -> dict[V, list[tuple[V, int]]]:
    """The graph of the opposite offsets."""
    return {v: [(u, -w) for u, w in edges] for v, edges in graph.items()}


def shortest_zero(graph: Graph[V]) -> list[V] | None:
    """A shortest cycle of offsets 0 alone."""
    return _shortest(_part(graph, 0))


def shortest_balanced(graph: Graph[V]) -> list[V] | None:
    """A shortest cycle of sum 0, in a graph without positive cycles: its edges are tight for longest-path potentials."""
    at = _potentials(graph, 1, 0)
    assert at is not None, "there are positive cycles"
    return _shortest({v: [u for u, w in edges if at[v] == at[u] + w] for v, edges in graph.items()})


def shortest_positive(graph: Graph[V]) -> list[V] | None:
    """A shortest cycle of positive sum. Each holds a positive edge: walks of growing length start there."""
    if _potentials(graph, 1, 0) is not None:
        return None
    best: list[V] | None = None
    for start, edges in graph.items():
        if any(w > 0 for _, w in edges):
            limit = len(best) - 1 if best else len(graph)
            best = _positive_from(graph, start, limit) or best
    return best


def _positive_from(graph: Graph[V], start: V, limit: int) -> list[V] | None:
    """A shortest closed walk of positive sum through `start`, of at most `limit` edges (a shortest one is a cycle)."""
    heaviest: dict[V, int] = {start: 0}
    steps: list[dict[V, V]] = []
    for _ in range(limit):
        longer: dict[V, int] = {}
        came: dict[V, V] = {}
        for v, sum_ in heaviest.items():
            for u, w in graph[v]:
                if u not in longer or sum_ + w > longer[u]:
                    longer[u], came[u] = sum_ + w, v
        steps.append(came)
        heaviest = longer
        if heaviest.get(start, 0) > 0:
            return _back(start, steps)
    return None


def _back(start: V, steps: list[dict[V, V]]) -> list[V]:
    walk = [start]
    for came in reversed(steps):
        walk.append(came[walk[-1]])
    return list(reversed(walk[1:]))


def _part(graph: Graph[V], offset: int) -> dict[V, list[V]]:
    return {v: [u for u, w in edges if w == offset] for v, edges in graph.items()}


def _acyclic(graph: Mapping[V, Sequence[V]]) -> bool:
    """Kahn 1962: vertices without incoming edges leave one after the other."""
    incoming = {v: 0 for v in graph}
    for edges in graph.values():
        for u in edges:
            incoming[u] += 1
    free = [v for v, n in incoming.items() if n == 0]
    left = len(graph)
    while free:
        left -= 1
        for u in graph[free.pop()]:
            incoming[u] -= 1
            if incoming[u] == 0:
                free.append(u)
    return left == 0


def _potentials(graph: Graph[V], scale: int, shift: int) -> dict[V, int] | None:
    """Longest-path potentials over offsets `w * scale + shift`; None where a cycle of them is positive."""
    at = {v: 0 for v in graph}
    order = list(graph)[::-1]
    for _ in range(len(graph) + 1):
        changed = False
        for v in order:
            for u, w in graph[v]:
                if at[u] + w * scale + shift > at[v]:
                    at[v], changed = at[u] + w * scale + shift, True
        if not changed:
            return at
    return None


def _shortest(graph: Mapping[V, Sequence[V]]) -> list[V] | None:
    """A shortest cycle, by breadth-first search from each vertex."""
    best: list[V] | None = None
    for start in graph:
        path = _loop(graph, start, len(best) - 1 if best else len(graph))
        best = path or best
        if best and len(best) == 1:
            break
    return best


def _loop(graph: Mapping[V, Sequence[V]], start: V, limit: int) -> list[V] | None:
    came: dict[V, V] = {}
    todo = deque([(start, 0)])
    while todo:
        v, depth = todo.popleft()
        if depth >= limit:
            return None
        for u in graph[v]:
            if u == start:
                return [start, *reversed(list(_trail(came, v, start)))]
            if u not in came:
                came[u] = v
                todo.append((u, depth + 1))
    return None


def _trail(came: Mapping[V, V], v: V, start: V) -> Iterator[V]:
    while v != start:
        yield v
        v = came[v]
