"""What a workload of the timing benches offers, so that every contestant runs the same function on the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from bench.portable import Graph, Portable

Array: TypeAlias = "np.ndarray[Any, Any]"
Parameters: TypeAlias = dict[str, Array]
Rows: TypeAlias = list[tuple[Array, ...]]


@dataclass(frozen=True)
class ByHand:
    """A program of `bench/c`: `<name>_init(self, weights)`, `<name>_step(self, in, out)`, `<name>_bytes`.

    `weights` in the order of its struct; it may change them. `outputs` floats come out.
    """

    name: str
    files: tuple[str, ...]
    weights: list[Array]
    outputs: int
    defines: tuple[str, ...] = ()


class Workload(Protocol):
    """One step of a stream program with state, for every contestant. It is sent to their processes."""

    @property
    def title(self) -> str: ...
    @property
    def ticks(self) -> int:
        """How many inputs take turns."""
        ...

    def rows(self) -> Rows:
        """The inputs of these ticks."""
        ...

    def error(self, outputs: Any) -> float:
        """Largest difference of the outputs of these ticks from a float64 reference, relative to its largest value."""
        ...

    def node(self) -> Any:
        """The program in Seiche."""
        ...

    def jax(self) -> tuple[Any, Any]:
        """(one step: `(state, *inputs) -> (state, output)`, the state to begin with)."""
        ...

    def portable(self, g: Graph) -> Portable:
        """The step as forward ops of a graph runtime."""
        ...

    def given(self, row: tuple[Array, ...]) -> tuple[Array, ...]:
        """One tick's inputs as the graph takes them."""
        ...

    def by_hand(self) -> dict[str, ByHand]:
        """Programs in C by their variant; the plain one is "" ."""
        ...

    def trained(self) -> Parameters:
        """The states of the graph that are parameters: where they start."""
        ...

    def weights_bytes(self) -> int: ...


def relative(found: Any, wanted: Array) -> float:
    """Largest difference, relative to the largest value.

    >>> relative([1.0, 2.5], np.array([1.0, 2.0]))
    0.25
    """
    return float(np.abs(np.asarray(found, np.float64) - wanted).max() / np.abs(wanted).max())
