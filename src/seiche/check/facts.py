"""What the checks find: facts per node, and words for messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from seiche.errors import Diagnostic, Loc
from seiche.ir.clocks import Clocks
from seiche.ir.core import Node, Var

Place: TypeAlias = Literal["node", "rows"]
"""Where time runs: over the ticks of a device, without end, or over the rows of a scan or frame, which are bounded."""

Direction: TypeAlias = Literal["none", "forward", "backward"]
"""How a component is swept: "none" has no cycle and goes with its neighbours."""


@dataclass(frozen=True, eq=False)
class Component:
    """Streams that depend on each other, and the one direction in which they can be swept."""

    vars: tuple[Var, ...]
    direction: Direction


@dataclass(frozen=True, eq=False)
class NodeFacts:
    """Of one node or body. `components`: dependencies first, whatever their offset."""

    place: Place
    clocks: Clocks
    components: tuple[Component, ...]


@dataclass
class Facts:
    """Of a node and all bodies inside it; `warnings` are what a user should know and no reason to stop."""

    nodes: dict[Node, NodeFacts] = field(default_factory=dict["Node", "NodeFacts"])
    warnings: tuple[Diagnostic, ...] = ()

    def __getitem__(self, node: Node) -> NodeFacts:
        return self.nodes[node]


Why: TypeAlias = tuple[tuple[str, Loc | None], ...]


def named(var: Var) -> str:
    """A stream as messages call it.

    >>> from seiche.numbers.formats import f32
    >>> named(Var("mean", f32[3], scope=("encoder", "norm")))
    '`mean` (in encoder/norm)'
    """
    return f"`{var.name}`" + (f" (in {'/'.join(var.scope)})" if var.scope else "")
