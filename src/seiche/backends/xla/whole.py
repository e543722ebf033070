"""A program that lies whole on one device, or whose streams are spread over several by their axes (`sharding`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import numpy as np

from seiche.backends.xla.library import Array, jnp
from seiche.backends.xla.sharding import Sharding
from seiche.backends.xla.ticks import Equations, Tick, Values
from seiche.ir.core import Var
from seiche.ir.op import AnyArray
from seiche.schedule.lower import Lowered

State: TypeAlias = list[Array]

Outcome: TypeAlias = tuple[State, list[Array], Array, Array]
"""The next state, the outputs, which of them are present, and the first check that fails (or -1)."""

Turn: TypeAlias = Callable[..., tuple[Array, Outcome]]
"""(state, weights, inputs ...) -> (ticks, outcome): one tick, or many."""


class Layout(Protocol):
    """How a program lies on devices. `weights` are arrays that no tick changes."""

    weights: list[Array]

    def start(self, state: Mapping[str, AnyArray]) -> State:
        """The arrays of a state, on their devices."""
        ...

    def values(self, state: State) -> dict[str, AnyArray]:
        """The state by name."""
        ...

    def given(self, var: Var, value: AnyArray, lead: int) -> Array:
        """An input on its devices; `lead` axes (ticks) stand before its own."""
        ...

    def tick(self, state: State, weights: list[Array], inputs: list[Array]) -> Outcome:
        """One tick, while it is traced."""
        ...

    def over_devices(self, turn: Turn) -> Turn:
        """Ticks on all devices."""
        ...


class Whole:
    """All equations in one computation."""

    def __init__(self, lowered: Lowered, sharding: Sharding) -> None:
        self.lowered, self.node, self.sharding = lowered, lowered.node, sharding
        self.equations = Equations(self.node, sharding.place)
        (self.sweep,) = self.equations.sweeps
        self.weights: list[Array] = []

    def start(self, state: Mapping[str, AnyArray]) -> State:
        named = self.lowered.states.items()
        return [self.sharding.put(eq.out, np.array(state[n])) for n, eq in named]

    def values(self, state: State) -> dict[str, AnyArray]:
        return {name: np.array(x) for name, x in zip(self.lowered.states, state, strict=True)}

    def given(self, var: Var, value: AnyArray, lead: int) -> Array:
        return self.sharding.put(var, value, lead) if self.sharding.many else value

    def tick(self, state: State, weights: list[Array], inputs: list[Array]) -> Outcome:
        outs = [eq.out for eq in self.lowered.states.values()]
        tick = Tick(
            dict(zip(self.node.inputs, inputs, strict=True)), dict(zip(outs, state, strict=True))
        )
        self.equations.run(self.sweep.eqs, tick)
        following = [self.sharding.place(v, tick.following[v]) for v in outs]
        results = [tick.env[v] for v in self.node.outputs]
        clocks = self.equations.clocks
        present = stacked([self.equations.on(clocks[v], tick.env) for v in self.node.outputs])
        return following, results, present, first_failure(self.equations, tick.env)

    def over_devices(self, turn: Turn) -> Turn:
        return turn


def stacked(present: list[Array]) -> Array:
    """A boolean per output."""
    return jnp.stack(present) if present else jnp.zeros(0, bool)


def first_failure(
    equations: Equations, env: Values, here: Callable[[Var], bool] = lambda _: True
) -> Array:
    """The first check, of those that are here, that fails at this tick; -1 if none does."""
    failed = jnp.int32(-1)
    for k, check in reversed(list(enumerate(equations.node.checks))):
        if here(check.cond):
            broken = equations.on(equations.clocks[check.cond], env) & ~env[check.cond]
            failed = jnp.where(broken, jnp.int32(k), failed)
    return failed
